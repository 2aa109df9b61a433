"""Entries of the public board: what is taken, and the sentence for everything that is not."""

import copy
import os

import pytest
from test_selection import CONFIG, PINS

from entry_files import write_entry
from nlbflow.errors import NlbflowError
from nlbflow.planning.entries import entries_wanted, read_entries, with_entries
from nlbflow.planning.model_stanzas import ModelStanzas
from nlbflow.planning.selection import Selection
from nlbflow.planning.unfinished import Unfinished
from workflow import ROOT

SCHEMA = ROOT / "schemas/entry.schema.yaml"


def files(*digits: str) -> list[dict]:
    return [{"url": "https://example.org/rates.h5", "bytes": 10, "sha256": digit * 64} for digit in digits]


def read(folder, *names):
    return read_entries(names or entries_wanted(["all"], folder), folder, SCHEMA, CONFIG)


def selection(folder, entry="", entries=("all",), **run):
    config = copy.deepcopy(CONFIG)
    config |= {"entries": str(folder), "entry": entry}
    config["run"] |= {"entries": list(entries), "models": ["mean_rate"], "phases": ["val", "test"], **run}
    config, found = with_entries(config, PINS, ROOT)
    return Selection(config, PINS, ModelStanzas(config, ROOT), Unfinished(), found)


def test_an_entry_is_a_model_of_its_seeds_and_files(tmp_path):
    write_entry(tmp_path, "good", files={"val": files(*"abc"), "test": files(*"def")})
    chosen = selection(tmp_path)
    runs = [run for run in chosen.runs() if run[3] == "good"]
    assert [run[2:] for run in runs] == [(phase, "good", seed) for phase in ("val", "test") for seed in range(3)]
    assert chosen.models.submission_file("good", "test", "1") == f"data/entries/good/test_1_{'e' * 16}.h5"
    assert chosen.models.entry_file("good", "test", 1)["sha256"] == "e" * 64
    whose = "scored here, rates by Zoë O'Neill, J.-P. Serre, 2026-11-29"
    assert chosen.descriptions.sources() == {"good": ["S", whose]}
    assert dict(chosen.descriptions.of_models()["good"]["card"])["Trained on"] == "train and val; other data: none"


def test_marks_say_what_readers_must_know(tmp_path):
    marked = {"saw_test_answers": True, "code_reproduces": False}
    write_entry(tmp_path, "few", files={"val": files("a")}, **marked)
    write_entry(tmp_path, "one", files={"val": files("a")}, title="Two", deterministic=True)
    entries = read(tmp_path)
    assert entries["few"].source()[1].split("; ")[1:] == [
        "fewer than three seeds", "saw the test answers", "no public code makes these rates"
    ]  # fmt: skip
    assert entries["one"].marks == []
    assert selection(tmp_path).unavailable("simulated_maze", 5, "test", "one") == "the entry has no rates of phase test"


