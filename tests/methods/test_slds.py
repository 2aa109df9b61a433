"""The switching linear dynamical system as a whole, on data simulated from it."""

from itertools import pairwise, permutations, product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import norm, poisson

from nlbflow.errors import NlbflowError
from nlbflow.methods.slds import fit as slds
from nlbflow.methods.slds import softplus_poisson
from nlbflow.methods.slds.fit import Posterior, Slds, fit, infer
from nlbflow.methods.slds.forecast import forecast, moments_ahead
from nlbflow.methods.slds.gaussian_chain import Chain
from nlbflow.methods.slds.prediction import occupancy
from nlbflow.methods.slds.softplus_poisson import Emission, evaluate, softplus
from nlbflow.methods.slds.switching import Dynamics
from nlbflow.models.catalogue import read_declaration
from nlbflow.models.contract import check_model, load_model, tiny_input
from nlbflow.recordings.simulator.clusters import STEP_MS, simulate_clusters
from nlbflow.recordings.simulator.truth import rates_hz
from nlbflow.scoring.structure import matched_accuracy

MODEL = Path(__file__).parents[2] / "scripts/models/slds.py"


@pytest.fixture(scope="module")
def simulated():
    """Three rotations of different speed around different centres, and what they were made with."""
    rng = np.random.default_rng(8)
    trials, bins, neurons, speed = 30, 120, 50, np.array([0.05, -0.25, 0.5])
    turn = np.array([[[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]] for a in speed])
    centre = 2 * np.array([[np.cos(a), np.sin(a)] for a in 2 * np.pi * np.arange(3) / 3])
    A, transitions = 0.99 * turn, np.full((3, 3), 0.015) + 0.955 * np.eye(3)
    states, x = np.empty((trials, bins), int), np.empty((trials, bins, 2))
    states[:, 0], x[:, 0] = rng.integers(0, 3, trials), rng.normal(0, 1.5, (trials, 2))
    for n, t in np.ndindex(trials, bins - 1):
        k = states[n, t + 1] = rng.choice(3, p=transitions[states[n, t]])
        x[n, t + 1] = centre[k] + A[k] @ (x[n, t] - centre[k]) + rng.normal(0, 0.14, 2)
    weights = rng.normal(0, 0.7, (neurons, 2))
    rates = softplus(x @ weights.T - 0.4)
    return SimpleNamespace(counts=rng.poisson(rates).astype(float), states=states, speed=speed, rates=rates)


@pytest.fixture(scope="module")
def fitted(simulated):
    return fit(simulated.counts, 20, 3, 2, l2_A=1e-3, l2_b=1e-6, iterations=30, start_iterations=50, seed=0)


def test_states_and_dynamics_are_recovered(simulated, fitted):
    model, posterior, _ = fitted
    found = posterior.states.argmax(axis=2)
    share, order = max((np.mean(np.array(p)[found] == simulated.states), p) for p in permutations(range(3)))
    assert share > 0.9
    eigenvalues = np.linalg.eigvals(model.dynamics.A)[np.argsort(order)]
    np.testing.assert_allclose(np.abs(np.angle(eigenvalues[:, 0])), np.abs(simulated.speed), atol=0.02)
    np.testing.assert_allclose(np.abs(eigenvalues), 0.99, atol=0.02)
    rates = model.emission.rates(posterior.latents)
    assert np.corrcoef(rates.ravel(), simulated.rates.ravel())[0, 1] > 0.97


def test_the_bound_never_falls(simulated, fitted):
    bounds = np.array(fitted[2])
    assert len(bounds) == 31
    assert (np.diff(bounds) >= -1e-10 * np.abs(bounds[0])).all() and bounds[-1] > bounds[0] + 100
    _, bounds = infer(fitted[0], simulated.counts, 20)
    assert (np.diff(bounds, axis=0) >= -1e-10 * np.abs(bounds[0])).all() and (bounds[-1] > bounds[0]).all()


