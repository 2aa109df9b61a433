"""Ensembles: which predictions take part, their mean, and what is refused."""

import json
import re

import numpy as np
import pytest

from nlbflow.errors import NlbflowError
from nlbflow.models.catalogue import read_declaration
from nlbflow.models.contract import FORWARD, LATENTS, REQUIRED, run_model, tiny_input
from nlbflow.models.ensembles import average, check_members, choose, cost
from nlbflow.running.files import read_arrays
from workflow import ROOT, planned, run

# what an ensemble is told by; figures and page are drawn elsewhere
TABLE = "results/scores.csv"


def facts(**scores):
    return {(name, 0): {"validation_co_bps": score} for name, score in scores.items()}


def rates(seed, names=REQUIRED + FORWARD):
    draw = np.random.default_rng(seed)
    return {name: draw.gamma(0.5, size=(3, 4, 2)).astype(np.float32) for name in names}


def test_the_highest_validation_scores_are_chosen():
    known = facts(a=0.1, b=float("nan"), c=0.3, d=0.2)
    assert choose(known, 2) == [("c", 0), ("d", 0)]
    assert choose(known, 4)[-1] == ("b", 0)
    assert choose(known, 9) == choose(known, 4) and choose(known, None) == [*known]
    assert choose(facts(b=0.5, a=0.5, c=0.5), 2) == [("a", 0), ("b", 0)]  # a tie is no matter of the order of listing


def test_what_has_no_validation_score_cannot_be_chosen_by_it():
    known = {**facts(a=0.1), ("gpfa", 0): {"parameters": 3}}
    with pytest.raises(NlbflowError, match="gpfa has no validation_co_bps"):
        choose(known, 1)
    assert len(choose(known, None)) == 2


def test_means():
    three = [rates(seed) for seed in range(3)]
    for name in REQUIRED + FORWARD:
        stacked = np.stack([one[name] for one in three]).astype(np.float64)
        np.testing.assert_allclose(average(iter(three), "linear")[name], stacked.mean(axis=0), rtol=1e-12)
        geometric = stacked.prod(axis=0) ** (1 / 3)
        np.testing.assert_allclose(average(iter(three), "log")[name], geometric, rtol=1e-6)
    np.testing.assert_allclose(average([three[0]], "log")["eval_rates_heldout"], three[0]["eval_rates_heldout"])


def test_a_rate_of_zero_leaves_the_logarithmic_mean_finite():
    zero = {name: np.zeros((1, 1, 1)) for name in REQUIRED}
    one = {name: np.ones((1, 1, 1)) for name in REQUIRED}
    np.testing.assert_allclose(average([zero, one], "log")["eval_rates_heldout"], 1e-9**0.5)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_forward_rates_only_where_all_have_them(order):
    both = [rates(0), rates(1, REQUIRED)]
    assert average([both[i] for i in order], "log").keys() == set(REQUIRED)


def test_an_ensemble_costs_what_its_members_cost():
    gru = {"seconds": 60.5, "peak_mb": 900.0, "device": "cpu", "date": "then"}
    lfads = {"seconds": 600.0, "peak_mb": 80.0, "device": "H100", "date": "later"}
    own = {"seconds": 0.5, "peak_mb": 100.0, "device": "cpu", "date": "now"}
    assert cost(own, [gru, lfads]) == {"seconds": 661.0, "peak_mb": 900.0, "device": "H100, cpu", "date": "now"}
    # of somebody's file it is not known
    assert cost(own, [gru, {"date": "then"}]) == {"date": "now"}


@pytest.mark.parametrize("model", ["gru", "lmuformer", "mlp", "mom", "ndt", "lfads", "autolfads"])
def test_validation_scores_are_of_the_same_trials_and_all_of_their_input(model):
    """What a training tells is what a prediction of every fifth trial gives, so that models can be compared by it."""
    pytest.importorskip("torch")
    path = ROOT / f"scripts/models/{model}.py"
    declared = read_declaration(path)
    # a network that is fitted once more to all trials is scored before
    params = declared["DEFAULTS"] | declared["CHECK"] | {"device": "cpu"}
    params |= {"refit": False} if "refit" in params else {}
    data = tiny_input()
    counts = data.train_spikes_heldout[::5]
    data.eval_spikes_heldin = data.train_spikes_heldin[::5]
    predicted, told = run_model(path, model, data, params, 0)
    rates, null = predicted["eval_rates_heldout"], counts.mean(axis=(0, 1), keepdims=True)
    gain = (counts * np.log(rates / null) - rates + null).sum(dtype=np.float64)
    assert told["validation_co_bps"] == pytest.approx(gain / counts.sum() / np.log(2), abs=1e-6)