def test_a_model_file_is_run_here(tmp_path):
    folder = write_entry(tmp_path, "theirs", model="theirs.py")
    (folder / "theirs.py").write_text((ROOT / "scripts/models/mean_rate.py").read_text())
    chosen = selection(tmp_path)
    assert chosen.models.kind("theirs") == "trained" and chosen.descriptions.sources()["theirs"][0] == "R"
    oracle = '"""Mine."""\nDEFAULTS = {}\nORACLE = True\ndef predict(data, params, seed): ...'
    mine = '"""Mine."""\nDEFAULTS = {}\ndef predict(data, params, seed): ...'
    for content, told in (
        (None, "theirs.py, which is no file in the entry's folder"),
        ("x = 1", "theirs.py has no docstring"),
        ("def", "theirs.py is not valid Python"),
        (oracle, "no entry sees the answers"),
        (mine.format("{[]: 1}"), "cannot be read"),
        (mine.format("{'a': {1, 2}}"), "cannot be read"),
        (mine.format("{}\nNEEDS = 5"), "cannot be read"),
        (mine.format("{'a': " + "+".join(["1"] * 3000) + "}"), "cannot be read"),
    ):
        (folder / "theirs.py").unlink() if content is None else (folder / "theirs.py").write_text(content)
        fault = read(tmp_path)["theirs"].fault
        assert told in fault and str(tmp_path) not in fault
        assert selection(tmp_path, phases=["val"]).runs()[0][3] == "mean_rate"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"title": "=cmd|' /C calc'!A0"}, "key title is"),
        ({"title": "<script>alert(1)</script>"}, "key title is"),
        ({"title": "\\input{x}"}, "key title is"),
        ({"title": "good\n"}, "key title is"),
        ({"authors": ["@SUM(A1)"]}, "key authors.0 is"),
        ({"authors": []}, "key authors is"),
        ({"hyperparameters": "by \u202ealf"}, "key hyperparameters is"),
        ({"paper": "javascript:alert(1)"}, "key paper is"),
        ({"paper": 'https://a.org/"onclick=x'}, "key paper is"),
        ({"licence": None}, "lacks the key licence"),
        ({"licence": "=1+1"}, "key licence is"),
        ({"date": "yesterday"}, "key date is"),
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"datasets": ["mc_maz"]}, "did you mean mc_maze?"),
        ({"model": "x.py"}, "fits none of the allowed forms"),
        ({"files": None}, "fits none of the allowed forms"),
        ({"model": "../x.py", "files": None}, "key model is"),
        ({"files": {"val": files("a", "a")}}, "twice; each seed has its own rates"),
        ({"files": {"val": files("a"), "test": files("b", "c")}}, "2 for test and 1 for val"),
        ({"files": {"val": files("a", "b")}, "deterministic": True}, "one file for each phase"),
        ({"files": {"val": [{**files("a")[0], "bytes": 5_000_000_000}]}}, "at most 2 GB"),
        ({"files": {"val": [{**files("a")[0], "url": "file:///etc/passwd"}]}}, "beginning with http"),
        ({"files": {"val": [{**files("a")[0], "url": "https://a.org/\x1b[31m"}]}}, "beginning with http"),
        ({"files": {"val": [{**files("a")[0], "url": "https://a.org/\u202ex"}]}}, "beginning with http"),
        ({"files": {"val": [{**files("a")[0], "url": "http://[bad/"}]}}, "which is none"),
        ({"files": {"val": [{**files(d)[0], "bytes": 2_000_000_000} for d in "0123456789ab"]}}, "in all"),
        ({"date": "2026-02-31"}, "which is no day"),
        ({"files": {"val": [{**files("a")[0], "sha256": "A" * 64}]}}, "64 hexadecimal digits"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_entry_is_told_in_a_sentence_and_harms_no_other(tmp_path, changes, told):
    write_entry(tmp_path, "good", title="Another", files={"val": files(*"abc")})
    write_entry(tmp_path, "bad", **{"files": {"val": files(*"abc")}, **changes})
    chosen = selection(tmp_path, phases=["val"])
    assert told in chosen.unavailable("simulated_maze", 5, "val", "bad")
    assert {run[3] for run in chosen.runs()} == {"mean_rate", "good"}
    assert "bad" not in chosen.descriptions.sources() and "bad" not in chosen.descriptions.of_models()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\xff\xfe", "is not YAML in UTF-8"),
        (b"title: [", "is not YAML in UTF-8"),
        (b"just text", "holds no keys"),
        (b"a: &x 1\nb: *x", "has a YAML alias"),
        (b"title: a\ntitle: b", "the key title stands twice"),
        (b"x: " + b"[" * 15_000, "is not YAML in UTF-8"),
        (b"x: !!python/object/apply:os.system [ls]", "is not YAML in UTF-8"),
        (b"#" * 17_000, "has 17,000 bytes"),
        (b"title: " + b"a" * 15_000, "lacks the key"),
        (b"bytes: 0x" + b"f" * 4200, "cannot be read"),
        (b"code_reproduces: !!bool maybe", "cannot be read"),
        (b"bytes: !!int ''", "cannot be read"),
        (b"title: !!map [a]", "cannot be read"),
        (b"title: " + b"[" * 3000 + b"]" * 3000, "cannot be read"),
    ],
    ids=range(14),
)
def test_a_file_that_may_be_anything(tmp_path, content, told):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/entry.yaml").write_bytes(content)
    fault = read(tmp_path)["bad"].fault
    assert told in fault and len(fault) <= 400 and "\n" not in fault


