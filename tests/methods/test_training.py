"""The training loop: best weights are kept, a killed job goes on to the same result, every draw comes from the seed."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is an extra (pip install torch at the pin in pyproject.toml)")

from nlbflow.errors import NlbflowError
from nlbflow.methods.networks.checkpoints import HISTORY
from nlbflow.methods.networks.device import prepare
from nlbflow.methods.networks.training import CURVES, Settings, learning_rate, train, validation_trials
from nlbflow.running.work import CHECKPOINT

TRIALS, INPUTS = 40, 6
SETTINGS = {"epochs": 30, "batch": 8, "learning_rate": 0.01, "device": "cpu"}


@pytest.fixture
def trials():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(TRIALS, INPUTS)).astype(np.float32)
    y = x @ rng.normal(size=(INPUTS, 1)) + rng.normal(size=(TRIALS, 1))
    return {"x": torch.from_numpy(x), "y": torch.from_numpy(y.astype(np.float32))}


def network():
    return torch.nn.Sequential(
        torch.nn.Linear(INPUTS, 30), torch.nn.Tanh(), torch.nn.Dropout(0.2), torch.nn.Linear(30, 1)
    )


def squares(net, batch, epoch=None):
    return ((net(batch["x"]) - batch["y"]) ** 2).mean()


def score(net, batch):
    return {"validation_co_bps": -squares(net, batch).item()}


def fit(trials, work=None, loss=squares, seed=0, **settings):
    prepare(seed, "cpu")
    net = network()
    facts, history = train(net, trials, loss, squares, score, Settings(**{**SETTINGS, **settings}), work)
    # as lists, and without NaN, they can be compared
    return net, {**facts, "history": {name: np.nan_to_num(c, nan=-1).tolist() for name, c in history.items()}}


def weights(net):
    return b"".join(tensor.numpy().tobytes() for tensor in net.state_dict().values())


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_the_best_weights_are_the_ones_kept(trials, tmp_path, averaging):
    net, facts = fit(trials, tmp_path, epochs=200, averaging=averaging)
    lines = [json.loads(line) for line in (tmp_path / HISTORY).read_text().splitlines()]
    losses = [line["validation_loss"] for line in lines]
    assert [line["epoch"] for line in lines] == [*range(1, 201)]
    assert facts["best_epoch"] == 1 + int(np.argmin(losses)) < 200  # it overfits, so the last are not the best
    assert facts["validation_loss"] == min(losses) < losses[-1]
    validation = {name: tensor[validation_trials(TRIALS, 5)[1]] for name, tensor in trials.items()}
    assert squares(net, validation).item() == facts["validation_loss"] == -facts["validation_co_bps"]
    assert all({"training_loss", "learning_rate", "seconds", "memory_mb"} <= line.keys() for line in lines)
    assert facts["history"] == {name: [line[name] for line in lines] for name in CURVES}


def test_validation_trials_are_not_fitted_to(trials):
    fitted, validated = validation_trials(TRIALS, 5)
    assert validated.tolist() == [0, 5, 10, 15, 20, 25, 30, 35]
    assert sorted(fitted.tolist() + validated.tolist()) == [*range(TRIALS)]
    trials["row"] = torch.arange(TRIALS)
    seen = set()

    def spy(net, batch, epoch):
        seen.update(batch["row"].tolist())
        return squares(net, batch)

    fit(trials, loss=spy)
    assert seen == set(fitted.tolist())
    for count, every in ((1, 5), (40, 1)):
        with pytest.raises(NlbflowError, match="validation"):
            validation_trials(count, every)


@pytest.mark.parametrize("averaging", [0.0, 0.9])
@pytest.mark.parametrize("at", [4, 30, 119, 130])
def test_a_killed_job_goes_on_to_the_same_bytes(trials, tmp_path, at, averaging):
    """Ended in an update, 4 to an epoch: in the first 30 epochs, or in the refit that follows."""
    settings = {"checkpoint_minutes": 0.0, "averaging": averaging, "epochs": 30, "refit": True}
    epochs = []

    def dies(net, batch, epoch):
        epochs.append(epoch)
        if len(epochs) > at:
            raise InterruptedError
        return squares(net, batch)

    with pytest.raises(InterruptedError):
        fit(trials, tmp_path, dies, **settings)
    again = []

    def counts(net, batch, epoch):
        again.append(epoch)
        return squares(net, batch)

    net, facts = fit(trials, tmp_path, counts, **settings)
    whole, whole_facts = fit(trials, **settings)
    # it began with the epoch that was broken off, and did nothing twice that came before
    assert again[0] == epochs[-1] and len(again) <= 30 * 4 + facts["best_epoch"] * 5 - at + 4
    assert weights(net) == weights(whole) and facts == whole_facts
    lines = [json.loads(line) for line in (tmp_path / HISTORY).read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [*range(1, 31), *range(1, facts["best_epoch"] + 1)]


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_a_refit_starts_anew_with_all_trials(trials, averaging):
    """It is what training without validation gives, for as many epochs as were best."""
    rows = []

    def spy(net, batch, epoch):
        rows.append(batch["x"].clone())
        return squares(net, batch)

    net, facts = fit(trials, loss=spy, epochs=100, refit=True, averaging=averaging)
    chosen, chosen_facts = fit(trials, epochs=100, averaging=averaging)
    best = facts["best_epoch"]
    assert best == chosen_facts["best_epoch"] < 100 and facts["epochs"] == 100 + best
    assert facts["validation_co_bps"] == chosen_facts["validation_co_bps"]
    assert weights(net) != weights(chosen)
    # 40 trials in batches of 8, each pass a permutation of all
    passes = torch.cat(rows[-5 * best :]).reshape(best, TRIALS, INPUTS)
    for one in passes:
        assert sorted(one[:, 0].tolist()) == sorted(trials["x"][:, 0].tolist())
    # both stages begin with the same weights
    begun = []

    def first(net, batch, epoch):
        begun.append((epoch, weights(net)))
        return squares(net, batch)

    fit(trials, loss=first, epochs=100, refit=True, averaging=averaging)
    prepare(0, "cpu")
    start = weights(network())
    assert [epoch for epoch, seen in begun if seen == start] == [0, 0]


KILLED = """
import sys
from pathlib import Path
from test_training import TRIALS, INPUTS, fit, squares, weights
import torch

