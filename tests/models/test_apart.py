"""A model's code opens its input and nothing else; whatever it does, its job ends with one sentence."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nlbflow.errors import NlbflowError
from nlbflow.models import apart
from nlbflow.models.apart import Reach, run_apart
from nlbflow.running import confine

needs_landlock = pytest.mark.skipif(confine.version() == 0, reason="the kernel has no Landlock")
OPENED = {"data_folder": "", "datasets": {}, "models": {}}


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A working folder with a model in it, answers, another model's prediction, a recording and something at home."""
    monkeypatch.chdir(tmp_path)
    for name in ("results/a/target.h5", "results/a/other/0/prediction.h5", "data/nwb/a.nwb", "models/mine.py"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("secret")
    Path("models/weights.bin").write_text("mine")
    Path("results/a/mine/0/work").mkdir(parents=True)
    Path("models/link").symlink_to(tmp_path / "results/a/target.h5")
    return tmp_path


def reach_of(place: Path, **config) -> Reach:
    return Reach.of(place / "models/mine.py", OPENED | config, place / "results/a/mine/0/work")


def attempt(place: Path, call, **config):
    return run_apart(lambda: [(call() or {}, {})], "mine", reach_of(place, **config))


def test_a_result_comes_back_as_it_was(place):
    rates = np.random.default_rng(0).random((3, 4, 5), np.float32)
    arrays = {"eval_rates_heldin": rates, "history": {"loss": np.arange(3.0)}}
    other = {"eval_rates_heldin": rates + 1}
    [(found, facts), second], confined = run_apart(
        lambda: [(arrays, {"n": 3, "x": float("nan"), "d": "cpu"}), (other, {})], "mine", reach_of(place)
    )
    np.testing.assert_array_equal(second[0]["eval_rates_heldin"], rates + 1)
    assert second[0].keys() == {"eval_rates_heldin"} and second[1] == {}
    assert found["eval_rates_heldin"].dtype == np.float32
    np.testing.assert_array_equal(found["eval_rates_heldin"], rates)
    np.testing.assert_array_equal(found["history"]["loss"], np.arange(3.0))
    assert facts["n"] == 3 and facts["x"] != facts["x"] and facts["d"] == "cpu"
    assert confined == (f"Landlock {confine.version()}" if confine.version() else "no: the kernel has no Landlock")


@needs_landlock
@pytest.mark.parametrize(
    "name",
    [
        "results/a/target.h5",
        "results/a/other/0/prediction.h5",
        "data/nwb/a.nwb",
        "models/link",
        "models/../results/a/target.h5",
        "~/.profile",
        "results",
    ],
)
def test_what_is_not_its_own_cannot_be_read(place, name):
    path = Path(name).expanduser()
    if name.startswith("~") and not path.exists():
        pytest.skip("there is no such file")
    with pytest.raises(NlbflowError, match="model mine was kept from") as error:
        attempt(place, lambda: list(path.iterdir()) if path.is_dir() else print(path.read_text()))
    assert str(path) in str(error.value)


@needs_landlock
def test_h5py_is_kept_from_the_answers_too(place):
    import h5py

    with pytest.raises(NlbflowError, match=r"was kept from .*target\.h5"):
        attempt(place, lambda: print(h5py.File("results/a/target.h5")))


@needs_landlock
@pytest.mark.parametrize(
    "name", ["results/a/mine/0/more.h5", "results/a/other/0/prediction.h5", "mine.txt", "models/x.py"]
)
def test_it_writes_to_its_work_folder_alone(place, name):
    with pytest.raises(NlbflowError, match="was kept from"):
        attempt(place, lambda: print(Path(name).write_text("x")))
    attempt(place, lambda: print(Path("results/a/mine/0/work/checkpoint").write_text("x")))
    assert Path("results/a/mine/0/work/checkpoint").read_text() == "x"


@needs_landlock
def test_a_child_process_is_kept_too(place):
    command = ["cat", "results/a/target.h5"]
    with pytest.raises(NlbflowError, match="CalledProcessError"):
        attempt(place, lambda: print(subprocess.run(command, check=True, capture_output=True)))


@needs_landlock
def test_open_files_are_not_inherited(place):
    with open("results/a/target.h5") as file:
        number = file.fileno()
        os.set_inheritable(number, True)
        with pytest.raises(NlbflowError):
            attempt(place, lambda: print(os.read(number, 10)))
        with pytest.raises(NlbflowError):
            attempt(place, lambda: print(Path(f"/proc/self/fd/{number}").read_text()))
        with pytest.raises(NlbflowError):
            attempt(place, lambda: print(Path(f"/proc/{os.getppid()}/fd/{number}").read_text()))


@needs_landlock
@pytest.mark.skipif(confine.version() < 4, reason="this Landlock knows no network")
def test_there_is_no_network(place):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with pytest.raises(NlbflowError, match="has no network"):
            attempt(place, lambda: print(socket.create_connection(address, 5)))


@needs_landlock
@pytest.mark.skipif(confine.version() < 6, reason="this Landlock knows no signals")
def test_its_job_cannot_be_struck(place):
    with pytest.raises(NlbflowError, match="Operation not permitted"):
        attempt(place, lambda: os.kill(os.getppid(), signal.SIGTERM))


def test_its_own_folder_and_python_can_be_read(place):
    def use() -> None:
        import decimal  # noqa: F401

        assert Path("models/weights.bin").read_text() == "mine"
        assert subprocess.run([sys.executable, "-c", "import numpy"], check=False).returncode == 0
        assert Path(os.environ["HOME"], "cache").write_text("x")

    attempt(place, use)


@needs_landlock
def test_recordings_beside_the_model_are_hidden(place):
    Path("models/own.nwb").write_text("secret")
    Path("models/theirs.h5").write_text("secret")
    for config in (
        {"data_folder": str(place / "models")},
        {"data_folder": str(place), "datasets": {"own": {"files": {"whole": {"path": "models/own.nwb"}}}}},
    ):
        with pytest.raises(NlbflowError, match="was kept from"):
            attempt(place, lambda: print(Path("models/own.nwb").read_text()), **config)
        attempt(place, lambda: print(Path("models/weights.bin").read_text()), **config)
    submissions = {"models": {"theirs": {"prediction": "models/theirs.h5"}}}
    with pytest.raises(NlbflowError, match="was kept from"):
        attempt(place, lambda: print(Path("models/theirs.h5").read_text()), **submissions)


def test_without_landlock_the_run_goes_on_and_says_so(place, monkeypatch):
    monkeypatch.setattr(apart, "version", lambda: 0)
    *_, confined = attempt(place, lambda: print(Path("results/a/target.h5").read_text()))
    assert confined == "no: the kernel has no Landlock"


def test_oracles_are_free(place):
    reach = Reach(place / "models/mine.py", free=True)
    *_, confined = run_apart(lambda: [({"a": np.array(Path("results/a/target.h5").read_bytes())}, {})], "mine", reach)
    assert confined == "no: an oracle sees the answers"


def fail_in_its_file(place: Path, line: str):
    """Run a line of the model's own file."""
    Path("models/mine.py").write_text(f"\n\ndef go():\n    {line}\n")
    spec = compile(Path("models/mine.py").read_text(), str(place / "models/mine.py"), "exec")
    names: dict = {}
    exec(spec, names)
    return lambda: names["go"]()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{}['hidden']", r"model mine raised KeyError \(mine\.py, line 4\): 'hidden'"),
        ("import os; os._exit(0)", "ended itself with exit code 0 before `predict` returned"),
        ("import sys; sys.exit(0)", r"was ended by SystemExit\(0\) before"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "was ended by SIGKILL .*want of memory"),
        ("import ctypes; ctypes.string_at(0)", "was ended by SIGSEGV"),
    ],
)
def test_however_it_ends_it_is_one_sentence(place, line, sentence):
    with pytest.raises(NlbflowError, match=sentence):
        attempt(place, fail_in_its_file(place, line))


