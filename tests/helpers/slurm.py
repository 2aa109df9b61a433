"""A real SLURM cluster for the tests: accounting and two nodes, on one machine, in a scratch folder.

Each node lives in a process namespace of its own. So it sees no process of the machine that snakemake runs on, as on a
real cluster, and a SIGKILL of the namespace ends slurmd, the job steps and what they started at once, as a power cut
does. There are no cgroups: limits of memory and cores are not enforced. Each node has two devices that SLURM takes for
GPUs and hands out; none of them computes.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = (
    *("slurmctld", "slurmd", "slurmdbd", "sbatch", "sacct", "munged", "munge", "mariadbd", "mariadb-install-db"),
    "unshare",
)
# a job's inner srun has lost SLURM_CONF and looks here
SYSTEM_CONF = Path("/etc/slurm/slurm.conf")
NODES = ("n1", "n2")

CONF = """\
ClusterName=nlbflow
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=6817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort=6819
AccountingStoragePass={folder}/munge.sock
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=10
MessageTimeout=10
KillWait=2
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port=17001 CPUs=2 RealMemory=64000 Gres=gpu:2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port=17002 CPUs=2 RealMemory=64000 Gres=gpu:2
PartitionName=cpu Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=n1,n2 MaxTime=INFINITE State=UP
"""
DATABASE_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
DbdHost=localhost
DbdPort=6819
SlurmUser=root
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm
"""


def lacking() -> str:
    """Why no cluster can be started here; empty where one can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"SLURM is not installed here ({', '.join(missing)} missing; `.ci/run` names the Debian packages)"
    if os.geteuid() != 0:
        return "a SLURM cluster in a scratch folder needs root"
    if SYSTEM_CONF.exists() and not left_behind():
        return f"this machine has a SLURM of its own ({SYSTEM_CONF})"
    if subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"], capture_output=True).returncode:
        return "process namespaces are not allowed here, which are the nodes of the SLURM cluster"
    return ""


def left_behind() -> bool:
    """Whether the machine's configuration is that of a test's cluster that is gone, because the test was killed."""
    pid = SYSTEM_CONF.resolve().parent / "slurmctld.pid"
    ours = SYSTEM_CONF.is_symlink() and f"SlurmctldPidFile={pid}\n" in SYSTEM_CONF.read_text()
    return ours and not (pid.is_file() and Path("/proc", pid.read_text().strip()).exists())


def output_of(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def wait_for(what: str, ready: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if ready():
                return
        except subprocess.SubprocessError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"the test's SLURM cluster: {what} took more than {seconds} s")


class Cluster:
    """The daemons, all children of this process; use it in a `with`, so that nothing outlives the test."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.daemons: list[subprocess.Popen] = []
        self.nodes: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> "Cluster":
        try:
            self.up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        for name in list(self.nodes):
            self.kill_node(name)
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        if SYSTEM_CONF.is_symlink() and SYSTEM_CONF.readlink() == self.folder / "slurm.conf":
            SYSTEM_CONF.unlink()
        os.environ.pop("SLURM_CONF", None)

    def up(self) -> None:
        folder, host = self.folder, socket.gethostname().split(".")[0]
        (folder / "state").mkdir(parents=True)
        folder.chmod(0o755)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        (folder / "slurm.conf").write_text(CONF.format(folder=folder, host=host))
        (folder / "gres.conf").write_text("Name=gpu File=/dev/zero\nName=gpu File=/dev/full\n")
        (folder / "slurmdbd.conf").write_text(DATABASE_CONF.format(folder=folder))
        (folder / "slurmdbd.conf").chmod(0o600)
        os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
        SYSTEM_CONF.parent.mkdir(exist_ok=True)
        SYSTEM_CONF.unlink(missing_ok=True)
        SYSTEM_CONF.symlink_to(folder / "slurm.conf")

        files = {"key-file": key, "socket": folder / "munge.sock", "pid-file": folder / "munged.pid"}
        files |= {"log-file": folder / "munged.log", "seed-file": folder / "munge.seed"}
        # --force: it would refuse a key below /tmp
        self.start("munged", "--foreground", "--force", *(f"--{name}={file}" for name, file in files.items()))
        data, mysql = folder / "mysql", folder / "mysql.sock"
        database = ["--no-defaults", "--user=root", f"--datadir={data}"]
        output_of("mariadb-install-db", *database, "--auth-root-authentication-method=normal")
        self.start("mariadbd", *database, f"--socket={mysql}", f"--pid-file={folder}/mysqld.pid", "--skip-networking")
        wait_for("munge", lambda: bool(output_of("munge", "-n", "-S", f"{folder}/munge.sock")))
        wait_for("MariaDB", mysql.exists)
        # it has no setting for the database's socket: its library reads the environment
        self.start("slurmdbd", "-D", MYSQL_UNIX_PORT=str(mysql))
        wait_for("slurmdbd", lambda: bool(output_of("sacctmgr", "list", "cluster") or True))
        output_of("sacctmgr", "-i", "add", "cluster", "nlbflow")
        output_of("sacctmgr", "-i", "add", "account", "lab")
        output_of("sacctmgr", "-i", "add", "user", "root", "account=lab")
        self.start("slurmctld", "-D", "-i")
        for name in NODES:
            self.start_node(name)

    def start(self, *command: str, **environment: str) -> None:
        with open(self.folder / f"{command[0]}.out", "w") as log:
            daemon = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                env=os.environ | environment,
            )  # fmt: skip
        self.daemons.append(daemon)

    def start_node(self, name: str) -> None:
        """Start a node, and wait until jobs may be sent to it."""
        # the shell, as the namespace's first process, buries its orphans
        command = [
            "unshare",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
            "sh",
            "-c",
            f"slurmd -D -N {name} & wait",
        ]
        with open(self.folder / f"{name}.out", "w") as log:
            self.nodes[name] = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_for(
            f"node {name}",
            lambda: output_of("sinfo", "-h", "-N", "-n", name, "-p", "cpu", "-o", "%T").strip() == "idle",
        )

    def replace_controller(self) -> None:
        """SIGKILL to slurmctld, and a new one a little later, as on a machine that was restarted."""
        (controller,) = [daemon for daemon in self.daemons if daemon.args[0] == "slurmctld"]
        controller.kill()
        controller.wait()
        self.daemons.remove(controller)
        time.sleep(3)
        self.start("slurmctld", "-D")

    def kill_node(self, name: str) -> None:
        """Cut a node's power: SIGKILL to slurmd, its job steps and all that they started."""
        node = self.nodes.pop(name)
        node.send_signal(signal.SIGKILL)
        node.wait()
