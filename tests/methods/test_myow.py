"""MYOW: views, mining, the target network, and what is read from the embedding."""

import copy
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from nlbflow.errors import NlbflowError
from nlbflow.methods.boxes import box_weights, boxed_rates
from nlbflow.methods.glm import fit_poisson
from nlbflow.methods.networks import myow
from nlbflow.methods.networks.device import prepare
from nlbflow.methods.networks.myow import (
    MOMENTUM,
    NOISE,
    NOISY,
    PEPPER,
    PEPPERED,
    SPECKLED,
    Networks,
    Recipe,
    Scaled,
    augmented,
    distance,
    embed,
    follow,
    neighbours,
    refuse_few_neighbours,
    spread,
    train_encoder,
)  # fmt: skip
from nlbflow.methods.steps import Steps
from nlbflow.models.contract import check_model, load_model, tiny_input

MODEL = Path(__file__).parents[2] / "scripts/models/myow.py"
RECIPE = Recipe(8, 6, 3, 32, 0.001, 0.0, 2, 0.5, 3)


@pytest.fixture
def rates() -> np.ndarray:
    """(trials, steps, boxes, neurons) in spikes/s, of a slow drive."""
    rng = np.random.default_rng(0)
    phase = np.linspace(0, 3, 16) + rng.uniform(0, 3, (12, 1))
    drive = np.stack([np.sin(phase), np.cos(phase)], axis=2) @ rng.standard_normal((2, 10))
    return rng.poisson(3 * np.exp(0.5 * drive))[:, :, None] * 10.0


class TestBoxes:
    def test_boxes_lie_side_by_side_around_a_step(self):
        weights = box_weights(Steps(40, 2), 3, 4)
        assert weights.shape == (20, 3, 40) and np.allclose(weights.sum(axis=2), 1)
        where = [np.flatnonzero(row).tolist() for row in weights[10]]
        # the step has bins 20 and 21
        assert where == [[15, 16, 17, 18], [19, 20, 21, 22], [23, 24, 25, 26]]
        assert np.flatnonzero(weights[0, 0]).tolist() == [0, 1, 2, 3]

    def test_without_now_no_box_sees_the_step(self):
        steps = Steps(41, 4)
        weights = box_weights(steps, 5, 8, without_now=True)
        assert np.allclose(weights.sum(axis=2), 1)
        for step, (first, width) in enumerate(zip(steps.first, steps.width, strict=True)):
            assert not weights[step, :, first : first + width].any()

    def test_rates_are_in_spikes_per_second(self):
        rates = boxed_rates(np.full((2, 40, 3), 0.25), box_weights(Steps(40, 4), 5, 8), bin_ms=5)
        assert rates.shape == (2, 10, 5, 3) and np.allclose(rates, 50)


def test_the_shares_of_the_augmentations_are_those_of_the_paper():
    torch.manual_seed(0)
    rates = torch.full((20000, 20), 100.0)
    seen = augmented(rates, neurons=10)
    dropped = seen < 50
    assert dropped.float().mean().item() == pytest.approx(0.1, abs=0.003)
    # a neuron is dropped in all of its boxes
    assert torch.equal(dropped[:, :10], dropped[:, 10:])
    quiet = augmented(torch.zeros(20000, 20), neurons=10)
    assert quiet.mean().item() == pytest.approx(PEPPERED * SPECKLED * PEPPER, abs=0.01)
    speckled = (0.5 * 0.3) * PEPPER**2 - (0.5 * 0.3 * PEPPER) ** 2
    assert quiet.var().item() == pytest.approx(NOISY * NOISE**2 + speckled, rel=0.03)


def test_inputs_are_scaled_to_unit_deviation_and_silent_ones_are_zero():
    rates = torch.cat([5 + 3 * torch.randn(100, 2), torch.full((100, 1), 7.0)], dim=1)
    scaled = Scaled(rates)(rates)
    assert torch.allclose(scaled[:, :2].std(dim=0), torch.ones(2), atol=1e-5) and not scaled[:, 2].any()
    back = scaled[:, :2] / Scaled(rates).scale[:2] + rates[:, :2].mean(dim=0)
    assert torch.allclose(back, rates[:, :2], atol=1e-4)


