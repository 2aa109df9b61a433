"""The seven datasets from an archive to tensors, scores and published answers, all on loopback."""

import csv
import functools
import hashlib
import http.server
import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml

from loopback_dandi import Fault
from nlbflow.archive.pins import read_pins
from nlbflow.archive.pointers import read_pointer, write_pointer
from nlbflow.errors import NlbflowError
from nlbflow.metrics.formulas import METRICS
from nlbflow.recordings.inputs import check_streamed, checksums_of
from nlbflow.recordings.published_answers import read_published
from nlbflow.recordings.targets import make_target
from nlbflow.recordings.tensors import make_input
from nlbflow.running.files import read_arrays
from workflow import ROOT, run

PINS = read_pins(ROOT / "resources/datasets.tsv")
# one of each layout
LAYOUTS = ("mc_maze_small", "mc_rtt", "area2_bump", "dmfc_rsg")
DATASETS = yaml.safe_load((ROOT / "resources/datasets.yaml").read_text())["datasets"]
MAKERS = {"input": make_input, "target": make_target}


def write_config(
    folder: Path, archive, phases: list[str], selected: list[str], bins=(5, 20), datasets=LAYOUTS, **keys
) -> Path:
    server, pins, _ = archive
    config = {
        "run": {
            "datasets": list(datasets),
            "bin_ms": list(bins),
            "phases": phases,
            "models": selected,
            "seeds": [0],
        },
        "archive": server.url,
        "pins": str(pins),
        **keys,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_interrupted_anywhere_it_fetches_nothing_whole_again(archive, tmp_path):
    server, pins, _ = archive
    config = write_config(tmp_path, archive, ["val"], ["smoothing", "condition_psth"], [20], PINS)
    files = len(PINS) * 2
    server.log.clear()
    server.faults.append(Fault("404", path="Haydn", times=2))
    server.faults.append(Fault("cut", path="sub-Indy", times=1))
    work = tmp_path / "work"
    tables = ("results/scores.csv", "results/leaderboard.md")
    run(ROOT, work, *tables, config=config, fails=True)
    fetched = {r.path for r in server.blob_requests() if r.status == 200}
    assert files - 2 <= len(fetched) < files
    first = len(server.blob_requests())
    server.faults.clear()
    run(ROOT, work, *tables, config=config)
    again = server.blob_requests()[first:]
    assert len(again) <= 2, "a whole file was fetched again"
    for name, parts in read_pins(pins).items():
        for pin in parts.values():
            content = (work / "data/nwb" / pin.dandiset / pin.version / pin.path).read_bytes()
            assert hashlib.sha256(content).hexdigest() == pin.sha256, name

    scores = pd.read_csv(work / "results/scores.csv", keep_default_na=False)
    assert set(scores["dataset"]) == set(PINS)
    metrics = scores[scores["model"] == "smoothing"].groupby("dataset")["metric"].agg(set)
    assert metrics["mc_maze"] == {"co-bps", "vel R2", "psth R2", "Poisson D2"}
    assert metrics["mc_rtt"] == {"co-bps", "vel R2", "Poisson D2"}
    assert metrics["area2_bump"] == {"co-bps", "vel R2", "psth R2", "Poisson D2"}
    assert metrics["dmfc_rsg"] == {"co-bps", "tp corr", "psth R2", "Poisson D2"}
    board = (work / "results/leaderboard.md").read_text()
    rtt = board[board.index("## mc_rtt, 20 ms bins, val phase\n") :].split("\n## ")[0]
    assert "| condition_psth (oracle) |" in rtt and ": the dataset's definition names no conditions" in rtt


def inputs_of(archive, name: str) -> list[list[str]]:
    """The rows of the table that pins what is read of a dataset's files."""
    pins, parts = read_pins(archive[1])[name], archive[2][name]
    found = {part: checksums_of(parts[part], DATASETS[name]) for part in pins}
    return [[name, part, pins[part].sha256, *row] for part, items in found.items() for row in items.items()]


def write_streamed(folder: Path, archive, rows: list[list[str]]) -> Path:
    """A config that streams area2_bump, with pins of what is read of it."""
    shutil.copy(archive[1], folder / "pins.tsv")
    with (folder / "inputs.tsv").open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([["dataset", "part", "file_sha256", "item", "sha256"], *rows])
    stanzas = {"datasets": {"area2_bump": {"stream": True}}, "pins": str(folder / "pins.tsv")}
    config = yaml.safe_load(write_config(folder, archive, ["val"], ["mean_rate"], [20], ["area2_bump"]).read_text())
    (folder / "streamed.yaml").write_text(yaml.safe_dump({**config, **stanzas}))
    return folder / "streamed.yaml"


def test_a_streamed_recording_gives_the_same_tensors_and_answers(archive, tmp_path):
    server, _, truth = archive
    server.faults.clear()
    name, work = "area2_bump", tmp_path / "work"
    # what is read of the test file is not pinned
    pinned = [row for row in inputs_of(archive, name) if row[1] == "train"]
    makers = {f"results/{name}/20ms/val/{file}.h5": make for file, make in MAKERS.items()}
    output = run(ROOT, work, *makers, config=write_streamed(tmp_path, archive, pinned))
    assert "0.00 GB to fetch and a part of 0.00 GB to stream" in output
    assert not list((work / "data").rglob("*.nwb"))
    for path, make in makers.items():
        arrays, about = read_arrays(work / path)
        expected, _ = make({part: truth[name][part] for part in ("train", "test")}, DATASETS[name], 20, "val")
        assert arrays.keys() == expected.keys()
        for key, value in expected.items():
            for found, known in zip(*((x if isinstance(x, list) else [x]) for x in (arrays[key], value)), strict=True):
                assert (found.dtype, found.shape, found.tobytes()) == (known.dtype, known.shape, known.tobytes()), key
        assert about["provenance"]["streamed"] == {"train": "verified", "test": "not verified"}
    notes = json.loads((work / f"results/{name}/20ms/val/dataset.json").read_text())["notes"]
    assert any("is not verified" in note for note in notes)

    # the archive may say what it likes: other content than was pinned is refused
    path = next(work.glob("data/nwb/000127/*/sub-Han/*train*.json"))
    assert check_streamed({"train": str(path)}, DATASETS[name]) == {"train": "verified"}
    pointer = read_pointer(path)
    write_pointer(path, replace(pointer, inputs={**pointer.inputs, "units": "0" * 64}))
    with pytest.raises(NlbflowError, match=r"/units of .*, as it was streamed, is not that of the pinned file"):
        check_streamed({"train": str(path)}, DATASETS[name])


@pytest.mark.slow
def test_pins_of_what_is_read_are_made_from_whole_files(archive, tmp_path):
    archive[0].faults.clear()
    run(ROOT, tmp_path / "work", "results/inputs.tsv", config=write_streamed(tmp_path, archive, []))
    with (tmp_path / "work/results/inputs.tsv").open(newline="") as file:
        _, *rows = csv.reader(file, delimiter="\t")
    assert rows == inputs_of(archive, "area2_bump")
    read = ["intervals/trials", "units", "processing/behavior/hand_vel"]
    assert [row[3] for row in rows if row[1] == "train"] == read


@pytest.fixture
def published(archive, nlb_tools, tmp_path):
    """The answers of the test phase as nlb_tools writes them, served at a plain address: (config key, file)."""
    path = tmp_path / "served" / "eval_data_test.h5"
    path.parent.mkdir()
    for name in LAYOUTS:
        parts = archive[2][name]
        for bin_ms in (5, 20):
            arrays, _ = make_target(parts, DATASETS[name], bin_ms, "test")
            with h5py.File(path, "a") as file:
                group = file.create_group(name if bin_ms == 5 else f"{name}_{bin_ms}")
                for key, value in arrays.items():
                    if isinstance(value, list):
                        data = group.create_dataset(key, (len(value),), dtype=h5py.vlen_dtype("int32"))
                        for i, row in enumerate(value):
                            data[i] = row
                    else:
                        group.create_dataset(key, data=value.astype("float32") if value.dtype.kind == "f" else value)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(path.parent))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    content = path.read_bytes()
    yield (
        {
            "url": f"http://127.0.0.1:{server.server_address[1]}/{path.name}",
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        },
        path,
    )
    server.shutdown()


