"""Members of a population trained side by side on a CPU, in processes: threads of one Python wait for each other at
every operation.

As `python -m nlbflow.members N` this file is such a process; it talks through the file descriptor N.
"""

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from signal import SIGKILL

import torch

from nlbflow.lfads import Sizes
from nlbflow.population import MEMBERS, Population, Schedule, Trials, train_epochs
from nlbflow.process import die_with_run

LIBRARY = Path(__file__).resolve().parent.parent


class Workers:
    """Trains members of a population; use it in a `with`, so that its processes end.

    Args:
        count: how many processes; with 1 members are trained in this one.
        sizes, trials: what members are trained with.
    """

    def __init__(self, count: int, sizes: Sizes, trials: Trials):
        self.count, self.sizes, self.trials = count, sizes, trials
        self.processes: list[subprocess.Popen] = []
        self.pipes: list[Connection] = []
        self.informed: set[int] = set()

    def __enter__(self) -> "Workers":
        path = os.pathsep.join(filter(None, [str(LIBRARY), os.environ.get("PYTHONPATH")]))
        for _ in range(self.count if self.count > 1 else 0):
            ours, theirs = multiprocessing.Pipe()
            command = [sys.executable, "-m", "nlbflow.members", str(theirs.fileno())]
            environment = {**os.environ, "PYTHONPATH": path}
            self.processes.append(subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment))
            theirs.close()
            self.pipes.append(ours)
        return self

    def __exit__(self, *_) -> None:
        for process, pipe in zip(self.processes, self.pipes, strict=True):
            pipe.close()
            process.kill()
            process.wait()

    def train(self, population: Population, schedule: Schedule, streams: list, epochs: int) -> None:
        """As `nlbflow.population.train_epochs`, to the same bytes.

        Raises:
            MemoryError: a process was killed, which is what a system does that has no memory left.
        """
        if not self.processes:
            train_epochs(population, self.sizes, self.trials, schedule, streams, epochs)
            return

        def train_share(worker: int) -> int:
            rows = slice(worker, None, self.count)
            members = {name: getattr(population, name)[rows].numpy() for name in MEMBERS}
            states = [stream.get_state().numpy() for stream in streams[rows]]
            members, updates, states = self._ask(worker, (schedule, epochs, members, population.updates, states))
            for name in MEMBERS:
                getattr(population, name)[rows] = torch.from_numpy(members[name])
            for stream, state in zip(streams[rows], states, strict=True):
                stream.set_state(torch.from_numpy(state))
            return updates

        # threads that do nothing but wait for the processes
        with ThreadPoolExecutor(self.count) as pool:
            population.updates = max(pool.map(train_share, range(min(self.count, len(streams)))))

    def _ask(self, worker: int, task: tuple) -> tuple:
        pipe = self.pipes[worker]
        try:
            if worker not in self.informed:
                pipe.send((self.sizes, self.trials.counts.numpy(), self.trials.known.numpy()))
                self.informed.add(worker)
            pipe.send(task)
            answer = pipe.recv()
        except (EOFError, OSError):
            status = self.processes[worker].wait()
            error = MemoryError if status == -SIGKILL else RuntimeError
            raise error(f"a process that trained members of the population ended with status {status}") from None
        if isinstance(answer, Exception):
            raise answer
        return answer


def serve(pipe: Connection) -> None:
    """Train members as asked, until the pipe is closed."""
    sizes, *arrays = pipe.recv()
    trials = Trials(*map(torch.from_numpy, arrays))
    while True:
        schedule, epochs, members, updates, states = pipe.recv()
        rows = {name: torch.from_numpy(array) for name, array in members.items()}
        population = Population(**rows, best=rows["weights"][0], updates=updates)
        streams = [torch.Generator().set_state(torch.from_numpy(state)) for state in states]
        try:
            train_epochs(population, sizes, trials, schedule, streams, epochs)
        except Exception as error:
            pipe.send(error)
        else:
            trained = {name: getattr(population, name).numpy() for name in MEMBERS}
            pipe.send((trained, population.updates, [stream.get_state().numpy() for stream in streams]))


if __name__ == "__main__":
    die_with_run()
    torch.set_num_threads(1)
    try:
        serve(Connection(int(sys.argv[1])))
    except (EOFError, KeyboardInterrupt):
        pass
