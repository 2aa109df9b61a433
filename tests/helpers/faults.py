"""The kinds of faults that nlbflow is held to survive, as a table; how each is caused is in fault_causes.py."""

from dataclasses import dataclass

import fault_causes as cause
from fault_trials import RANK, Cause

KILLED = r"died with <Signals.SIGKILL: 9>"
FULL = r"No space left on device"


@dataclass(frozen=True)
class Fault:
    """A row of the table: how a fault is caused, how often it is tried, what the user must be told (a pattern)."""

    kind: str
    cause: Cause
    says: str
    times: int = 1
    reference: str = "own"
    # whether the run in which it happens is to end with an error
    fails: bool = True


STAGES = (
    "simulate",
    "tensors",
    "targets",
    "check_model",
    "train",
    "score",
    "compare",
    "tables",
    "leaderboard",
    "boards",
)
FILES = {
    # what: its stage, the stage that reads it, which of the stage's files
    "NWB": ("simulate", "tensors", ""),
    "input.h5": ("tensors", "train", ""),
    "target.h5": ("targets", "score", ""),
    "model check": ("check_model", "train", ""),
    "prediction.h5": ("train", "score", ""),
    "scores of a bundle": ("score", "tables", "scored/0.json"),
    "resamples of a bundle": ("score", "compare", "scored/0.h5"),
    "comparison.json": ("compare", "tables", ""),
    "scores.csv": ("tables", "leaderboard", "/scores.csv"),
}
ASIDE = r"has changed since it was written .* set aside"
OFTEN = {"compare": 2, "tables": 3, "leaderboard": 3}

FAULTS = [
    *(Fault(f"a job killed: {s}", cause.at_stage(s, "SIGKILL"), KILLED, OFTEN.get(s, 1)) for s in STAGES),
    Fault("a job killed: link", cause.at_stage("link", "SIGKILL"), KILLED, 1, "recorded"),
    Fault("a job killed: fetch", cause.at_stage("fetch", "SIGKILL"), KILLED, 1, "recorded"),
    Fault("a job killed between its renames", cause.between_renames, KILLED, 3),
    Fault("a training killed in the midst", cause.in_training, KILLED, 3, "network"),
    Fault("the run killed (SIGKILL)", cause.any_stage("run SIGKILL"), "", 4),
    Fault("the run ended (SIGTERM)", cause.any_stage("run SIGTERM"), "", 2),
    Fault("Ctrl-C", cause.ctrl_c, "", 1),
    *(Fault(f"disk full: {s}", cause.full_disk(s), FULL, 1) for s in STAGES if s != "simulate"),
    Fault("disk full: simulate", cause.full_disk("simulate", "data"), FULL, 1),
    Fault("disk full from the start", cause.full_from_the_start, FULL),
    Fault("disk full: the logs", cause.full_disk("score", "logs"), "", 1, fails=False),
    Fault("read-only results, in the midst", cause.read_only("score"), "Read-only file system", 2),
    Fault("read-only results, from the start", cause.read_only(None), "Read-only file system", 2),
    Fault("no memory left for a job", cause.at_stage("train", "memory", (0,)), "out of memory|MemoryError", 1),
    Fault("a model that asks for too much memory", cause.bad_model("np.ones(10**13)"), "ran out of memory", 1),
    *(Fault(f"truncated: {what}", cause.damage(s, u, "truncated", w), ASIDE, 1) for what, (s, u, w) in FILES.items()),
    *(
        Fault(f"a bit flipped: {what}", cause.damage(s, u, "flipped", w), ASIDE, 2 if RANK[s] > 2 else 1)
        for what, (s, u, w) in FILES.items()
    ),
    Fault("truncated: stamp", cause.damaged_stamp("truncated"), "changed since this run|not valid JSON", 2),
    Fault("a bit flipped: stamp", cause.damaged_stamp("flipped"), "changed since this run", 2),
    Fault("a bit flipped: finished tables", cause.finished_table_damaged, "", 2, fails=False),
    Fault("two runs at once", cause.two_runs, "", 2, fails=False),
    Fault("clock gone back an hour", cause.dated(1, "**/input.h5", "**/target.h5"), "", 2, fails=False),
    Fault("clock gone back five hours", cause.dated(5, "data/**/*", "results/**/*", "logs/**/*"), "", 2, fails=False),
    Fault("a model that hangs", cause.hanging, "did not end within its 1 minute", 1),
    Fault("a model that returns wrong shapes", cause.bad_model("rates['eval_rates_heldin'] = np.ones(3)"), "of shape"),
    Fault("a model that returns NaN", cause.bad_model("rates['eval_rates_heldin'][0] = np.nan"), "NaN"),
    Fault("a model that calls sys.exit", cause.bad_model("sys.exit(0)"), r"was ended by SystemExit\(0\)"),
    Fault("a model that calls os._exit", cause.bad_model("os._exit(0)"), "ended itself with exit code 0"),
    Fault(
        "a model that crashes the interpreter",
        cause.bad_model("import ctypes; ctypes.string_at(0)"),
        "was ended by SIGSEGV",
    ),
    Fault(
        "a model that writes half its file and ends",
        cause.bad_model(
            "open('results/simulated_maze/20ms/val/mine/0/prediction.h5', 'wb').write(b'half')\nos.kill(os.getpid(), 9)"
        ),
        "was kept from|was ended by SIGKILL",
    ),
    Fault("a model that prints for ever", cause.bad_model("for _ in range(60): print('x' * 10**6)"), "", fails=False),
    Fault(
        "a model that leaves a process behind",
        cause.bad_model("subprocess.Popen(['sleep', '300'], start_new_session=True)"),
        "",
        fails=False,
    ),
    Fault(
        "a model that forks and returns twice",
        cause.bad_model("if os.fork() == 0: rates = {name: array + 1 for name, array in rates.items()}"),
        "",
        2,
        fails=False,
    ),
    Fault("a model edited while the run goes on", cause.edited("train"), "was edited since this run was planned", 2),
    Fault("the results folder renamed", cause.renamed_folder, "", 2),
    Fault("a killed run's results copied elsewhere", cause.copied_half_way, "", 2),
    Fault("the results folder a link, the run killed", cause.linked_folder, "", 2),
    Fault("no temporary folder", cause.no_temporary_folder, "", 1, fails=False),
    Fault("a job stopped and continued", cause.stopped, "", 2, fails=False),
    Fault("the archive cuts the connection", cause.archive("cut", 2), "", 1, "recorded", fails=False),
    Fault("the archive sends a wrong byte", cause.archive("corrupt"), "came with the wrong checksum", 1, "recorded"),
]