def test_names_of_folders(tmp_path):
    for name in ("=1+1", "a b", "go" + "o" * 20, "nan", "All", "gru", "mint_tuned", "empty"):
        (tmp_path / name).mkdir()
    secret = tmp_path / "secret.yaml"
    secret.write_text("title: secret")
    (tmp_path / "linked").mkdir()
    os.symlink(secret, tmp_path / "linked/entry.yaml")
    (tmp_path / "README.md").write_text("no folder")
    entries = read(tmp_path)
    told = [entry.fault for name, entry in entries.items() if name.startswith("unnamed_")]
    assert len([fault for fault in told if "is no name; expected" in fault]) == 5
    assert sorted(fault.split()[0] for fault in told if "the name of another model" in fault) == ["gru", "mint_tuned"]
    assert "no file entry.yaml" in entries["empty"].fault and "reached by a link" in entries["linked"].fault
    assert len(entries) == 9
    # and the plan of all others is made
    assert {run[3] for run in selection(tmp_path).runs()} == {"mean_rate"}


def test_two_with_one_title_are_both_marked(tmp_path):
    write_entry(tmp_path, "early", files={"val": files(*"abc")}, date="2026-11-01", title="The model")
    write_entry(tmp_path, "late", files={"val": files(*"abc")}, title="the  MODEL")
    entries = read(tmp_path)
    assert entries["early"].marks == ["has the title of late too"]
    assert entries["late"].marks == ["has the title of early too"]
    # also where one is tried alone
    assert selection(tmp_path, entry="late").descriptions.sources()["late"][1].endswith("the title of early too")


def test_an_entry_stands_or_falls_with_all_its_seeds(tmp_path):
    write_entry(tmp_path, "padded", files={"val": files(*"abc")})
    config = copy.deepcopy(CONFIG) | {"entries": str(tmp_path)}
    config["run"] |= {"entries": ["all"], "models": ["mean_rate"], "phases": ["val"]}
    config, found = with_entries(config, PINS, ROOT)
    lost = "results/simulated_maze/5ms/val/padded/2/prediction.h5"
    unfinished = Unfinished([], {lost: "the file has gone."})
    chosen = Selection(config, PINS, ModelStanzas(config, ROOT), unfinished, found)
    assert chosen.unavailable("simulated_maze", 5, "val", "padded") == "failed: the file has gone"
    assert {run[3] for run in chosen.runs()} == {"mean_rate"}


def test_one_entry_is_tried_on_its_smallest_dataset_beside_quick_models(tmp_path):
    write_entry(tmp_path, "good", files={"test": files(*"abc")}, datasets=["mc_maze", "mc_maze_small", "mc_rtt"])
    write_entry(tmp_path, "other", files={"val": files("a")}, title="Other")
    chosen = selection(tmp_path, entry="good")
    assert chosen.places == [("mc_maze_small", 5, "test")]
    assert chosen.run["models"] == ["mean_rate", "smoothing", "reduced_rank", "good"]
    with pytest.raises(NlbflowError, match=r"there is no entry 'goo' .* \(did you mean good\?\)"):
        selection(tmp_path, entry="goo")
    (tmp_path / "good/entry.yaml").write_text("title: x")
    with pytest.raises(NlbflowError, match=r"the entry good cannot be taken: .* lacks the key"):
        selection(tmp_path, entry="good")