def test_circles_and_strangers_are_refused():
    def ensemble(*members):
        return {"ensemble": {"members": {member: [0] for member in members}, "average": "log"}}

    models = {"a": ensemble("b", "gru"), "b": ensemble("c"), "c": ensemble("a"), "gru": {"file": "gru.py"}}
    with pytest.raises(NlbflowError, match="a > b > c > a"):
        check_members("a", models)
    with pytest.raises(NlbflowError, match="'grux'"):
        check_members("d", {**models, "d": ensemble("gru", "grux")})
    # twice on different ways is no circle
    check_members("top", {**models, "c": ensemble("gru"), "top": ensemble("b", "a")})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensembles")
    stanza = {"members": {"smoothing": [0], "wide": [0]}, "average": "log"}
    config = {
        "run": {"models": ["smoothing", "together", "nested"], "phases": ["val"], "seeds": [0]},
        "models": {
            "wide": {"file": "smoothing.py", "params": {"kernel_sd_ms": 100}},
            "together": {"ensemble": stanza},
            "nested": {"ensemble": {"members": {"together": [0], "smoothing": [0]}, "average": "linear"}},
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    configs = [str(ROOT / "tests/helpers/small.yaml"), str(folder / "config.json")]
    run(ROOT, folder, TABLE, "--configfile", *configs, config=None)
    return folder, configs


def test_an_ensemble_in_the_workflow(folder):
    """Members that are not selected are run for it; an ensemble of an ensemble is one too."""
    folder, _ = folder
    place = next(folder.glob("results/*/*/val"))
    read = {m: read_arrays(place / m / "0/prediction.h5") for m in ("smoothing", "wide", "together", "nested")}
    arrays, about = read["together"]
    assert not set(LATENTS) & arrays.keys() and about["kind"] == "competitor"
    assert about["facts"]["members"] == "smoothing 0, wide 0"
    assert about["facts"]["parameters"] == sum(read[m][1]["facts"]["parameters"] for m in ("smoothing", "wide"))
    two = [read[m][0]["eval_rates_heldout"].astype(np.float64) for m in ("smoothing", "wide")]
    np.testing.assert_allclose(arrays["eval_rates_heldout"], np.sqrt(two[0] * two[1]), rtol=1e-5)
    nested = read["nested"][0]["eval_rates_heldout"]
    np.testing.assert_allclose(nested, (arrays["eval_rates_heldout"] + two[0]) / 2, rtol=1e-5)
    made = {model: about["provenance"] for model, (_, about) in read.items()}
    assert made["together"]["seconds"] >= made["smoothing"]["seconds"] + made["wide"]["seconds"]
    table = (folder / TABLE).read_text()
    assert ",together,0,co-bps," in table and ",wide," not in table


def test_a_changed_member_makes_the_ensemble_anew(folder):
    folder, configs = folder
    assert not planned(ROOT, folder, TABLE, "--configfile", *configs, config=None)
    (folder / "wider.json").write_text(json.dumps({"models": {"wide": {"params": {"kernel_sd_ms": 120}}}}))
    jobs = planned(ROOT, folder, TABLE, "--configfile", *configs, str(folder / "wider.json"), config=None)
    started = {job.split(",")[0].split(" on ")[0] for job in jobs}
    assert {"Training wide", "Averaging the ensemble together", "Averaging the ensemble nested"} <= started
    assert "Training smoothing" not in started


@pytest.mark.parametrize(
    "stanza, sentence",
    [
        ({"members": {"true_rates": [0]}, "average": "log"}, "members.true_rates: an oracle has seen the answers"),
        ({"members": {"smoothing": [0, 1]}, "average": "log"}, r"expected \[0\]"),
        ({"members": {"theirs": [0]}, "average": "log", "top": 1}, "a submission is not trained"),
        ({"members": {"smothing": [0]}, "average": "log"}, "names the model 'smothing'"),
        ({"members": {"mine": [0]}, "average": "log"}, "mine > mine"),
        ({"members": {}, "average": "log"}, "members"),
        ({"members": {"smoothing": [0]}, "average": "median"}, "average is 'median'"),
        ({"members": {"smoothing": [0]}, "average": "log", "best": 3}, "unknown key 'best'"),
    ],
)
def test_faults_are_told_before_anything_runs(tmp_path, stanza, sentence):
    models = {"mine": {"ensemble": stanza}, "theirs": {"prediction": "theirs.h5"}}
    config = {"run": {"models": ["mine"]}, "models": models}
    (tmp_path / "config.json").write_text(json.dumps(config))
    output = run(ROOT, tmp_path, "-n", "--configfile", str(tmp_path / "config.json"), config=None, fails=True)
    assert re.search(sentence, output), output
    assert "Traceback" not in output
