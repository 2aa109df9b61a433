"""What lies in a bucket beside the files that Snakemake's plugin handles: stamps, seals, checkpoints, the hold."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nlbflow.errors import NlbflowError
from nlbflow.models.apart import Reach, run_apart
from nlbflow.models.contract import tiny_input
from nlbflow.running import lease, work
from nlbflow.running.bucket import SETTINGS, VARIABLE, Bucket, Taken, bucket_of_run
from nlbflow.running.checksums import known_sha256, seal, set_aside_if_damaged
from nlbflow.running.confine import version
from nlbflow.running.lease import HELD, Lease
from nlbflow.running.stamps import StampsInBucket, describe
from nlbflow.running.store import store_of_run

SCRIPTS = str(Path(__file__).parents[2] / "scripts")
OF = {"stamp": "0123", "params": {"width": 3}, "seed": 0}


class Keys:
    """The plugin's settings, as far as they matter here."""

    region, token, retries = "us-east-1", None, 3

    def __init__(self, server):
        self.endpoint_url, self.access_key, self.secret_key = server.url, server.access_key, server.secret_key


@pytest.fixture
def bucket(s3, tmp_path, monkeypatch):
    """A run's bucket, empty, with a folder of local copies."""
    for name in (VARIABLE, *SETTINGS.values()):
        monkeypatch.setenv(name, "")  # to be restored at the end, whether it is set now or not
        monkeypatch.delenv(name)
    bucket = Bucket("lab", f"{tmp_path.name}/", tmp_path / "copies")
    bucket.lead_jobs(Keys(s3))
    bucket_of_run.cache_clear()
    yield bucket_of_run()
    bucket_of_run.cache_clear()


def local(bucket, name: str, content: bytes) -> Path:
    """An object and the local copy of it that a job works with."""
    path = bucket.local / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    bucket.write(name, content)
    return path


def test_objects_have_the_names_of_files(bucket):
    assert bucket.read("results/scores.csv") is None and not bucket.has("results") and bucket.children("results") == []
    for name in ("results/scores.csv", "results/tables/a.csv", "results/tables/b/c.csv", "results/tables.md"):
        bucket.write(name, name.encode())
    assert bucket.read("results/scores.csv") == b"results/scores.csv"
    assert bucket.children("results/tables") == ["results/tables/a.csv", "results/tables/b"]
    assert bucket.has("results/tables") and not bucket.has("results/tab")
    bucket.move("results/tables", "results/old/tables")
    assert [*bucket.below("results/old")] == ["results/old/tables/a.csv", "results/old/tables/b/c.csv"]
    assert not bucket.has("results/tables") and bucket.has("results/tables.md")
    bucket.remove("results/tables.md")
    assert not bucket.has("results/tables.md")
    assert abs(bucket.modified("results/scores.csv") - bucket.now()) < 60 and bucket.modified("results/none") is None
    assert bucket.name_of(bucket.local / "logs/a.log") == "logs/a.log" and bucket.name_of("/etc/hosts") == "/etc/hosts"
    assert store_of_run() is bucket


def test_a_condition_is_kept(bucket):
    etag = bucket.write("a", b"1", IfNoneMatch="*")
    with pytest.raises(Taken):
        bucket.write("a", b"2", IfNoneMatch="*")
    bucket.write("a", b"3", IfMatch=etag)
    with pytest.raises(Taken):
        bucket.write("a", b"4", IfMatch=etag)
    assert bucket.read("a") == b"3"