def slow(net, batch, epoch):
    print(epoch, flush=True)
    return squares(net, batch)

torch.manual_seed(5)
trials = {"x": torch.randn(TRIALS, INPUTS), "y": torch.randn(TRIALS, 1)}
net, _ = fit(trials, Path(sys.argv[1]), slow, epochs=400, refit=True, checkpoint_minutes=0.0)
print(weights(net).hex())
"""


def test_sigkill_at_any_moment(tmp_path):
    """Processes killed while they train or write a checkpoint, each one's work taken up by the next."""
    tests = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parents[1] / "scripts")])}

    def start(folder):
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-c", KILLED, str(folder)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    for lines in (150, 400, 777):
        with start(tmp_path / "killed") as process:
            for _ in range(lines):
                process.stdout.readline()
            process.kill()
            process.stdout.read()
        assert process.returncode == -signal.SIGKILL
    ends = []
    for folder in ("killed", "whole"):
        with start(tmp_path / folder) as process:
            ends.append(process.stdout.read().splitlines())
    assert len(ends[0]) < len(ends[1]) - 400 and ends[0][-1] == ends[1][-1]


def test_a_checkpoint_that_does_not_fit_is_ignored(trials, tmp_path, caplog):
    caplog.set_level("INFO", "nlbflow")
    whole, _ = fit(trials, learning_rate=0.02)
    fit(trials, tmp_path, learning_rate=0.01)
    net, _ = fit(trials, tmp_path, learning_rate=0.02)
    assert weights(net) == weights(whole) and "other settings" in caplog.text
    (tmp_path / CHECKPOINT).write_bytes((tmp_path / CHECKPOINT).read_bytes()[:1000])
    net, _ = fit(trials, tmp_path, learning_rate=0.02)
    assert weights(net) == weights(whole) and "cannot be read" in caplog.text
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_the_seed_decides(trials):
    assert weights(fit(trials)[0]) == weights(fit(trials)[0]) != weights(fit(trials, seed=1)[0])


