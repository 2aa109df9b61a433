"""Train members of a population side by side on a CPU, in processes, because threads of one Python wait for each other
at every operation."""

import multiprocessing
import os
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from signal import SIGKILL

import torch

from nlbflow.methods.lfads.net import Sizes
from nlbflow.methods.lfads.population import MEMBERS, Population, Schedule, Trials
from nlbflow.methods.lfads.training import Training

# What a process runs; it is bound to its parent before the long import. -P: import nothing from the working folder.
START = """
import sys
sys.path.insert(0, sys.argv[1])
from nlbflow.running.process import die_with_run
die_with_run()
from nlbflow.methods.lfads.members import work
work(*map(int, sys.argv[2:]))
"""
COMMAND = [sys.executable, "-P", "-c", START, str(Path(__file__).resolve().parents[3])]


class Workers:
    """Trains members of a population; use it in a `with` statement, which ends its processes.

    Args:
        count: the number of processes; with 1, members are trained in this process.
        sizes, trials: what members are trained with.
    """

    def __init__(self, count: int, sizes: Sizes, trials: Trials):
        self.count, self.sizes, self.trials = count, sizes, trials
        self.training: Training | None = None
        self.processes: list[subprocess.Popen] = []
        self.pipes: list[Connection] = []

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_) -> None:
        for process in self.processes:
            process.kill()
        for process, pipe in zip(self.processes, self.pipes, strict=True):
            process.wait()
            pipe.close()
        self.processes, self.pipes = [], []

    def train(self, population: Population, schedule: Schedule, streams: list, epochs: int) -> None:
        """Train all members for some epochs, to the same bytes for any number of processes; after an error the next
        call starts new ones.

        Args:
            population, streams: the same objects in every call, because a GPU replays what it recorded of them.

        Raises:
            MemoryError: a process was killed, as a system does when memory runs out.
        """
        if self.count == 1:
            if self.training is None:
                self.training = Training(population, self.sizes, self.trials, schedule, streams)
            self.training.epochs(epochs)
            return

        def train_share(worker: int) -> int:
            rows = slice(worker, None, self.count)
            members = {name: getattr(population, name)[rows].numpy() for name in MEMBERS}
            states = [stream.get_state().numpy() for stream in streams[rows]]
            task = schedule, epochs, members, population.updates, states
            members, updates, states = self._ask(worker, ForkingPickler.dumps(task))
            for name in MEMBERS:
                getattr(population, name)[rows] = torch.from_numpy(members[name])
            for stream, state in zip(streams[rows], states, strict=True):
                stream.set_state(torch.from_numpy(state))
            return updates

        # these threads only wait for the processes
        with ThreadPoolExecutor(self.count) as pool:
            try:
                if not self.processes:
                    self._start(pool)
                shares = [pool.submit(train_share, worker) for worker in range(min(self.count, len(streams)))]
                updates = [share.result() for share in as_completed(shares)]
            except BaseException:
                # otherwise the pool would wait until the other processes have finished
                self.__exit__()
                raise
        population.updates = updates[0]

    def _start(self, pool: ThreadPoolExecutor) -> None:
        try:
            log = sys.stderr.fileno()
        except OSError:
            log = None
        for _ in range(self.count):
            ours, theirs = multiprocessing.Pipe()
            told = map(str, (theirs.fileno(), os.getpid(), torch.get_num_threads()))
            self.processes.append(subprocess.Popen([*COMMAND, *told], pass_fds=[theirs.fileno()], stderr=log))
            theirs.close()
            self.pipes.append(ours)
        content = ForkingPickler.dumps((self.sizes, self.trials.counts.numpy(), self.trials.known.numpy()))
        for answer in as_completed([pool.submit(self._ask, worker, content) for worker in range(self.count)]):
            answer.result()

    def _ask(self, worker: int, content: bytes) -> tuple | None:
        """Send `content` to a process and return its reply."""
        process, pipe = self.processes[worker], self.pipes[worker]
        try:
            pipe.send_bytes(content)
            answer = pipe.recv()
        except (EOFError, OSError):
            status = process.wait()
            error = MemoryError if status == -SIGKILL else RuntimeError
            raise error(f"a process that trained members of the population ended with status {status}") from None
        if isinstance(answer, Exception):
            raise answer
        return answer


def work(pipe: int, parent: int, threads: int) -> None:
    """The work of a process: train members as asked, until the pipe, a file descriptor, is closed."""
    torch.set_num_threads(threads)
    connection = Connection(pipe)
    try:
        # the parent may have ended before this process was bound to it
        if os.getppid() == parent:
            _serve(connection)
    except (EOFError, OSError, KeyboardInterrupt):
        pass


def _serve(pipe: Connection) -> None:
    sizes, *arrays = pipe.recv()
    trials = Trials(*map(torch.from_numpy, arrays))
    pipe.send(None)
    while True:
        schedule, epochs, members, updates, states = pipe.recv()
        rows = {name: torch.from_numpy(array) for name, array in members.items()}
        population = Population(**rows, best=rows["weights"][0], updates=updates)
        streams = [torch.Generator().set_state(torch.from_numpy(state)) for state in states]
        try:
            Training(population, sizes, trials, schedule, streams).epochs(epochs)
        except Exception as error:
            error.add_note(traceback.format_exc())
            pipe.send(error)
        else:
            trained = {name: getattr(population, name).numpy() for name in MEMBERS}
            pipe.send((trained, population.updates, [stream.get_state().numpy() for stream in streams]))