@pytest.mark.parametrize("ask", [lambda b: b.read("a"), lambda b: b.write("a", b""), Lease, Bucket.below])
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"bucket": "none"}, r"there is no bucket none; make it, or correct --default-storage-prefix\.$"),
        ({"access_key": "wrong"}, r"refuses these credentials \(.+\); set SNAKEMAKE_STORAGE_S3_ACCESS_KEY and "),
        (
            {"endpoint_url": "http://127.0.0.1:9"},
            r"cannot be reached \(.+\); check .* SNAKEMAKE_STORAGE_S3_ENDPOINT_URL",
        ),
    ],
    ids=["bucket", "key", "server"],
)
def test_what_is_wrong_is_said_in_a_sentence(bucket, s3, monkeypatch, ask, change, sentence):
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    wrong = Bucket(change.get("bucket", "lab"), bucket.prefix, bucket.local)
    keys = Keys(s3)
    keys.__dict__.update(change)
    wrong.lead_jobs(keys)
    with pytest.raises(NlbflowError, match=sentence):
        ask(wrong)


def test_a_busy_server_is_asked_again(bucket, s3):
    bucket.write("a", b"1")
    s3.busy = 2
    assert bucket.read("a") == b"1" and s3.busy == 0


def test_a_stamp_is_written_when_the_run_begins_and_only_if_it_differs(bucket):
    one, other = (describe({"code": {}, "environment": ""}, {"seed": seed}) for seed in (0, 1))
    path = Path("results/stamps/train.json")
    planned = StampsInBucket(bucket)
    assert planned.write(path, one) == "results/stamps/train.json" and planned.digests[str(path)] == one["digest"]
    assert bucket.read(str(path)) is None
    planned.keep()
    written = bucket.modified(str(path))
    again, changed = StampsInBucket(bucket), StampsInBucket(bucket)
    again.write(path, one)
    assert not again.changed
    changed.write(path, other)
    assert [*changed.changed] == [str(path)] and bucket.modified(str(path)) == written
    # where an ETag is no MD5, the content decides
    again._etags[str(path)] = '"of another kind"'
    again.write(path, one)
    assert not again.changed


def test_a_seal_lies_in_the_bucket_and_what_is_damaged_is_set_aside_there(bucket):
    path = local(bucket, "results/a/scores.json", b"0.3")
    seal(path, path, print)
    assert bucket.read("results/a/.scores.json.sha256") and not [*bucket.local.rglob("*.sha256")]
    set_aside_if_damaged(path, print)
    sha256 = known_sha256(path, print)
    path.write_bytes(b"0.7")
    bucket.write("results/a/scores.json", b"0.7")
    assert known_sha256(path, print) == sha256
    with pytest.raises(NlbflowError, match=r"^results/a/scores.json has changed .* set aside as scores.json.damaged"):
        set_aside_if_damaged(path, print)
    assert bucket.read("results/a/scores.json.damaged") == b"0.7" and bucket.read("results/a/scores.json") is None
    assert not path.exists()


def test_what_one_worker_leaves_another_gets(bucket):
    path = bucket.local / "results/a/smoothing/0/scores.json"
    bucket.bring(path)
    bucket.leave(path)
    assert not path.exists() and not bucket.has("results/a/smoothing")
    path.parent.mkdir(parents=True)
    path.write_text("0.3")
    bucket.leave(path)
    path.unlink()
    bucket.bring(path)
    assert path.read_text() == "0.3"


def test_a_second_run_is_refused_until_the_first_is_over_or_dead(bucket, monkeypatch):
    first = Lease(bucket)
    refusal = rf"lab/{bucket.prefix[:-1]} is in use by a live run of snakemake \(process {os.getpid()} on .+ s ago\)"
    with pytest.raises(NlbflowError, match=refusal):
        Lease(bucket)
    first.release()
    assert bucket.read(HELD) is None
    dead = Lease(bucket)
    dead._over.set()  # as if its process had been killed
    monkeypatch.setattr(lease, "ENDED", 0.0)
    second = Lease(bucket)
    # whoever was taken for dead takes nothing away
    dead.release()
    assert bucket.read(HELD) == second._content
    second.release()


