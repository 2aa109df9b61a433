"""The scripts of a run that a test makes, each in a fork of a process that has their libraries imported.

Starting Python and importing NumPy, pandas and matplotlib takes longer than the work of most of these scripts. A fork
does what `python SCRIPT` would, with the same script, folder, environment and import path. Each script imports
nlbflow itself, because tests change copies of it. Tests that kill or time a run start real processes instead.
"""

import atexit
import ctypes
import json
import os
import runpy
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path
from subprocess import CalledProcessError

PR_SET_PDEATHSIG = 1
LONGEST = 1 << 20


def fork_scripts() -> None:
    """From here on, Snakemake in this process forks its Python scripts. No thread may run yet."""
    from snakemake.benchmark import benchmarked
    from snakemake.script import PythonScript

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        _serve(theirs)
    theirs.close()

    def execute_script(self, fname, edit=False):
        answer, write = os.pipe()
        environment = dict(os.environ) | {"OMP_NUM_THREADS": str(self.threads)}
        if temporary := self.resources.get("tmpdir"):
            environment |= dict.fromkeys(("TMPDIR", "TMP", "TEMPDIR", "TEMP"), temporary)
        socket.send_fds(ours, [json.dumps([str(fname), os.getcwd(), environment]).encode()], [write])
        os.close(write)
        with open(answer) as lines:
            pid = int(lines.readline())
            with benchmarked(pid, self.bench_record):
                code = int(lines.readline())
        if code:
            raise CalledProcessError(code, f"{sys.executable} {fname}")

    PythonScript.execute_script = execute_script


def _serve(requests: socket.socket) -> None:
    """Fork a process for each request, until the process that asks has ended."""
    _die_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, descriptors, *_ = socket.recv_fds(requests, LONGEST, 1)
        if not message:
            os._exit(0)
        [answer] = descriptors
        if os.fork() == 0:
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _die_with_parent()
            pid = os.fork()
            if pid == 0:
                os.close(answer)
                _run(*json.loads(message))
            os.write(answer, f"{pid}\n".encode())
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            os.write(answer, f"{status}\n".encode())
            os._exit(0)
        os.close(answer)


def _run(script: str, folder: str, environment: dict[str, str]) -> None:
    """What `python SCRIPT` does, in this process."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [script]
    sys.path.insert(0, str(Path(script).parent.absolute()))
    code = 0
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
