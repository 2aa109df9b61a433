"""The public board made from entries on a loopback host: what is right is ranked, what is not is told."""

import json

import h5py
import pandas as pd
import pytest
import yaml

from entry_files import Host, write_entry, write_rates
from workflow import ROOT, copy_code, planned, run

HOSTILE = "by <img src=x onerror=alert(1)> \\input{/etc/passwd} | =cmd()"


def config_of(base, **changes):
    small = yaml.safe_load((ROOT / "tests/helpers/small.yaml").read_text())
    small["run"] |= {"bin_ms": [5], "models": ["mean_rate", "smoothing"]} | changes
    small["entries"], small["entry_hosts"] = str(base / "entries"), ["127.0.0.1"]
    path = base / f"{len(changes)}.yaml"
    path.write_text(yaml.safe_dump(small))
    return path


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """(code, folder, config, host, output) of a board with a good entry, a model file and others that are not right."""
    base = tmp_path_factory.mktemp("entries")
    (base / "entries").mkdir()
    code, work = copy_code(base / "code"), base / "work"
    run(code, work, "results/scores.csv", config=config_of(base))
    served = base / "served"
    served.mkdir()
    for phase in ("val", "test"):
        made = work / f"results/simulated_maze/5ms/{phase}/smoothing/0/prediction.h5"
        for seed in range(3):
            write_rates(made, served / f"good_{phase}_{seed}.h5", "simulated_maze", seed)
    write_rates(made, served / "elsewhere.h5", "mc_maze")
    with h5py.File(served / "links.h5", "w") as file:
        file["simulated_maze"] = h5py.ExternalLink("/etc/passwd", "x")
    host = Host(served)
    host.moved["/moved.h5"] = f"http://localhost:{host.port}/good_val_1.h5"
    good = {phase: [host.file(f"good_{phase}_{seed}.h5") for seed in range(3)] for phase in ("val", "test")}
    entries = base / "entries"
    write_entry(entries, "good", files=good, hyperparameters=HOSTILE)
    of_other = host.file("good_val_0.h5", sha256="0" * 64)
    write_entry(entries, "wrong_sum", title="Wrong", files={"val": [of_other]})
    write_entry(entries, "hostile", title="Hostile", files={"val": [host.file("links.h5")]})
    write_entry(entries, "elsewhere", title="Elsewhere", files={"val": [host.file("elsewhere.h5")]})
    moved = host.file("good_val_1.h5", url=f"http://127.0.0.1:{host.port}/moved.h5")
    write_entry(entries, "moved", title="Moved", files={"val": [moved]})
    longer = host.file("good_val_2.h5", bytes=1000)
    write_entry(entries, "longer", title="Longer", files={"val": [longer]})
    within = host.file("good_val_2.h5", url=f"http://localhost:{host.port}/good_val_2.h5")
    write_entry(entries, "within", title="Within", files={"val": [within]})
    write_entry(entries, "formula", title="=1+1", files=good)
    folder = write_entry(entries, "theirs", title="Model file", model="theirs.py")
    (folder / "theirs.py").write_text((ROOT / "scripts/models/mean_rate.py").read_text())
    config = config_of(base, entries=["all"])
    yield code, work, config, host, run(code, work, "entries", "--keep-going", config=config, fails=True)
    host.close()


def test_what_is_right_is_ranked_with_its_grade_of_evidence(board):
    _, work, *_ = board
    scores = pd.read_csv(work / "results/scores.csv", keep_default_na=False)
    assert {*scores["model"]} == {"null", "mean_rate", "smoothing", "good", "theirs"}
    seeds = scores.query("model == 'good' and metric == 'co-bps'").groupby("phase")["seed"].agg(list)
    assert seeds.to_dict() == {"val": [0, 1, 2], "test": [0, 1, 2]}
    table = pd.read_csv(work / "results/tables/simulated_maze_5ms_val.csv", keep_default_na=False).set_index("name")
    assert table.loc["good", "grade"] == "S" and table.loc["theirs", "grade"] == "R"
    assert table.loc["good", "source"] == "scored here, rates by Zoë O'Neill, J.-P. Serre, 2026-11-29"
    assert table.loc["smoothing", "grade"] == ""
    # each of its three seeds is a little worse than the rates that they were made from
    assert 0 < float(table.loc["smoothing", "co-bps"]) - float(table.loc["good", "co-bps"]) < 0.01


def test_what_is_not_right_is_told_and_harms_no_other(board):
    _, work, _, _, output = board
    table = pd.read_csv(work / "results/tables/simulated_maze_5ms_val.csv", keep_default_na=False).set_index("name")
    for name, told in {
        "wrong_sum": "came with the wrong checksum",
        "hostile": "is an external link, which could lead anywhere",
        "elsewhere": "group simulated_maze is missing; the file has 'mc_maze'",
        "moved": "127.0.0.1 redirects to another host, http://localhost",
        "longer": "has more than the 1,000 bytes",
        "within": "localhost is in this machine's own network",
        "formula": "key title is '=1+1'",
    }.items():
        assert told in table.loc[name, "co-bps missing"], name
        assert told in output or name == "formula"
    board_text = (work / "results/leaderboard.md").read_text()
    assert "came with the wrong checksum" in board_text and "key title is" in board_text


def test_a_strangers_words_stay_text(board):
    _, work, *_ = board
    page = (work / "results/leaderboard.html").read_text()
    assert "<img src=x" not in page and "\\u003cimg src=x onerror=alert(1)\\u003e" in page
    for table in (work / "results").rglob("*.csv"):
        cells = [cell for line in table.read_text().splitlines() for cell in line.split(",")]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]
    assert "input{/etc" not in "".join(path.read_text() for path in (work / "results/tables").glob("*.tex"))


def test_predictions_of_an_entry_carry_its_checksum_and_nothing_is_made_twice(board):
    code, work, config, host, _ = board
    facts = json.loads((work / "results/simulated_maze/5ms/val/good/2/scores.json").read_text())["facts"]
    assert facts["sha256"] == host.file("good_val_2.h5")["sha256"]
    again = planned(code, work, "entries", config=config)
    assert not [message for message in again if " good" in message and "Reading" in message]


def test_one_entry_is_tried_beside_its_neighbours(board, tmp_path):
    code, work, config, *_ = board
    said = run(code, work, "entry", "--config", "entry=good", config=config)
    assert "| 1 " in said and "good" in said and "reduced_rank" in said and "theirs" not in said
    assert "lacks the key" not in said
    told = run(code, work, "entry", "--config", "entry=formula", config=config, fails=True)
    assert "the entry formula cannot be taken: entry.yaml key title is '=1+1'" in told
    told = run(code, work, "entry", config=config_of(config.parent), fails=True)
    assert "names no entry to try" in told