@pytest.mark.parametrize(("states", "gap"), [(1, 0.02), (2, 0.5)])
def test_the_bound_is_below_the_evidence_and_close(states, gap):
    """Two bins, one latent: the evidence is a sum over states of integrals over a grid. Between states and latents that
    tell much about each other the posterior's independence costs more."""
    rng = np.random.default_rng(9)
    dynamics = Dynamics(
        initial=np.array([[1.0], [0.7, 0.3]][states - 1]),
        transitions=np.array([[[1.0]], [[0.9, 0.1], [0.2, 0.8]]][states - 1]),
        first_mean=np.array([0.3]),
        first_cov=np.array([[0.5]]),
        A=np.array([[[0.9]], [[-0.5]]])[:states],
        b=np.array([[0.1], [-0.2]])[:states],
        Q=np.array([[[0.3]], [[0.4]]])[:states],
    )
    emission = Emission(rng.standard_normal((4, 1)), rng.standard_normal(4))
    counts = rng.poisson(1.0, (6, 2, 4)).astype(float)
    _, bounds = infer(Slds(dynamics, emission), counts, 50)
    grid = np.linspace(-8, 8, 801)
    rates = softplus(grid[:, None] * emission.weights[:, 0] + emission.bias)
    first, second = np.exp(poisson.logpmf(counts[:, :, None], rates).sum(axis=3)).transpose(1, 0, 2)
    step = 0
    for A, b, Q, share in zip(dynamics.A, dynamics.b, dynamics.Q, dynamics.initial @ dynamics.transitions, strict=True):
        step = step + share * norm.pdf(grid, A[0, 0] * grid[:, None] + b[0], np.sqrt(Q[0, 0]))
    joint = (first * norm.pdf(grid, 0.3, np.sqrt(0.5))) @ step * second
    evidence = np.log(joint.sum(axis=1) * (grid[1] - grid[0]) ** 2)
    assert (bounds[-1] < evidence + 1e-3).all() and (bounds[-1] > evidence - gap).all()


def test_unseen_neurons_and_bins_are_as_if_absent(simulated, fitted):
    model = fitted[0]
    masked = simulated.counts.copy()
    masked[:, :, 30:] = masked[:, 90:] = np.nan
    with_all = infer(model, masked, 20)[0].latents
    fewer = Slds(model.dynamics, Emission(model.emission.weights[:30], model.emission.bias[:30]))
    np.testing.assert_allclose(with_all.mean, infer(fewer, masked[:, :, :30], 20)[0].latents.mean, atol=1e-8)
    # beyond the last count, two trials whose seen counts are equal are equal, whatever the others
    longer = infer(model, np.concatenate([masked[:2], masked[:1]]), 20)[0].latents
    np.testing.assert_allclose(longer.mean[2], longer.mean[0], atol=1e-12)
    # the forecast grows uncertain
    uncertainty = np.trace(with_all.cov, axis1=2, axis2=3).mean(axis=0)
    assert (np.diff(uncertainty[90:]) > 0).all() and uncertainty[-1] > 2 * uncertainty[80]


@pytest.mark.parametrize(("states", "heldin"), [(2, 90), pytest.param(3, 90, marks=pytest.mark.slow)])
def test_states_of_the_simulated_clusters_are_recovered(states, heldin):
    """In the stanza's shape, of 90 % of the bins, by held-in counts of trials that the fit has not seen."""
    session = simulate_clusters(
        {"seed": 2023, "clusters": 3, "states": states, "coupling": 0.0, "train_trials": 100, "val_trials": 50,
         "test_trials": 1, "heldin": heldin, "heldout": 30}
    )  # fmt: skip
    population, drawn = session.population, session.train
    latents, true = (array[:, :900:STEP_MS] for array in (drawn.latents, drawn.states))
    rates = rates_hz(latents.astype(float), population.weights, population.bias) * STEP_MS / 1000
    counts = np.random.default_rng(0).poisson(rates).astype(float)
    model, posterior, _ = fit(counts[:100], 20, states, 9, 1.0, 1e-8, 30, 50, 0)
    shares = posterior.states.mean(axis=(0, 1))
    assert matched_accuracy(true[:100], posterior.states.argmax(axis=2)) > 0.92 and shares.max() < 0.7
    seen = counts[100:, :35].copy()
    seen[..., population.heldout] = np.nan
    found = infer(model, seen, 50)[0].states.argmax(axis=2)
    assert matched_accuracy(true[100:, :35], found) >= 0.9


def test_with_one_state_a_forecast_is_what_unseen_bins_have(simulated):
    model = fit(simulated.counts[:10], 20, 1, 2, 1e-3, 1e-6, 5, 5, 0)[0]
    masked = np.concatenate([simulated.counts[:10, :50], np.full((10, 8, 50), np.nan)], axis=1)
    whole = infer(model, masked, 100)[0]
    seen = Posterior(Chain(whole.latents.mean[:, :50], whole.latents.cov[:, :50], None, None), whole.states[:, :50])
    np.testing.assert_allclose(forecast(model, seen, 8), model.emission.rates(whole.latents)[:, 50:], rtol=1e-6)


