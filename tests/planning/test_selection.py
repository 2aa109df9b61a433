"""What a config selects: places, runs, what cannot be had and why."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from nlbflow.archive.pins import read_pins
from nlbflow.errors import NlbflowError
from nlbflow.planning.drawings import FIGURE_TITLES, captions, figure_files, placed_figures
from nlbflow.planning.model_stanzas import ModelStanzas
from nlbflow.planning.selection import NULL, Selection
from nlbflow.planning.unfinished import Unfinished
from workflow import ROOT

PINS = read_pins(ROOT / "resources/datasets.tsv")
CONFIG = {
    **yaml.safe_load((ROOT / "resources/datasets.yaml").read_text()),
    **yaml.safe_load((ROOT / "config.yaml").read_text()),
}


def selection(models=("mean_rate",), datasets=("simulated_maze",), bins=(5,), phases=("val",), seeds=(0,), **stanzas):
    config = copy.deepcopy(CONFIG)
    config["run"] = {
        "models": list(models), "datasets": list(datasets), "bin_ms": list(bins), "phases": list(phases),
        "seeds": list(seeds),
    }  # fmt: skip
    config["models"] |= stanzas
    return Selection(config, PINS, ModelStanzas(config, ROOT), Unfinished())


def test_runs_are_places_by_models_by_seeds():
    chosen = selection(("mean_rate", "gru"), bins=(5, 20), phases=("val", "test"), seeds=(3, 4))
    assert len(chosen.places) == 4
    at = [run[3:] for run in chosen.runs_at("simulated_maze", 20, "test")]
    # one that draws nothing is run once
    assert at == [("mean_rate", 0), ("gru", 3), ("gru", 4)]
    assert len(chosen.runs()) == 12
    assert [run for run in chosen.scored() if run[3] == NULL] == [(*place, NULL, 0) for place in chosen.places]


def test_what_a_dataset_lacks_is_told_once():
    chosen = selection(("mean_rate", "true_rates", "condition_psth"), datasets=("mc_rtt",))
    assert chosen.unavailable("mc_rtt", 5, "val") == ""
    told = {row[3]: row[4] for row in chosen.absences()}
    assert told["true_rates"] == "true rates are known for simulated data only"
    assert "names no conditions" in told["condition_psth"]
    assert [run[3] for run in chosen.runs()] == ["mean_rate"]


def test_what_no_model_can_have_is_told_of_all_models():
    chosen = selection(("mean_rate", "condition_psth"), datasets=("mc_maze_small",), bins=(10,), phases=("test",))
    # of a place without answers one row, and predictions all the same
    assert [row[3] for row in chosen.absences()] == ["all models"]
    assert [run[3] for run in chosen.runs()] == ["mean_rate"] and chosen.scored() == []


def test_a_model_may_be_for_some_datasets_only():
    mine = {"file": "smoothing.py", "datasets": ["mc_rtt"]}
    chosen = selection(("mine",), datasets=("simulated_maze", "mc_rtt"), mine=mine)
    assert [run[0] for run in chosen.runs()] == ["mc_rtt"]
    assert "models.mine.datasets" in chosen.unavailable("simulated_maze", 5, "val", "mine")


def test_ensembles_lack_what_their_members_lack():
    both = {"ensemble": {"members": {"gru": [0], "mine": [0]}, "average": "log"}}
    mine = {"file": "smoothing.py", "datasets": ["mc_rtt"]}
    chosen = selection(("both",), both=both, mine=mine)
    assert chosen.unavailable("simulated_maze", 5, "val", "both").startswith("its member mine: not among")


def test_kinds_of_models():
    theirs = {"prediction": "rates_{phase}.h5"}
    both = {"ensemble": {"members": {"gru": [0, 1]}, "average": "log"}}
    models = selection(theirs=theirs, both=both).models
    kinds = {name: models.kind(name) for name in ("theirs", "both", "true_rates", "gru", "smoothing_tuned")}
    assert kinds == {
        "theirs": "submission", "both": "ensemble", "true_rates": "oracle", "gru": "trained",
        "smoothing_tuned": "trained",
    }  # fmt: skip
    assert models.submission_file("theirs", "test") == "rates_test.h5"
    assert models.ensemble_runs("both") == [("gru", 0), ("gru", 1)]


@pytest.mark.parametrize(
    ("members", "more", "told"),
    [
        ({"true_rates": [0]}, {}, "an oracle has seen the answers"),
        ({"smoothing": [0, 1]}, {}, "a deterministic model runs once: expected [0]"),
        ({"theirs": [0]}, {"top": 1}, "a submission is not trained"),
    ],
)
def test_members_that_cannot_be(members, more, told):
    both = {"ensemble": {"members": members, "average": "log", **more}}
    chosen = selection(("both",), both=both, theirs={"prediction": "rates.h5"})
    with pytest.raises(NlbflowError, match=r"models\.both\.ensemble\.members") as error:
        chosen.models.ensemble_runs("both")
    assert told in str(error.value)


def test_faults_are_told_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NlbflowError, match=r"models.theirs.prediction names none_val.h5 for phase val"):
        selection(("theirs",), theirs={"prediction": "none_{phase}.h5"}).check()
    with pytest.raises(NlbflowError, match=r"models.mine.env names .*nowhere.yaml, which does not exist"):
        selection(("mine",), mine={"file": "smoothing.py", "env": "nowhere.yaml"}).check()
    with pytest.raises(NlbflowError, match=r"models.mine.params: the model has no parameter 'width'"):
        selection(("mine",), mine={"file": "smoothing.py", "params": {"width": 1}}).check()
    selection().check()


def test_a_file_of_the_users_that_is_gone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = copy.deepcopy(CONFIG)
    stanza = {
        **config["datasets"]["simulated_maze"],
        "source": "files",
        "version": "1",
        "files": {"whole": {"path": "a.nwb"}},
    }
    config["datasets"]["mine"] = stanza
    config["run"] = {**config["run"], "datasets": ["mine"]}
    chosen = Selection(config, PINS, ModelStanzas(config, ROOT), Unfinished())
    assert chosen.user_files() == [("mine", "whole")] and chosen.user_file("mine", "whole") == "a.nwb"
    with pytest.raises(NlbflowError, match=r"datasets.mine.files.whole names a.nwb, which does not exist"):
        chosen.check()
    Path("a.nwb").touch()
    chosen.check()


def test_models_are_described_by_their_files():
    both = {"ensemble": {"members": {"gru": [0]}, "average": "log"}}
    chosen = selection(("smoothing_tuned", "both", "theirs"), both=both, theirs={"prediction": "rates.h5"})
    said = chosen.descriptions.of_models()
    # of an ensemble, which has no file, what it averages
    assert said.keys() == {"smoothing_tuned", "both"} and said["smoothing_tuned"]["card"][0][0] == "Assumes"
    about = "An ensemble: the exponential of the mean log rates of gru (seed 0)."
    assert said["both"] == {"about": about, "card": []}


def test_datasets_are_introduced_by_their_stanzas():
    told = selection(datasets=("mc_rtt", "simulated_maze")).descriptions.introductions()
    assert list(told) == ["mc_rtt", "simulated_maze"]
    assert dict(told["mc_rtt"]["facts"])["subject"] == "monkey Indy" and not told["simulated_maze"]["links"]


def test_what_introduces_a_dataset_does_not_decide_how_it_is_cut():
    cutting = re.search(r"^CUTTING = .*?^STYLE", (ROOT / "rules/stamps.smk").read_text(), re.M | re.S)[0]
    keys = set(re.findall(r'^ {8}"(\w+)",$', cutting, re.M))
    assert {"align", "window_ms", "behavior"} <= keys and not keys & {"task", "area", "subject", "links", "title"}


def test_every_figure_has_a_caption():
    chosen = selection(("mean_rate", "gru", "slds"), datasets=("simulated_maze", "mc_maze_small", "mc_maze_medium"))
    told = captions(chosen, ROOT / "report")
    names = {name for kind in told for name, _ in kind["captions"]}
    assert {Path(file).stem for file in figure_files(chosen)} == names
    assert {kind for kind, _ in placed_figures(chosen)} == set(FIGURE_TITLES) - {"pipeline", "speed"}


def test_learning_curves_are_figures_only_where_a_network_is_trained():
    gru = {"file": "gru.py", "datasets": ["simulated_maze"]}
    chosen = selection(("mean_rate", "mine"), datasets=("simulated_maze", "mc_maze_small"), mine=gru)
    assert [place[0] for kind, place in placed_figures(chosen) if kind == "learning"] == ["simulated_maze"]
    classical = selection(("mean_rate", "smoothing"))
    assert not any("learning" in file for file in figure_files(classical))
    assert "Learning curves" not in [kind["title"] for kind in captions(classical, ROOT / "report")]


def test_kinds_of_rows_are_known_before_anything_runs():
    chosen = selection(models=["mean_rate", "smoothing", "true_rates"])
    assert chosen.descriptions.kinds() == {"mean_rate": "control", "smoothing": "competitor", "true_rates": "oracle"}


@pytest.mark.parametrize(
    ("seeds", "sizes"),
    [
        (0, [1]),
        (1, [2]),
        (5, [3, 3]),
        (24, [5] * 5),
        (60, [8] * 7 + [5]),
        (300, [26] * 11 + [15]),
        (500, [36] * 13 + [33]),
    ],
)
def test_a_place_has_as_many_bundles_as_a_bundle_has_runs_or_fewer(seeds, sizes):
    chosen = selection(("gru",) if seeds else (), seeds=range(seeds))
    bundles = chosen.bundles("simulated_maze", 5, "val")
    assert [len(bundle) for bundle in bundles] == sizes
    runs = [run for bundle in bundles for run in bundle]
    assert runs == chosen.scored() and runs[0][3] == NULL
    assert len(chosen.scored_files()) == len(sizes)