def test_neighbours_are_of_other_trials_and_the_nearest():
    torch.manual_seed(1)
    online, target, trials = torch.randn(30, 5), torch.randn(30, 5), torch.arange(30) // 6
    found = neighbours(online, target, trials, 4)
    assert (trials[found] != trials[:, None]).all()
    for i in range(30):
        cosine = [
            -2.0 if trials[j] == trials[i] else torch.cosine_similarity(online[i], target[j], dim=0).item()
            for j in range(30)
        ]
        assert found[i].tolist() == np.argsort(cosine)[::-1][:4].tolist()
    assert torch.equal(found, neighbours(7 * online, 0.1 * target, trials, 4))
    with pytest.raises(NlbflowError, match="needs 25 neighbours"):
        refuse_few_neighbours(trials, 25)
    refuse_few_neighbours(trials, 24)


def test_the_target_follows_and_gets_no_gradient(rates):
    torch.manual_seed(2)
    online = Networks(10, RECIPE)
    target = copy.deepcopy(online)
    start = [p.detach().clone() for p in online.parameters()]
    with torch.no_grad():
        for p in online.parameters():
            p += 1
    for _ in range(10):
        follow(target, online)
    for old, new, now in zip(start, online.parameters(), target.parameters(), strict=True):
        torch.testing.assert_close(now - new, MOMENTUM**10 * (old - new), rtol=1e-4, atol=1e-5)
    views = [torch.randn(32, 10), torch.randn(32, 10)]
    pick = torch.randint(RECIPE.neighbours, (32,))
    loss = myow._loss(online, target, views, torch.arange(32) // 4, RECIPE, 0.5, pick)
    loss.backward()
    assert all(p.grad is None for p in target.parameters()) and online.encoder[0].weight.grad.any()


def test_the_loss_is_bounded_and_does_not_mind_the_order_of_views():
    torch.manual_seed(3)
    online = Networks(10, RECIPE)
    target, views = copy.deepcopy(online), [torch.randn(32, 10), torch.randn(32, 10)]
    args = torch.arange(32) // 4, RECIPE, 0.0
    one, other = (myow._loss(online, target, v, *args).item() for v in (views, views[::-1]))
    assert 0 <= one <= 2 and one == pytest.approx(other, rel=1e-5)
    assert distance(torch.ones(3, 2), -torch.ones(3, 2)).item() == pytest.approx(2)


def weights_of(rates, **changes) -> list[torch.Tensor]:
    device = prepare(5, "cpu")
    encoder, _ = train_encoder(rates, Recipe(**{**RECIPE.__dict__, **changes}), device, 5)
    return [p.detach() for p in encoder.parameters()]


def test_mining_changes_no_draw_but_its_own(rates, monkeypatch):
    """With a weight of next to nothing all is as without mining, so it takes no number from the common stream."""
    byol = weights_of(rates, mining=0.0)
    assert all(torch.equal(a, b) for a, b in zip(byol, weights_of(rates, mining=0.0), strict=True))
    nearly = weights_of(rates, mining=1e-12)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(byol, nearly, strict=True))
    assert not all(torch.allclose(a, b, atol=1e-6) for a, b in zip(byol, weights_of(rates, mining=0.9), strict=True))


def test_training_learns_to_predict_views_and_an_embedding_is_the_same_in_any_batch(rates):
    device = prepare(6, "cpu")
    encoder, losses = train_encoder(rates, Recipe(8, 6, 60, 32, 0.003, 0.0, 2, 0.5, 3), device, 6)
    assert len(losses) == 60 and losses[-1] < 0.7 * losses[0]
    whole = embed(encoder, rates, device)
    np.testing.assert_allclose(embed(encoder, rates[3:4], device)[0], whole[3], atol=1e-6)
    assert not encoder.training and whole.shape == (12, 16, 6)


def test_spread_tells_collapse():
    rng = np.random.default_rng(0)
    assert spread(rng.standard_normal((20, 30, 16))) == pytest.approx(1, abs=0.05)
    assert spread(np.ones((20, 30, 16)) + 1e-3 * rng.standard_normal((20, 30, 16))) < 0.01