@pytest.mark.parametrize("other", [False, True])
def test_a_job_that_outlives_its_run_stores_nothing_once_another_run_has_begun(bucket, other):
    bucket.write(HELD, b"the run of this job")
    target = bucket.local / "results/out.txt"
    call = f"""
import types
from nlbflow.running.bucket import bucket_of_run
from nlbflow.running.job import job
smk = types.SimpleNamespace(log=[], input={{}}, rule="slow", output={{"out": {str(target)!r}}},
    resources=types.SimpleNamespace(runtime=1), wildcards={{}}, config={{"models": {{}}}})
with job(smk) as run:
    run.out["out"].write_text("done")
    if {other}:
        bucket_of_run().write("results/.running", b"another run")
"""
    done = subprocess.run([sys.executable, "-c", call], env=os.environ | {"PYTHONPATH": SCRIPTS}, capture_output=True)
    assert ("another has taken its place" in done.stderr.decode()) == other != target.exists()
    assert (bucket.read("results/.out.txt.sha256") is None) == other


def test_a_run_that_was_taken_for_dead_ends(bucket, monkeypatch, capsys):
    ended = threading.Event()
    monkeypatch.setattr(lease, "RENEWED", 0.1)
    monkeypatch.setattr(os, "kill", lambda pid, number: (pid, number) == (os.getpid(), signal.SIGTERM) and ended.set())
    first = Lease(bucket)
    monkeypatch.setattr(lease, "ENDED", 0.0)
    second = Lease(bucket)
    assert ended.wait(10)
    assert "another run has taken over s3://lab/" in capsys.readouterr().err
    first.release()
    second.release()


def test_a_killed_training_finds_its_folder_in_the_bucket(bucket, monkeypatch):
    monkeypatch.setattr(work, "BETWEEN_COPIES", 0.0)
    prediction, data = bucket.local / "results/a/gru/0/prediction.h5", vars(tiny_input())
    copy = "results/a/gru/0/work.tar"
    folder = work.work_folder(prediction, data, OF)
    with work.copied(folder):
        (folder / "population").mkdir()
        (folder / "population/member").write_text("weights")
        (folder / work.CHECKPOINT).write_text("epoch 3")
        deadline = threading.Event()
        while bucket.read(copy) is None and not deadline.wait(0.2):
            pass
    for path in sorted(bucket.local.rglob("*"), reverse=True):  # another worker has none of it
        path.rmdir() if path.is_dir() else path.unlink()
    assert work.work_folder(prediction, data, OF) == folder
    assert (folder / work.CHECKPOINT).read_text() == "epoch 3" and (folder / "population/member").exists()
    # of other work, nothing is taken
    assert [path.name for path in work.work_folder(prediction, data, OF | {"seed": 1}).iterdir()] == [work.DIGEST]
    work.tidy_work(folder)
    work.copy_work(folder)
    assert bucket.read(copy) is None


def test_a_bucket_that_fails_does_not_stop_a_training(bucket, monkeypatch):
    monkeypatch.setattr(work, "BETWEEN_COPIES", 0.0)
    folder = work.work_folder(bucket.local / "results/b/gru/0/prediction.h5", vars(tiny_input()), OF)
    monkeypatch.setattr(Bucket, "write", lambda *_: (_ for _ in ()).throw(NlbflowError("it is down")))
    told = threading.Event()
    monkeypatch.setattr(work.logging.getLogger("nlbflow"), "info", lambda line: "it is down" in line and told.set())
    with work.copied(folder):
        (folder / work.CHECKPOINT).write_text("epoch 3")
        assert told.wait(10)


@pytest.mark.skipif(version() == 0, reason="the kernel has no Landlock")
def test_a_model_beside_the_copies_cannot_open_the_answers(bucket, tmp_path):
    answers = local(bucket, "results/a/target.h5", b"the answers")
    (tmp_path / "theirs.txt").write_text("their own")
    reach = Reach.of(tmp_path / "mine.py", {"data_folder": "", "datasets": {}, "models": {}})
    run_apart(lambda: [((tmp_path / "theirs.txt").read_text() and {}, {})], "mine", reach)
    with pytest.raises(NlbflowError, match=r"was kept from .*target.h5"):
        run_apart(lambda: [(answers.read_bytes() and {}, {})], "mine", reach)
