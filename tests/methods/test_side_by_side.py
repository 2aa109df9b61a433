"""Networks that are trained side by side, as one program, become what each is alone."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is an extra (pip install torch at the pin in pyproject.toml)")

from nlbflow.methods.networks import training
from nlbflow.methods.networks.draws import Dropout, side_by_side, uniform
from nlbflow.methods.networks.training import predict_side_by_side
from nlbflow.models.contract import tiny_input
from small_networks import NETWORKS, task

SEEDS = 0, 4


def together(name, work=None, **params):
    data = tiny_input()
    data.work = work
    return predict_side_by_side(lambda data, params, seed: task(name, seed, **params), data, params, SEEDS)


def compare(found, alone, within):
    """All arrays, histories and facts of predictions."""
    assert found.keys() == alone.keys()
    for key in found.keys() - {"facts", "history"}:
        np.testing.assert_allclose(found[key], alone[key], rtol=0, atol=within, err_msg=key)
    for key, column in alone["history"].items():
        np.testing.assert_allclose(found["history"][key], column, rtol=0, atol=within, err_msg=key)
    for key, fact in alone["facts"].items():
        assert found["facts"][key] == (fact if isinstance(fact, str | int) else pytest.approx(fact, abs=within)), key


@pytest.mark.parametrize("name", NETWORKS)
def test_each_becomes_what_it_is_alone(name):
    found = together(name)
    assert np.ptp([one["eval_rates_heldout"] for one in found], axis=0).max() > 1e-3
    for seed, one in zip(SEEDS, found, strict=True):
        compare(one, task(name, seed).predict(tiny_input()), 1e-5)


def test_they_end_at_epochs_of_their_own():
    """What one has drawn while it waited for the others has no part in its refit."""
    ended = [(one["facts"]["best_epoch"], one["facts"]["epochs"]) for one in together("mlp", learning_rate=0.1)]
    assert len(set(ended)) > 1
    for seed, one in zip(SEEDS, ended, strict=True):
        facts = task("mlp", seed, learning_rate=0.1).predict(tiny_input())["facts"]
        assert one == (facts["best_epoch"], facts["epochs"])


@pytest.mark.parametrize("at", [2, 6])
def test_a_killed_job_goes_on_to_the_same_bytes(at, tmp_path, monkeypatch):
    whole, calls, save = together("mlp"), [], training.save_checkpoint

    def dies(*arguments):
        save(*arguments)
        calls.append(1)
        if len(calls) == at:
            raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_checkpoint", dies)
        with pytest.raises(InterruptedError):
            together("mlp", tmp_path)
    epochs, fit = [], training._Run.fit_epoch
    monkeypatch.setattr(
        training._Run, "fit_epoch", lambda run, rows, epoch: epochs.append(epoch) or fit(run, rows, epoch)
    )
    for one, other in zip(together("mlp", tmp_path), whole, strict=True):
        compare(one, other, 0)
    assert len(epochs) == max(one["facts"]["epochs"] for one in whole) - at


def test_a_network_that_draws_by_itself_is_refused():
    made = task("gru")
    made.net.dropout = torch.nn.Dropout(0.5)
    with pytest.raises(RuntimeError, match="random operation"):
        predict_side_by_side(lambda *_: made, tiny_input(), {}, (0, 1))


def test_draws_are_those_of_each_generator():
    x, dropout = torch.randn(3, 4, 5), Dropout(0.4)
    generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    with side_by_side(generators):
        found = torch.func.vmap(lambda one: (dropout(one), uniform(one, 7)), randomness="error")(x)
    for member in range(3):
        torch.manual_seed(member)
        assert torch.equal(found[0][member], torch.nn.functional.dropout(x[member], 0.4))
        assert torch.equal(found[1][member], torch.rand(7))