def test_what_the_job_has_advice_for_stays_what_it_is(place):
    with pytest.raises(MemoryError):
        attempt(place, lambda: np.empty(10**15))
    with pytest.raises(OSError, match="No space left"):
        attempt(place, lambda: Path("/dev/full").write_text("x"))


def test_its_process_ends_with_the_job(place):
    started = time.monotonic()
    pid = os.fork()
    if not pid:
        attempt(
            place, lambda: (Path("results/a/mine/0/work/pid").write_text(str(os.getpid())), time.sleep(60)) and None
        )
        os._exit(0)
    while not Path("results/a/mine/0/work/pid").exists() or not Path("results/a/mine/0/work/pid").read_text():
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    model = int(Path("results/a/mine/0/work/pid").read_text())
    while Path(f"/proc/{model}/stat").exists() and " Z " not in Path(f"/proc/{model}/stat").read_text():
        assert time.monotonic() < started + 30
        time.sleep(0.05)


def test_parts_without_what_is_hidden(tmp_path):
    for name in ("a/b/c", "a/d/e", "f"):
        (tmp_path / name).mkdir(parents=True)
    parts = confine.without(tmp_path, [tmp_path / "a/b"])
    assert parts == [tmp_path / "a/d", tmp_path / "f"]
    assert confine.without(tmp_path / "a/b/c", [tmp_path / "a/b"]) == []
    assert confine.without(tmp_path, [Path("/elsewhere")]) == [tmp_path]


@needs_landlock
def test_whatever_its_streams_are_it_is_confined(place):
    """A pipe, a socket or a deleted file in their place changes nothing."""
    program = (
        "import sys; from pathlib import Path; from nlbflow.models.apart import Reach, run_apart\n"
        "reach = Reach(Path('models/mine.py').absolute(), hidden=(Path('results').absolute(),))\n"
        "try: run_apart(lambda: [(print(open('results/a/target.h5').read()) or {}, {})], 'mine', reach)\n"
        "except Exception as error: sys.exit(f'told: {error}')\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(place)])}
    ends = socket.socketpair()
    gone = open(place / "gone", "w")
    (place / "gone").unlink()
    for stdout in (subprocess.PIPE, ends[0], gone, subprocess.DEVNULL):
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, cwd=place, env=environment, input=b"", stdout=stdout, stderr=subprocess.PIPE)
        assert b"told: model mine was kept from results/a/target.h5" in done.stderr, done.stderr
    for one in (*ends, gone):
        one.close()


@needs_landlock
def test_where_it_cannot_be_confined_it_does_not_run(place, monkeypatch):
    def refuse(*_):
        raise OSError(77, "refused")

    monkeypatch.setattr(apart, "confine", refuse)
    with pytest.raises(NlbflowError, match="refused"):
        attempt(place, lambda: Path("results/a/mine/0/work/ran").touch())
    assert not Path("results/a/mine/0/work/ran").exists()