def test_published_answers_score_the_test_phase(archive, published, tmp_path):
    key, path = published
    work = tmp_path / "work"
    config = write_config(tmp_path, archive, ["test"], ["mean_rate"], published_answers=key)
    run(ROOT, work, "results/scores.csv", config=config)
    scores = pd.read_csv(work / "results/scores.csv", keep_default_na=False)
    assert set(scores["dataset"]) == set(LAYOUTS) and set(scores["phase"]) == {"test"}
    assert (scores[(scores["model"] == "null")]["value"] == 0.0).all()

    # a group that is missing is reported with its name and what there is, and the rest goes on
    with h5py.File(path, "a") as file:
        del file["mc_rtt_20"]
    other = {**key, "bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    (tmp_path / "other").mkdir()
    selected = {"datasets": ["mc_rtt"], "bin_ms": [5, 20], "phases": ["test"], "models": ["mean_rate"], "seeds": [0]}
    config = write_config(tmp_path / "other", archive, [], [], published_answers=other, run=selected)
    output = run(ROOT, tmp_path / "other/work", config=config, fails=True)
    assert "has no answers for mc_rtt at 20 ms (group mc_rtt_20); it has area2_bump" in output
    assert (tmp_path / "other/work/results/mc_rtt/5ms/test/mean_rate/0/scores.json").exists()


@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_submissions_out_to_nlb_tools_and_in_again(archive, published, nlb_tools, tmp_path):
    """Our file gets the scores of our table from nlb_tools, and gives them when it is scored as somebody's file."""
    key, answers = published
    work, models = tmp_path / "work", {"forecast": ["mc_rtt"], "smoothing": ["area2_bump", "dmfc_rsg"]}
    small = {"file": "gpfa.py", "params": {"x_dim": 2, "steps": 5}, "datasets": ["mc_rtt", "mc_maze_small"]}
    config = write_config(tmp_path, archive, ["test"], [*models], published_answers=key, models={"forecast": small})
    run(ROOT, work, "submission", "results/scores.csv", config=config)
    scores = read_scores(work)
    files = {model: work / f"results/submissions/{model}_test.h5" for model in models}
    (tmp_path / "scored").mkdir()
    theirs = {
        f"their_{m}": {"prediction": str(files[m].with_name(f"{m}_{{phase}}.h5")), "datasets": datasets}
        for m, datasets in models.items()
    }
    config = write_config(tmp_path / "scored", archive, ["test"], [*theirs], published_answers=key, models=theirs)
    run(ROOT, work, "results/scores.csv", "results/costs.csv", "results/leaderboard.md", config=config)
    again = read_scores(work).query("metric in @METRICS")
    for model in models:
        # a submission has no latents
        ours = scores[(scores["model"] == model) & scores["metric"].isin(METRICS)]
        theirs = again[again["model"] == f"their_{model}"].drop(columns="model").reset_index(drop=True)
        chosen = ours[ours["dataset"].isin(models[model])].drop(columns="model").reset_index(drop=True)
        pd.testing.assert_frame_equal(theirs, chosen)
        checked = nlb_tools.evaluation.evaluate(str(answers), str(files[model]))
        ours = {(r.dataset, r.bin_ms, r.metric): r.value for r in ours.itertuples()}
        compared = 0
        for split, metrics in ((name, values) for entry in checked for name, values in entry.items()):
            for metric, value in metrics.items():
                size, _, plain = metric.rpartition("] ")
                name = split.removesuffix("_split").removesuffix("_20").replace("scaling", SIZES.get(size, ""))
                bin_ms = 20 if split.endswith("_20_split") else 5
                if not np.isnan(value):
                    assert ours[name, bin_ms, plain] == pytest.approx(value, abs=1e-9), (split, metric)
                    compared += 1
        assert compared == len(ours) >= 12
    board = (work / "results/leaderboard.md").read_text()
    assert "*published*" in board and "not among its datasets (config key models.their_smoothing.datasets)" in board
    costs = pd.read_csv(work / "results/costs.csv", keep_default_na=False)
    assert (costs[costs["model"] == "their_smoothing"]["seconds"] == "").all()


def read_scores(work: Path) -> pd.DataFrame:
    return pd.read_csv(work / "results/scores.csv", keep_default_na=False, na_values={"low": "", "high": ""})


SIZES = {"[500": "large", "[250": "medium", "[100": "small"}


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda g: (g.pop("psth"), g.__setitem__("psth", h5py.SoftLink("/mc_rtt"))),
            "is not a plain array",
        ),
        (lambda g: (g.pop("psth"), g.__setitem__("psth", h5py.ExternalLink("x.h5", "/a"))), "is not a plain array"),
        (lambda g: (g.pop("eval_behavior"), g.create_dataset("eval_behavior", data=["a"])), "is not a plain array"),
        (lambda g: (g.pop("eval_behavior"), g.create_group("eval_behavior")), "is not a plain array"),
        (lambda g: g.pop("eval_spikes_heldout_forward"), "has no eval_spikes_heldout_forward"),
        (
            lambda g: g.__setitem__("eval_spikes_heldin_forward", g.pop("eval_spikes_heldin_forward")[:-1]),
            "eval_spikes_heldin_forward does not have the size",
        ),
        (lambda g: g["train_behavior"].__setitem__(..., 0.0), "train_behavior is not that of the recordings"),
    ],
)
def test_published_answers_that_do_not_fit_are_refused(archive, tmp_path, spoil, sentence):
    parts = archive[2]["mc_maze_small"]
    seen = {"train": parts["train"], "test": parts["test"]}
    arrays, _ = make_input(seen, DATASETS["mc_maze_small"], 5, "test")
    target, _ = make_target(parts, DATASETS["mc_maze_small"], 5, "test")
    with h5py.File(tmp_path / "answers.h5", "w") as file:
        group = file.create_group("mc_maze_small")
        for name, value in target.items():
            if not isinstance(value, list):
                group[name] = value
    place = (tmp_path / "answers.h5", "mc_maze_small", 5, arrays, "DANDI 000140/1")
    read_published(*place)
    with h5py.File(tmp_path / "answers.h5", "a") as file:
        spoil(file["mc_maze_small"])
    with pytest.raises(NlbflowError, match=sentence):
        read_published(*place)
