"""LFADS once more on all trials: whose hyperparameters, from which weights, and after a kill."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from nlbflow.methods.lfads import refit as refitting
from nlbflow.methods.lfads.population import EPOCHS, HYPERPARAMETERS, Schedule, stream
from nlbflow.methods.lfads.refit import lineage, refit
from nlbflow.methods.lfads.training import Training
from nlbflow.models.contract import load_model, run_model, tiny_input
from small_lfads import SIZES, population, trials

MODELS = Path(__file__).parents[2] / "scripts/models"


def row(generation: int, member: int, loss: float, parent: int) -> list:
    """Of a history; each hyperparameter tells generation and member."""
    return [generation, member, *[10.0 * generation + member] * len(HYPERPARAMETERS), loss, parent]


# the best of generation 3 is member 0, a copy of 2 after generation 2, which was a copy of 1 after generation 1
HISTORY = [
    row(1, 0, 0.5, 0), row(1, 1, 0.4, 1), row(1, 2, 0.6, 1),
    row(2, 0, 0.5, 2), row(2, 1, 0.4, 1), row(2, 2, 0.3, 2),
    row(3, 0, 0.1, 0), row(3, 1, 0.2, 0), row(3, 2, 0.3, 1),
    row(4, 0, 0.9, 0), row(4, 1, 0.9, 0), row(4, 2, 0.9, 0),
]  # fmt: skip


def test_the_course_is_that_of_the_ancestors():
    assert [(member, hyper[0]) for member, hyper in lineage(HISTORY, 3)] == [(1, 11.0), (2, 22.0), (0, 30.0)]
    assert [member for member, _ in lineage(HISTORY, 1)] == [1]


def test_the_new_member_follows_the_course_on_all_trials():
    trained = population([0, 1, 2])
    trained.best_generation = 3
    trained.history = [[*r[:2], *[h / 1000 for h in r[2:-2]], *r[-2:]] for r in HISTORY]
    kept = []
    told = Schedule(4, 2, 0.5), 2, [3], lambda each: kept.append(each[0].refitted["generation"])
    (found,) = refit([trained], SIZES, trials(), *told)

    expected = population([1])
    for generation, (member, value) in enumerate([(1, 0.011), (2, 0.022), (0, 0.030)]):
        expected.hyper[:] = value
        Training(expected, SIZES, trials(), Schedule(4, 2, 0.5), [stream(3, member, EPOCHS, generation)]).epochs(2)
    assert torch.equal(found, expected.average[0]) and kept == [1, 2, 3]
    assert expected.updates == 3 * 2 * len(trials().counts[0]) // 4


@pytest.mark.parametrize("name", ["lfads", "autolfads"])
def test_a_job_killed_while_it_refits_goes_on(name, tmp_path, monkeypatch):
    model = load_model(MODELS / f"{name}.py")
    params = {**model.DEFAULTS, **model.CHECK, "device": "cpu", "max_epochs": 6, "refit": True}

    def run(work, **changes):
        data = tiny_input()
        data.work = work
        arrays, facts = run_model(MODELS / f"{name}.py", name, data, params | changes, 0)
        return {**arrays.pop("history"), **arrays}, facts

    whole, facts = run(tmp_path / "whole")
    assert facts["best_generation"] >= 2
    calls = []

    def interrupted(*args, original=Training.epochs):
        calls.append(1)
        # three generations of two epochs each, validated after each, and one generation of the new member
        if len(calls) == 8:
            raise KeyboardInterrupt
        return original(*args)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Training, "epochs", interrupted)
        run(tmp_path / "killed")
    monkeypatch.setattr(refitting, "first_population", lambda *_: pytest.fail("it starts anew"))
    ended, _ = run(tmp_path / "killed")
    assert all(ended[key].tobytes() == array.tobytes() for key, array in whole.items())

    # not refitted, it has not learnt from the trials for validation, but is chosen likewise
    alone, same_facts = run(None, refit=False)
    assert same_facts == facts
    assert not np.array_equal(alone["eval_rates_heldout"], whole["eval_rates_heldout"])