def test_moments_ahead_are_sums_over_all_paths_of_states(fitted):
    dynamics = fitted[0].dynamics
    mean, cov = np.array([0.5, -1.0]), np.array([[0.3, 0.1], [0.1, 0.2]])
    start = Posterior(Chain(mean[None, None], cov[None, None], None, None), np.array([[[0.2, 0.5, 0.3]]]))
    *_, (chances, means, covs) = moments_ahead(dynamics, start, 4)
    chance, first, second = np.zeros(3), np.zeros((3, 2)), np.zeros((3, 2, 2))
    for path in product(range(3), repeat=5):
        p, m, c = start.states[0, 0, path[0]], mean, cov
        for before, k in pairwise(path):
            p, m = p * dynamics.transitions[before, k], dynamics.A[k] @ m + dynamics.b[k]
            c = dynamics.A[k] @ c @ dynamics.A[k].T + dynamics.Q[k]
        chance[k] += p
        first[k] += p * m
        second[k] += p * (c + np.outer(m, m))
    first /= chance[:, None]
    np.testing.assert_allclose(chances[0], chance, rtol=1e-12)
    np.testing.assert_allclose(means[0], first, rtol=1e-10)
    spread = second / chance[:, None, None] - first[:, :, None] * first[:, None]
    np.testing.assert_allclose(covs[0], spread, rtol=1e-9, atol=1e-12)


def test_a_forecast_is_the_average_of_many_drawn(fitted):
    """That the latents of a state are a mixture, and no Gaussian, costs little within a few bins."""
    model = fitted[0]
    dynamics, rng, draws = model.dynamics, np.random.default_rng(4), 100_000
    mean, cov = np.array([0.5, -1.0]), np.array([[0.3, 0.1], [0.1, 0.2]])
    start = Posterior(Chain(mean[None, None], cov[None, None], None, None), np.array([[[0.2, 0.5, 0.3]]]))
    x = rng.multivariate_normal(mean, cov, draws)
    state, roots = rng.choice(3, draws, p=start.states[0, 0]), np.linalg.cholesky(dynamics.Q)
    for forecasted in forecast(model, start, 4)[0]:
        state = (rng.random(draws)[:, None] > np.cumsum(dynamics.transitions[state], axis=1)).sum(axis=1)
        noise = np.einsum("nij,nj->ni", roots[state], rng.standard_normal(x.shape))
        x = np.einsum("nij,nj->ni", dynamics.A[state], x) + dynamics.b[state] + noise
        drawn = softplus(x @ model.emission.weights.T + model.emission.bias).mean(axis=0)
        np.testing.assert_allclose(forecasted, drawn, rtol=0.03)


def test_batches_of_trials_do_not_matter(simulated, fitted, monkeypatch):
    together = infer(fitted[0], simulated.counts[:7], 5)[0].latents.mean
    monkeypatch.setattr(slds, "BATCH_TRIALS", 3)
    monkeypatch.setattr(softplus_poisson, "BLOCK_ROWS", 200)
    np.testing.assert_allclose(infer(fitted[0], simulated.counts[:7], 5)[0].latents.mean, together, atol=1e-9)


def test_a_step_that_is_too_long_is_halved(simulated, fitted):
    """From latents far away the full step falls; the bound still never does."""
    model, posterior, _ = fitted
    counts = simulated.counts[:5] * 40
    chain = posterior.latents.select(np.arange(5))
    chain.mean = chain.mean - 60
    there = slds.Posterior(chain, posterior.states[:5])
    here, values = evaluate(model.emission, chain, counts), []
    for _ in range(15):
        prior = model.dynamics.precision(there.states)
        values.append(slds._prior_value(prior, chain) + here.value.sum(axis=1))
        slds.update_latents(model, counts, there, here)
    assert (np.diff(values, axis=0) >= -1e-9 * np.abs(values[0])).all()
    np.testing.assert_allclose(here.value, evaluate(model.emission, chain, counts).value)


def test_contract():
    facts = check_model(MODEL, "slds", read_declaration(MODEL)["DEFAULTS"])["facts"]
    # 2 states, 3 latents, 14 neurons: 1 + 2 chances, 3 + 6 of the first bin, 2 (9 + 3 + 6) of the dynamics, 14 (3 + 1)
    assert facts["parameters"] == 3 + 9 + 36 + 56


def test_steps_of_several_bins():
    data = tiny_input()
    found = predict(data, step_ms=4 * data.bin_ms)
    alone = predict(data, step_ms=data.bin_ms)
    for name, array in alone.items():
        assert name == "facts" or found[name].shape == array.shape
    assert np.diff(found["eval_states"].reshape(5, 5, 4), axis=2).max() == 0
    assert np.abs(np.diff(found["eval_latents"], n=2, axis=1)[:, 2:4]).max() < 1e-6