def predict(data=None, **params):
    model = load_model(MODEL)
    return model.predict(data or tiny_input(), {**model.DEFAULTS, **model.CHECK, **params}, 0)


def test_contract_and_same_bytes():
    facts = check_model(MODEL, "myow", load_model(MODEL).DEFAULTS)["facts"]
    assert facts["spread"] > 0 and facts["loss"] >= 0
    first, second = predict(), predict()
    assert all(np.array_equal(first[name], second[name]) for name in first if name != "facts")


def test_an_encoder_that_changes_nothing_leaves_poisson_regressions_of_the_boxes(monkeypatch):
    model, data = load_model(MODEL), tiny_input()
    monkeypatch.setattr(model, "train_encoder", lambda *_: (torch.nn.Identity(), []))
    params = {**model.DEFAULTS, **model.CHECK, "step_ms": 10, "box_ms": 20, "alphas": [0.3]}
    found, steps = model.predict(data, params, 0), Steps(20, 2)
    weights = box_weights(steps, params["boxes"], 4)
    train, evaluated = (
        boxed_rates(spikes, weights, data.bin_ms).reshape(len(spikes) * steps.count, -1)
        for spikes in (data.train_spikes_heldin, data.eval_spikes_heldin)
    )
    mean, sd = train.mean(axis=0), train.std(axis=0)
    counts = steps.sums(data.train_spikes_heldout)
    coef, constant = fit_poisson((train - mean) / sd, counts.reshape(len(train), -1), 0.3)
    log_rates = (evaluated - mean) / sd @ coef + constant
    fitted = (train - mean) / sd @ coef + constant
    log_rates = np.clip(log_rates, fitted.min(axis=0), fitted.max(axis=0)).reshape(-1, *counts.shape[1:])
    np.testing.assert_allclose(found["eval_rates_heldout"], steps.rates(log_rates), rtol=1e-3)


def test_an_embedding_that_has_collapsed_is_told(monkeypatch, caplog):
    model = load_model(MODEL)
    predict()
    assert "collapsed" not in caplog.text
    monkeypatch.setattr(model, "embed", lambda _, rates, __: np.ones((*rates.shape[:2], 6)) + 1e-3 * rates[..., 0, :6])
    facts = model.predict(tiny_input(), {**model.DEFAULTS, **model.CHECK}, 0)["facts"]
    assert facts["spread"] < 0.3 and "so they have collapsed" in caplog.text


def test_the_controls():
    untrained, pca = predict(epochs=0), predict(encoder="pca")
    assert "loss" not in untrained["facts"] and "spread" not in pca["facts"]
    assert pca["eval_latents"].shape[2] == 3 and predict(pca_dims=0)["eval_latents"].shape[2] == 6
    # a rate of a held-in neuron does not depend on its own count of that step
    data = tiny_input()
    data.eval_spikes_heldin[0, 10, 4] += 5
    changed = predict(data, encoder="pca")
    assert changed["eval_rates_heldin"][0, 10, 4] == pca["eval_rates_heldin"][0, 10, 4]
    assert changed["eval_rates_heldin"][0, 12, 4] != pca["eval_rates_heldin"][0, 12, 4]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"encoder": "cnn"}, "network or pca as encoder"),
        ({"mining": 1.0}, "mining of at least 0 and below 1"),
        ({"neighbours": 0}, "whole number >= 1 as neighbours"),
        ({"neighbours": 100}, "needs 100 neighbours"),
        ({"batch": 1, "mining": 0}, "whole number >= 2 as batch"),
        ({"learning_rate": 1e30}, "loss of myow is nan in epoch .; lower learning_rate"),
        ({"step_ms": 10, "box_ms": 10}, "boxes longer than a step"),
        # a step of seven bins, and one that fills the window: a box of as many bins holds nothing but its counts
        ({"step_ms": 30, "box_ms": 35}, r"boxes of 7 bins .* steps of up to 7"),
        ({"step_ms": 1000, "box_ms": 2000}, r"boxes of 20 bins .* steps of up to 20"),
    ],
)
def test_parameters_out_of_range_are_refused(params, words):
    with pytest.raises(NlbflowError, match=words):
        predict(**{"epochs": 12, **params})