def test_validation_changes_no_draw(trials):
    """The random numbers of training do not depend on how often it is validated."""
    for_often, for_seldom = [], []
    for seen, every in ((for_often, 1), (for_seldom, 3)):

        def spy(net, batch, epoch, seen=seen):
            seen.append(batch["x"].sum().item())
            return squares(net, batch)

        fit(trials, loss=spy, validate_every=every)
    assert for_often == for_seldom


def test_patience_ends_training(trials):
    _, facts = fit(trials, epochs=2000, patience=20)
    assert facts["epochs"] == facts["best_epoch"] + 20 < 2000


def test_a_loss_that_is_not_finite_ends_training_with_the_best_weights(trials, caplog):
    caplog.set_level("INFO", "nlbflow")

    def explodes(net, batch, epoch):
        return squares(net, batch) * (float("inf") if epoch == 12 else 1)

    net, facts = fit(trials, loss=explodes)
    assert facts["epochs"] == 12 and "lower learning_rate" in caplog.text
    validation = {name: tensor[validation_trials(TRIALS, 5)[1]] for name, tensor in trials.items()}
    assert squares(net, validation).item() == facts["validation_loss"] < 100


def test_gradients_are_clipped(trials):
    """Adam's second moment shows it: after one update it is (1 - 0.999) times the clipped gradient's square."""
    prepare(0, "cpu")
    net, norms = network(), []
    optimizers = []
    real = torch.optim.AdamW

    def keep(*args, **kwargs):
        optimizers.append(real(*args, **kwargs))
        return optimizers[-1]

    torch.optim.AdamW = keep
    try:
        settings = Settings(**{**SETTINGS, "epochs": 1, "batch": TRIALS, "clip_norm": 0.01})
        train(net, trials, squares, squares, score, settings)
    finally:
        torch.optim.AdamW = real
    for state in optimizers[0].state.values():
        norms.append(state["exp_avg_sq"].sum().item() / 0.001)
    assert math.sqrt(sum(norms)) == pytest.approx(0.01, rel=1e-3)


def test_learning_rate_climbs_and_falls():
    settings = Settings(epochs=110, batch=1, learning_rate=2.0, warmup_epochs=10)
    rates = [learning_rate(epoch, settings) for epoch in range(110)]
    np.testing.assert_allclose(rates[:10], 0.2 * np.arange(1, 11))
    # half-way down the cosine, three quarters of the way
    np.testing.assert_allclose([rates[10], rates[60], rates[85]], [2, 1, 1 + math.cos(0.75 * math.pi)])
    assert np.all(np.diff(rates[10:]) < 0)
    plain = Settings(epochs=110, batch=1, learning_rate=2.0, warmup_epochs=10, schedule="constant")
    assert {learning_rate(epoch, plain) for epoch in range(9, 110)} == {2.0}


def test_settings_are_checked():
    good = {"epochs": 5, "batch": 2, "learning_rate": 0.1, "width": 3}
    assert Settings.of(good) == Settings(5, 2, 0.1)
    for name, value in (("epochs", 0), ("device", "tpu"), ("precision", "half"), ("schedule", "steps")):
        with pytest.raises(NlbflowError, match=name):
            Settings.of({**good, name: value})
    if not torch.cuda.is_available():
        with pytest.raises(NlbflowError, match="no GPU"):
            prepare(0, "cuda")


def test_bfloat16_trains(trials):
    _, facts = fit(trials, precision="bfloat16", epochs=60)
    _, reference = fit(trials, epochs=60)
    assert facts["validation_loss"] == pytest.approx(reference["validation_loss"], rel=0.1)
    assert facts["validation_loss"] != reference["validation_loss"]