@pytest.mark.parametrize("model", ["slds", "biclust"])
@pytest.mark.parametrize(("ahead", "step_ms"), [(8, 20), (3, 20), (1, 20), (4, 40), (40, 5)])
def test_rates_are_per_bin_whatever_the_steps(model, ahead, step_ms):
    """Of counts with one constant rate, in both windows; the forward one may be shorter than a step."""
    rng, data = np.random.default_rng(3), tiny_input()
    for name, (trials, bins, neurons) in {
        "train_spikes_heldin": (30, 40, 10), "train_spikes_heldout": (30, 40, 4), "eval_spikes_heldin": (20, 40, 10),
        "train_spikes_heldin_forward": (30, ahead, 10), "train_spikes_heldout_forward": (30, ahead, 4),
    }.items():  # fmt: skip
        setattr(data, name, rng.poisson(0.5, (trials, bins, neurons)).astype(np.float32))
    module = load_model(MODEL.with_name(f"{model}.py"))
    found = module.predict(data, {**module.DEFAULTS, **module.CHECK, "states": 1, "step_ms": step_ms}, 0)
    for name in ("eval_rates_heldout", "eval_rates_heldout_forward", "train_rates_heldin"):
        assert found[name].mean() == pytest.approx(0.5, rel=0.1), name


def test_the_start_with_the_highest_bound_goes_on(simulated, monkeypatch):
    ends, true = [], slds._maximise

    def maximise(model, chain, counts, prior, iterations, name):
        found = true(model, chain, counts, prior, iterations, name)
        ends.append((name, found[2]))
        return found

    monkeypatch.setattr(slds, "_maximise", maximise)
    bounds = fit(simulated.counts[:8], 20, 3, 2, l2_A=1e-3, l2_b=1e-6, iterations=7, start_iterations=3, seed=1)[2]
    starts = [found for name, found in ends if "start" in name]
    assert len(starts) == 4 and len({round(found[-1], 3) for found in starts}) > 1 and len(bounds) == 8
    assert bounds[5] == max(found[-1] for found in starts) and ends[-1][1][0] == pytest.approx(bounds[5], rel=1e-12)


def test_one_state_that_holds_all_is_told(caplog):
    facts = predict(tiny_input(), states=1)["facts"]
    assert facts["occupancy"] == "1.000" and not caplog.records
    states = np.full((2, 10, 2), [0.001, 0.999])
    assert occupancy(states) == "0.999, 0.001"
    assert "One of 2 states holds 99.9 %" in caplog.text


def predict(data, **params):
    model = load_model(MODEL)
    return model.predict(data, {**model.DEFAULTS, **model.CHECK, **params}, 0)


def test_silent_neurons_one_trial_one_latent_one_state():
    data = tiny_input()
    data.train_spikes_heldout[..., 1] = data.train_spikes_heldout[..., 1] = 0
    data.train_spikes_heldin[..., 4] = data.train_spikes_heldin_forward[..., 4] = 0
    data.train_spikes_heldout_forward[..., 1] = 0
    rates = predict(data)
    assert np.all(rates["eval_rates_heldout"][..., 1] < 1e-8) and np.all(rates["eval_rates_heldin"][..., 4] < 1e-8)
    assert predict(data, states=1, latents=1)["eval_latents"].shape == (5, 20, 1)
    for name in ("train_spikes_heldin", "train_spikes_heldout"):
        for suffix in ("", "_forward"):
            setattr(data, name + suffix, getattr(data, name + suffix)[:1])
    data.eval_spikes_heldin = data.eval_spikes_heldin[:1]
    assert all(np.isfinite(a).all() for name, a in predict(data).items() if name != "facts")


def test_missing_forward_windows():
    data = tiny_input()
    data.train_spikes_heldin_forward[3] = data.train_spikes_heldout_forward[3] = np.nan
    assert np.isfinite(predict(data)["eval_rates_heldin_forward"]).all()
    data.train_spikes_heldin_forward = data.train_spikes_heldout_forward = None
    assert not any("forward" in name for name in predict(data))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"latents": 15}, "14 latents"),
        ({"latents": 0}, "latents = 0"),
        ({"states": 0}, "states = 0"),
        ({"iterations": 0}, "iterations and start_iterations >= 1"),
        ({"l2_A": -1.0}, "l2_A and l2_b finite"),
        ({"step_ms": 0}, "step_ms > 0"),
    ],
)
def test_parameters_out_of_range_are_refused(params, words):
    with pytest.raises(NlbflowError, match=words):
        predict(tiny_input(), **params)


def test_counts_that_cannot_be_fitted_are_refused():
    fitting = lambda counts: fit(counts, 5, 2, 1, 1.0, 1.0, 2, 2, 0)  # noqa: E731
    with pytest.raises(NlbflowError, match="0 latents"):
        fitting(np.zeros((3, 5, 4)))
    with pytest.raises(NlbflowError, match="1 negative"):
        fitting(np.array([[[1.0], [-1.0]]]))
    with pytest.raises(NlbflowError, match="two steps"):
        fitting(np.ones((3, 1, 4)))
