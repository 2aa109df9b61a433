"""LFADS: gradients against finite differences, divergences against torch, and what the encoders must not see."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.distributions import Normal, kl_divergence

from nlbflow.methods.lfads import net as lfads
from nlbflow.methods.lfads.fit import _trials, posterior_average
from nlbflow.methods.lfads.population import Trials, draw, no_noise, stream, training_loss
from nlbflow.methods.networks.recurrent import controlled_generator, gru_states
from nlbflow.models.contract import tiny_input
from small_lfads import SIZES, doubles, hyper, population, trials


def one_gru_step(x, h, weight):
    """Cho et al. 2014, as recurrent.py says, for one member."""
    r, z, own = (x.chunk(3, -1)[i] + (h @ weight).chunk(3, -1)[i] for i in range(3))
    own = x.chunk(3, -1)[2] + torch.sigmoid(r) * (h @ weight).chunk(3, -1)[2]
    return (1 - torch.sigmoid(z)) * torch.tanh(own) + torch.sigmoid(z) * h


def test_gru_is_the_textbooks():
    x, h, weight = doubles(2, 5, 3, 12), doubles(2, 3, 4, seed=1), doubles(2, 4, 12, seed=2)
    states = gru_states(x, h, weight)
    for member in range(2):
        state = h[member]
        for t in range(5):
            state = one_gru_step(x[member, t], state, weight[member])
            torch.testing.assert_close(states[member, t], state, rtol=0, atol=1e-14)


def test_gradients_of_recurrences_are_those_of_finite_differences():
    shapes = [(2, 4, 3, 9), (2, 3, 3), (2, 3, 9)]
    assert torch.autograd.gradcheck(gru_states, [doubles(*s, seed=i).requires_grad_() for i, s in enumerate(shapes)])
    noise = doubles(2, 4, 3, 2, scale=1.0)
    shapes = [(2, 4, 3, 6), (2, 3, 2), (2, 3, 3), (2, 3, 6), (2, 2, 6), (2, 2, 4), (2, 1, 4), (2, 2, 9), (2, 1, 9), (2, 3, 9)]  # fmt: skip  # noqa: E501
    x, *others = [doubles(*s, seed=i).requires_grad_() for i, s in enumerate(shapes)]
    assert torch.autograd.gradcheck(lambda x, *rest: controlled_generator(x, noise, *rest), (x, *others))


def test_divergences_are_those_of_torch():
    mean, log_variance, sample = (doubles(2, 6, 3, 2, seed=i) for i in range(3))
    found = lfads.kl_gaussian(mean, log_variance.exp(), sample, torch.full_like(mean, 0.1))
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(sample, 0.1**0.5))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)

    tau, variance = torch.tensor([[10.0, 3.0], [0.1, 0.4]]).double()
    found = lfads.kl_autoregressive(mean, log_variance, sample, tau.log(), variance.log())
    posterior = Normal(mean, (log_variance / 2).exp())
    correlation = torch.exp(-1 / tau)
    before = torch.cat([torch.zeros_like(sample[:, :1]), sample[:, :-1]], dim=1)
    share = (1 - correlation**2).repeat(1, 6, 3, 1)
    share[:, 0] = 1
    expected = kl_divergence(posterior, Normal(correlation * before, (variance * share).sqrt()))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_the_inputs_prior_is_stationary_and_autoregressive():
    """Summed over steps, the divergence of one joint Gaussian from another, estimated from samples of the first."""
    steps, tau, variance = 4, 3.0, 0.2
    mean, log_variance = doubles(1, steps, 1, 1, scale=0.3), doubles(1, steps, 1, 1, seed=1) - 2
    covariance = variance * torch.exp(-torch.arange(steps).double().sub(torch.arange(steps)[:, None]).abs() / tau)
    prior = torch.distributions.MultivariateNormal(torch.zeros(steps).double(), covariance)
    spread = (log_variance / 2).exp()
    posterior = torch.distributions.MultivariateNormal(mean.flatten(), torch.diag(spread.flatten() ** 2))
    sample = mean + spread * doubles(1, steps, 40000, 1, scale=1.0, seed=2)
    shape = sample.shape
    prior_log = torch.tensor([tau]).double().log(), torch.tensor([variance]).double().log()
    found = lfads.kl_autoregressive(mean.expand(shape), log_variance.expand(shape), sample, *prior_log)
    assert found.sum(dim=1).mean() == pytest.approx(float(kl_divergence(posterior, prior)), rel=0.01)


def test_coordinated_dropout_learns_from_dropped_entries_only():
    data = trials()
    counts, rate = data.counts[None], torch.tensor([0.4], dtype=torch.float64)
    seen = counts[:, : SIZES.bins, :, : SIZES.heldin]
    dropped = torch.rand(seen.shape, generator=torch.Generator().manual_seed(0)) < 0.4
    given = lfads.coordinated_dropout(seen, dropped, rate)
    assert (given[dropped] == 0).all() and torch.allclose(given[~dropped], seen[~dropped] / 0.6)

    log_rates = torch.zeros_like(counts).requires_grad_()
    learns = lfads.learning_entries(dropped, rate, data.known[None])
    (gradient,) = torch.autograd.grad(lfads.reconstruction(log_rates, counts, learns).sum(), log_rates)
    moved = gradient != 0
    error = counts != 1  # where the rate 1 is not the count itself
    assert torch.equal(moved[:, : SIZES.bins, :, : SIZES.heldin], dropped & error[:, : SIZES.bins, :, : SIZES.heldin])
    assert torch.equal(moved[..., SIZES.heldin :], error[..., SIZES.heldin :])
    assert torch.equal(moved[:, SIZES.bins :], error[:, SIZES.bins :])
    # without it, all entries
    assert lfads.learning_entries(dropped & False, 0 * rate, data.known[None]).all()


def test_a_missing_forward_count_teaches_nothing():
    data = tiny_input()
    data.train_spikes_heldin_forward[3] = data.train_spikes_heldout_forward[3] = np.nan
    found = _trials(data)
    assert not found.known[20:, 3].any() and found.known[:20].all() and found.known[20:, :3].all()
    assert torch.isfinite(found.counts).all()


def test_encoders_see_neither_heldout_nor_forward_bins():
    """With counts changed there, no rate changes, only the loss does; a held-in count changes rates before it too."""
    weights = population([0]).weights
    named = lfads.unpack(weights, SIZES)

    def log_rates(counts):
        seen = counts[None, : SIZES.bins, :, : SIZES.heldin]
        return lfads.run(named, seen, no_noise(SIZES, seen), SIZES).log_rates

    data = trials()
    before = log_rates(data.counts)
    changed = data.counts.clone()
    changed[: SIZES.bins, :, SIZES.heldin :] += 5
    changed[SIZES.bins :] += 5
    assert torch.equal(log_rates(changed), before)
    loss = [
        training_loss(weights, SIZES, Trials(c[None], data.known[None]), hyper(cd_rate=0.5), 1.0, [stream(0, 0, 1)])
        for c in (data.counts, changed)
    ]
    assert loss[0] != loss[1]
    changed[3, 2, 1] += 1
    moved = (log_rates(changed) != before)[0].any(dim=2)
    assert moved[:, 2].all() and not moved[:, :2].any() and not moved[:, 3:].any()


def test_steps_of_several_bins_see_sums_and_lie_on_lines():
    """Against steps of one bin on the sums, with factors interpolated by numpy; the forward window begins in a step."""
    long = replace(SIZES, length=2)
    sums = replace(SIZES, bins=4, ahead=1)
    assert (long.seen_steps, long.steps, long.shapes()) == (4, 5, SIZES.shapes())
    named = lfads.unpack(population([0]).weights, long)
    seen = trials().counts[None, : long.bins, :, : long.heldin]
    summed = torch.cat([seen, 0 * seen[:, :1]], dim=1).unflatten(1, (4, 2)).sum(dim=2)
    draws = draw(long, torch.tensor([0.3]).double(), seen, [stream(0, 0, 1)])
    found, steps = lfads.run(named, seen, draws, long), lfads.run(named, summed, draws, sums)
    middles, bins = 2 * np.arange(5) + 0.5, np.arange(10)

    def at_bins(values):
        values = values[0].numpy()
        return np.apply_along_axis(lambda at_steps: np.interp(bins, middles, at_steps), 0, values)

    np.testing.assert_allclose(found.factors[0].numpy(), at_bins(steps.factors), rtol=1e-6)
    np.testing.assert_allclose(found.log_rates[0].numpy(), at_bins(steps.log_rates), rtol=1e-6)
    assert torch.equal(found.kl_ic, steps.kl_ic) and torch.equal(found.kl_input, steps.kl_input)


def test_both_encoders_read_through_the_same_map():
    named = lfads.unpack(population([0]).weights, SIZES)
    seen = trials().counts[None, : SIZES.bins, :, : SIZES.heldin]
    narrow = named | {"read_in": doubles(1, SIZES.heldin, 2), "ic_in": doubles(1, 2, 24), "ci_in": doubles(1, 2, 18)}
    wide = narrow | {name: narrow["read_in"] @ narrow[name] for name in ("ic_in", "ci_in")}
    sizes = replace(SIZES, read_in=2)
    assert all(sizes.shapes()[name] == narrow[name].shape[1:] for name in narrow)
    found, expected = (lfads.run(w, seen, no_noise(s, seen), s) for w, s in ((narrow, sizes), (wide, SIZES)))
    torch.testing.assert_close(found.log_rates, expected.log_rates)


def test_factors_are_read_by_rows_of_length_one():
    named = lfads.unpack(population([0]).weights, SIZES)
    seen = trials().counts[None, : SIZES.bins, :, : SIZES.heldin]
    before = lfads.run(named, seen, no_noise(SIZES, seen), SIZES)
    named["to_factors"] = named["to_factors"] * torch.tensor([2.0, 7.0]).double()
    after = lfads.run(named, seen, no_noise(SIZES, seen), SIZES)
    torch.testing.assert_close(after.factors, before.factors)
    rates = before.factors @ named["to_log_rates"][0] + named["to_log_rates_bias"][0]
    torch.testing.assert_close(before.log_rates, rates)


def test_posterior_average_is_the_mean_of_single_samples():
    weights = population([0]).weights
    seen = trials(count=4).counts[: SIZES.bins, :, : SIZES.heldin]
    rates, factors = posterior_average(weights, SIZES, seen, 3, stream(0, 0, 3))
    repeated = seen.repeat(1, 3, 1)[None]
    draws = draw(SIZES, None, repeated, [stream(0, 0, 3)])
    expected = [torch.zeros(10, 4, 9).double(), torch.zeros(10, 4, 2).double()]
    for sample in range(3):
        rows = slice(4 * sample, 4 * sample + 4)
        one = lfads.Draws(draws.ic_noise[:, rows], draws.input_noise[:, :, rows])
        outcome = lfads.run(lfads.unpack(weights, SIZES), seen[None], one, SIZES)
        expected[0] += outcome.log_rates[0].exp() / 3
        expected[1] += outcome.factors[0] / 3
    np.testing.assert_allclose(rates, expected[0].transpose(0, 1).numpy(), rtol=1e-5)
    np.testing.assert_allclose(factors, expected[1].transpose(0, 1).numpy(), rtol=1e-4, atol=1e-5)
