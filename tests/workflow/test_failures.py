"""One failure does not hide the rest: tables of what there is, what is said of it, and the run that goes on."""

import json

import pandas as pd
import pytest
import yaml

from faulty_model import MODEL
from workflow import ROOT, copy_code, planned, reproducible, run

NAN = 'rates["eval_rates_heldout"][1, 2, 3] = np.nan'
MOODY = MODEL.replace("SEEDED = False", "SEEDED = True")
FAILED = "model mine returned eval_rates_heldout, which has 1 value that is NaN"


def write_config(path, models: list[str], **stanzas):
    small = yaml.safe_load((ROOT / "tests/helpers/small.yaml").read_text())
    small["run"] |= {"bin_ms": [20], "phases": ["val"], "models": models, "seeds": [0, 1]}
    small["models"] = stanzas
    path.write_text(yaml.safe_dump(small))
    return path


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """(code, folder, config, model files, output) after a run with one model that fails and one that fails once."""
    base = tmp_path_factory.mktemp("failed")
    mine, moody = base / "mine.py", base / "moody.py"
    # not on the tiny data of the contract's check
    mine.write_text(MODEL.format(fault=f"if len(data.eval_spikes_heldin) == 6: {NAN}"))
    moody.write_text(MOODY.format(fault='if seed == 1 and len(data.eval_spikes_heldin) == 6: raise OSError("tired")'))
    config = write_config(
        base / "mixed.yaml", ["mean_rate", "mine", "moody"], mine={"file": str(mine)}, moody={"file": str(moody)}
    )
    code, work = copy_code(base / "code"), base / "work"
    return code, work, config, (mine, moody), run(code, work, config=config, fails=True)


def test_what_succeeded_has_its_rows_and_what_failed_its_reason(failed):
    _, work, *_ = failed
    board = (work / "results/leaderboard.md").read_text()
    assert "mean_rate" in board and FAILED in board
    assert "Note: moody, seed 1, failed: model moody raised OSError (moody.py, line 15): tired" in board
    scores = pd.read_csv(work / "results/scores.csv", keep_default_na=False)
    assert {*scores["model"]} == {"null", "mean_rate", "moody"} and {*scores.query("model == 'moody'")["seed"]} == {0}
    table = pd.read_csv(work / "results/tables/simulated_maze_20ms_val.csv", keep_default_na=False).set_index("name")
    assert table.loc["mine", "co-bps missing"].startswith(f"failed: {FAILED}")
    assert FAILED in (work / "results/leaderboard.html").read_text()


def test_the_last_lines_say_what_failed_and_what_to_do(failed):
    _, _, config, _, output = failed
    last = output[output.rindex("nlbflow: 2 jobs failed:") :]
    assert FAILED in last and "(log: logs/train/simulated_maze/20ms/val/mine/0.log)" in last
    assert "moody, seed 1" in last
    assert "What succeeded is shown in results/leaderboard.md and results/leaderboard.html." in last
    assert last.rstrip().endswith(f"--configfile {config}")


def test_a_run_goes_on_when_the_model_is_mended(failed, tmp_path_factory):
    code, work, config, (mine, moody), _ = failed
    jobs = planned(code, work, config=config)
    assert sum(jobs[message] for message in jobs if message.startswith("Training")) == 2
    mine.write_text(MODEL.format(fault=""))
    moody.write_text(MOODY.format(fault=""))
    output = run(code, work, config=config)
    assert "nlbflow: done in " in output and "shown in results/leaderboard.md" in output
    assert not (work / "results/unfinished.json").exists() and planned(code, work, config=config) == {}
    board = reproducible(work / "results/leaderboard.md")
    assert b"failed" not in board and b"mine" in board


def test_tables_of_another_config_are_moved_away(failed, tmp_path):
    code, work, *_ = failed
    origin = json.loads((work / "results/origin.json").read_text())
    assert origin["config"] == ["mixed.yaml"]
    (work / "results/report.html").write_text("a report")
    other = write_config(tmp_path / "other.yaml", ["mean_rate"])
    output = run(code, work, "results/scores.csv", config=other)
    old = work / "results/old" / origin["selection"]
    assert f"of mixed.yaml, selection {origin['selection']} were moved to results/old/{origin['selection']}" in output
    assert "mine" in (old / "leaderboard.md").read_text() and (old / "report.html").read_text() == "a report"
    assert (old / "figures").is_dir() and not (work / "results/leaderboard.md").exists()
    assert not [*(work / "results/figures").glob("*scores*")]
    assert "Made from mixed.yaml, selection" in (old / "leaderboard.md").read_text()
