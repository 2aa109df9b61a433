"""Workers that share no folder: what `--cluster-generic-submit-cmd` and `-status-cmd` call.

python workers.py submit FOLDER JOBSCRIPT     starts a job in a new folder below FOLDER and prints that folder
python workers.py status JOB                  prints running, success or failed
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

RUN = "bash ../job.sh > ../out 2>&1; echo $? > ../code.part; mv ../code.part ../code"


def submit(folder: str, script: str) -> None:
    job = Path(tempfile.mkdtemp(prefix="job-", dir=folder))
    shutil.copy(script, job / "job.sh")
    home = job / "home"
    home.mkdir()
    nothing = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    own = {**os.environ, "HOME": str(home), "PWD": str(home)}
    process = subprocess.Popen(["bash", "-c", RUN], cwd=home, env=own, start_new_session=True, **nothing)
    # of the job's processes as a group
    (job / "pid").write_text(str(process.pid))
    print(job)


def status(job: str) -> None:
    code = Path(job, "code")
    print("running" if not code.exists() else "success" if code.read_text().strip() == "0" else "failed")


if __name__ == "__main__":
    {"submit": submit, "status": status}[sys.argv[1]](*sys.argv[2:])
