"""LFADS with several seeds side by side: each becomes what it is alone, and ends where it would."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from nlbflow.methods.lfads.joint import Joint
from nlbflow.methods.lfads.population import MEMBERS
from nlbflow.methods.lfads.training import Training
from nlbflow.models.contract import load_model, run_seeds, tiny_input
from small_lfads import population

MODELS = Path(__file__).parents[2] / "scripts/models"
SEEDS = [0, 1, 5]


def run(name: str, seeds: list[int], work=None, **changes) -> list[tuple[dict, dict]]:
    """Arrays, history among them, and facts of each seed; it ends early, and by itself."""
    model, data = load_model(MODELS / f"{name}.py"), tiny_input()
    data.work = work
    params = {**model.DEFAULTS, **model.CHECK, "device": "cpu", "max_epochs": 40, "patience": 2, **changes}
    found = run_seeds(MODELS / f"{name}.py", name, data, params, seeds)
    return [({**arrays.pop("history"), **arrays}, facts) for arrays, facts in found]


def compare(found: list, expected: list) -> None:
    for (arrays, facts), (others, told) in zip(found, expected, strict=True):
        assert facts == told and arrays.keys() == others.keys()
        for key, array in arrays.items():
            np.testing.assert_allclose(array, others[key], rtol=0, atol=1e-5, err_msg=key)


@pytest.mark.parametrize(("name", "changes"), [("lfads", {}), ("lfads", {"refit": False}), ("autolfads", {})])
def test_each_becomes_what_it_is_alone(name, changes):
    changes |= {"learning_rate": 0.05} if name == "lfads" else {}
    together = run(name, SEEDS, **changes)
    compare(together, [run(name, [seed], **changes)[0] for seed in SEEDS])
    ends = [facts["generations"] for _, facts in together]
    assert len(set(ends)) > 1 and min(ends) < 20, ends
    assert len({facts["best_generation"] for _, facts in together}) > 1


@pytest.mark.parametrize("at", [9, "refit"])
def test_a_killed_job_goes_on_to_the_same_bytes(at, tmp_path, monkeypatch):
    whole, calls, original = run("lfads", SEEDS, tmp_path / "whole", learning_rate=0.05), [], Training.epochs
    longest = max(facts["generations"] for _, facts in whole)

    def interrupted(*given):
        calls.append(1)
        # a generation is two portions of one epoch each
        if len(calls) == (at if at != "refit" else 2 * longest + 2):
            raise KeyboardInterrupt
        return original(*given)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Training, "epochs", interrupted)
        run("lfads", SEEDS, tmp_path / "killed", learning_rate=0.05)
    done = len(calls)
    calls.clear()
    monkeypatch.setattr(Training, "epochs", lambda *given: calls.append(1) or original(*given))
    found = run("lfads", SEEDS, tmp_path / "killed", learning_rate=0.05)
    for (arrays, facts), (others, told) in zip(found, whole, strict=True):
        assert facts == told and all(arrays[key].tobytes() == other.tobytes() for key, other in others.items())
    assert 0 < len(calls) < 2 * longest + longest - done + 4
    for seed in SEEDS:
        histories = [tmp_path / place / f"seed_{seed}/population.csv" for place in ("whole", "killed")]
        assert histories[0].read_bytes() == histories[1].read_bytes()


def test_a_joint_population_is_those_that_it_is_of():
    each = [population([0, 1]), population([4])]
    joint = Joint(each)
    assert len(joint.whole.weights) == 3
    joint.whole.weights[2] = 7.0
    each[0].average[1] = 5.0
    assert each[1].weights[0].eq(7).all() and joint.whole.average[1].eq(5).all()
    each[1].hyper = each[1].hyper * 2
    with joint.together() as whole:
        assert torch.equal(whole.hyper[2], each[1].hyper[0]) and torch.equal(whole.hyper[:2], each[0].hyper)
        whole.updates = 9
    assert [one.updates for one in each] == [9, 9]
    assert all(len(getattr(whole, name)) == 3 for name in MEMBERS)
