"""Networks' parts: masks, coordinated dropout, attention's context, time steps, the loss; and the models' contract."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is an extra (pip install torch at the pin in pyproject.toml)")

from nlbflow.errors import NlbflowError
from nlbflow.methods.networks.common import TimeSteps, coordinated_dropout, log_mean_rates, poisson_loss, scored_entries
from nlbflow.methods.networks.ndt import NDT
from nlbflow.methods.networks.transformer import SpatialLayer, context_mask, contrast, corrupt, mask_spans, span_of
from nlbflow.models.catalogue import read_declaration
from nlbflow.models.contract import check_model, load_model, run_model, tiny_input

MODELS = Path(__file__).parents[2] / "scripts/models"
# file and parameters of each network
NETWORKS = {name: (f"{name}.py", {}) for name in ("gru", "lmuformer", "mlp", "mom", "ndt")}
NETWORKS["stndt"] = "ndt.py", {"spatial": True}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_coordinated_dropout_scores_dropped_entries_only():
    """The loss has a gradient at the dropped held-in entries, the held-out neurons and the forward window; and what it
    says there was computed from the others alone."""
    counts = torch.poisson(torch.full((30, 12, 7), 2.0))
    seen, dropped = coordinated_dropout(counts[:, :10, :5], 0.3)
    assert (seen[dropped] == 0).all()
    np.testing.assert_allclose(seen[~dropped], counts[:, :10, :5][~dropped] / 0.7)
    assert dropped.float().mean().item() == pytest.approx(0.3, abs=0.04)
    log_rates = torch.zeros_like(counts, requires_grad=True)
    # counts of 1 at rate 1 have no gradient, so the targets are moved away from it
    poisson_loss(log_rates, counts + 10, scored_entries(counts, dropped)).backward()
    reached = log_rates.grad != 0
    assert torch.equal(reached[:, :10, :5], dropped)
    assert reached[:, 10:].all() and reached[:, :, 5:].all()


def test_loss_is_the_poisson_likelihood():
    counts, log_rates = torch.poisson(torch.full((4, 5, 3), 1.5)), torch.randn(4, 5, 3)
    scored = torch.rand(4, 5, 3) < 0.5
    expected = -torch.distributions.Poisson(log_rates.exp()).log_prob(counts) - torch.lgamma(counts + 1)
    assert poisson_loss(log_rates, counts, scored).item() == pytest.approx(expected[scored].mean().item(), rel=1e-5)


def test_a_silent_neuron_has_a_finite_log_rate():
    counts = torch.zeros(10, 20, 2)
    counts[..., 1] = 3
    np.testing.assert_allclose(log_mean_rates(counts).exp(), [0.5 / 200, 3 + 0.5 / 200], rtol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 4])
def test_time_steps(length):
    steps = TimeSteps(bins=10, ahead=3, length=length)
    counts = torch.poisson(torch.full((2, 10, 3), 1.0))
    sums = steps.sums(counts)
    assert sums.shape == (2, -(-13 // length), 3)
    for step in range(sums.shape[1]):
        np.testing.assert_array_equal(sums[:, step], counts[:, step * length : (step + 1) * length].sum(dim=1))
    values = torch.randn(2, sums.shape[1], 3)
    middles = (np.arange(sums.shape[1]) + 0.5) * length
    for trial, dim in np.ndindex(2, 3):
        expected = np.interp(np.arange(13) + 0.5, middles, values[trial, :, dim])
        np.testing.assert_allclose(steps.interpolate(values)[trial, :, dim], expected, atol=1e-6)


@pytest.mark.parametrize("span", [1, 4])
def test_masked_share(span):
    """A step is masked unless none of the `span` starts that reach it was drawn."""
    masked = mask_spans(torch.zeros(400, 1), 60, 0.24, torch.tensor(span), 5)[:, span - 1 :]
    expected = 1 - (1 - 0.24 / span) ** span
    assert masked.float().mean().item() == pytest.approx(expected, abs=0.01)


def test_spans_have_their_length():
    masked = mask_spans(torch.zeros(2000, 1), 60, 0.02, torch.tensor(4), 5)
    # alone-standing ones away from the ends: edges of +1 and -1 four steps apart
    edges = torch.diff(masked.int(), dim=1)
    lengths = []
    for row in edges:
        starts, ends = torch.nonzero(row == 1).flatten().tolist(), torch.nonzero(row == -1).flatten().tolist()
        lengths += [
            end - start for start in starts for end in ends[:1] if len(starts) == len(ends) == 1 and end > start
        ]
    assert len(lengths) > 100 and min(lengths) == 4 and np.mean(np.array(lengths) == 4) > 0.9


def test_spans_come_into_use_along_the_ramp():
    def share(epoch, longest):
        return np.mean([span_of(epoch, (100, 200), longest) > 1 for _ in range(4000)])

    assert share(99, 5) == share(100, 5) == 0 and share(150, 1) == 0
    # of the drawn lengths 1 to 5 four are longer than 1
    assert share(150, 5) == pytest.approx(0.5 * 0.8, abs=0.03)
    assert share(10**6, 5) == pytest.approx(0.8, abs=0.03)


def test_corruption_statistics():
    counts = torch.poisson(torch.full((50, 40, 20), 1.0)) + 1
    masked = torch.rand_like(counts) < 0.4
    seen = corrupt(counts, masked, 0.6, 0.5)
    assert torch.equal(seen[~masked], counts[~masked])
    largest = counts.max().item()
    # random ones are whole numbers from 0 to below the largest, zero among them
    zeros = (seen[masked] == 0).float().mean().item()
    assert zeros == pytest.approx(0.6 + 0.4 * 0.5 / largest, abs=0.02)
    assert torch.equal(seen, seen.round()) and seen[masked & (seen != counts)].max() < largest
    assert torch.equal(corrupt(counts, masked, 0.0, 0.0), counts)
    assert (corrupt(counts, masked, 1.0, 1.0)[masked] == 0).all()


@pytest.mark.parametrize(("backward", "forward"), [(3, 2), (4, 0), (0, 0), (-1, 0), (-1, -1)])
def test_attention_never_sees_beyond_its_context(backward, forward):
    """Perturb one step of the input: exactly the steps whose context, layer upon layer, holds it may change."""
    ndt, layers, steps = load_model(MODELS / "ndt.py"), 2, 16
    reach = {"context_backward": backward, "context_forward": forward}
    params = {**ndt.DEFAULTS, **ndt.CHECK, "layers": layers, **reach}
    net = NDT(TimeSteps(steps, 0, 1), 5, 9, params).eval()
    counts = torch.poisson(torch.ones(1, steps, 5))
    before = net(counts)[0]
    for step in range(steps):
        counts_now = counts.clone()
        counts_now[0, step] += torch.tensor([3.0, 0.0, 1.0, 0.0, 5.0])
        changed = ((net(counts_now)[0] - before) != 0)[0].any(dim=1)
        at = np.arange(steps) - step
        # what step s sees of `step`: later ones look back, earlier ones forward
        latest = steps if backward < 0 else layers * backward
        earliest = steps if forward < 0 else layers * forward
        assert changed.tolist() == ((at <= latest) & (-at <= earliest)).tolist()


def test_context_mask_is_the_published_rule():
    allowed = context_mask(9, 3, 1)
    for t, s in np.ndindex(9, 9):
        assert allowed[t, s].item() == (t - 3 <= s <= t + 1)


def test_published_network_has_a_column_for_each_neuron():
    ndt = load_model(MODELS / "ndt.py")
    params = {**ndt.DEFAULTS, "width": 0}
    # odd: the two heads need one more
    assert NDT(TimeSteps(8, 2, 1), 13, 3, params).width == 14
    table = NDT(TimeSteps(8, 2, 1), 13, 3, {**params, "count_columns": 2}).eval()
    assert table.width == 26 and table.table.num_embeddings == 4
    counts = torch.zeros(1, 8, 5)
    high, higher = counts.clone(), counts.clone()
    high[0, 0, 0], higher[0, 0, 0] = 3, 50  # counts above the table's last row share that row
    assert torch.equal(table(high)[0], table(higher)[0]) and not torch.equal(table(high)[0], table(counts)[0])


def test_contrastive_loss_is_the_papers_formula():
    """Chen et al. 2020, equation 1, view by view: log of the other view's share among all views but itself."""
    one, other = torch.randn(5, 7), torch.randn(5, 7)
    views = torch.cat([one, other]).numpy().astype(float)
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    losses = []
    for i in range(10):
        weights = {k: np.exp(views[i] @ views[k] / 0.1) for k in range(10) if k != i}
        losses.append(-np.log(weights[(i + 5) % 10] / sum(weights.values())))
    assert contrast(one, other).item() == pytest.approx(np.mean(losses), rel=1e-5)
    assert contrast(one, one).item() < contrast(one, other).item()


def test_attention_between_columns_reaches_across_time_and_columns():
    """One value moved changes other columns' values at other steps, which attention over time alone, shut up in each
    step, cannot."""
    layer = SpatialLayer(width=6, steps=8, heads=2, hidden=5, dropout=0.0).eval()
    x, alone = torch.randn(1, 8, 6), context_mask(8, 0, 0)
    moved = x.clone()
    moved[0, 2, 3] += 1
    assert (layer(x, alone) != layer(moved, alone))[0, 5].any()
    with torch.no_grad():  # weights between columns that no longer depend on the input
        layer.queries_keys.weight.zero_()
    assert not (layer(x, alone) != layer(moved, alone))[0, 5].any()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("bin_ms", [5, 20])
def test_contract(name, bin_ms):
    file, params = NETWORKS[name]
    model = load_model(MODELS / file)
    assert check_model(MODELS / file, name, model.DEFAULTS | params)["facts"]["parameters"] > 0
    data = tiny_input()
    data.bin_ms = bin_ms
    data.train_spikes_heldin_forward = data.train_spikes_heldout_forward = None
    found = model.predict(data, {**model.DEFAULTS, **model.CHECK, **params}, 0)
    assert not any("forward" in key for key in found)
    assert found["eval_latents"].shape[:2] == data.eval_spikes_heldin.shape[:2]


@pytest.mark.parametrize("name", ["gru", "lmuformer", "mlp", "mom"])
@pytest.mark.parametrize(
    ("parameter", "value", "sentence"),
    [
        ("latents", 2.5, "latents is 2.5; expected a whole number of at least 1"),
        ("width", 0, "width is 0; expected a whole number of at least 1"),
        # nothing would be learnt of held-in neurons, or everything hidden
        ("input_dropout", 0.0, "input_dropout is 0.0; expected a share above 0 and below 1"),
        ("input_dropout", 1.0, "only hidden entries teach held-in rates"),
        ("dropout", 1.0, "dropout is 1.0; expected a share of at least 0 and below 1"),
    ],
)
def test_parameters_that_no_network_can_have_are_refused(name, parameter, value, sentence):
    model = load_model(MODELS / f"{name}.py")
    with pytest.raises(NlbflowError, match=sentence):
        model.predict(tiny_input(), {**model.DEFAULTS, **model.CHECK, parameter: value}, 0)


def test_a_step_that_is_no_whole_number_of_bins_is_rounded_down():
    model = load_model(MODELS / "mlp.py")
    steps = [12.5, 10]
    rates = [model.predict(tiny_input(), {**model.DEFAULTS, **model.CHECK, "step_ms": ms}, 0) for ms in steps]
    np.testing.assert_array_equal(rates[0]["eval_rates_heldout"], rates[1]["eval_rates_heldout"])


@pytest.mark.parametrize("name", ["gru", "lmuformer", "mom", "ndt"])
def test_networks_learn(name):
    """Rates that swing with a phase common to all neurons: held-out ones are predicted better than by their means."""
    from nlbflow.metrics.formulas import bits_per_spike

    rng = np.random.default_rng(0)
    trials, evaluated, bins, ahead, heldin, neurons = 60, 30, 20, 4, 30, 40
    phase = rng.uniform(0, 2 * np.pi, (trials + evaluated, 1)) + np.linspace(0, 4, bins + ahead)
    drive = np.stack([np.sin(phase), np.cos(phase)], axis=2) @ rng.normal(0, 0.8, (2, neurons))
    rates = 0.5 * np.exp(drive)
    spikes = rng.poisson(rates).astype(np.float32)
    model, data = load_model(MODELS / f"{name}.py"), tiny_input()
    data.bin_ms = 20
    data.train_spikes_heldin, data.train_spikes_heldout = np.split(spikes[:trials, :bins], [heldin], axis=2)
    data.train_spikes_heldin_forward, data.train_spikes_heldout_forward = np.split(
        spikes[:trials, bins:], [heldin], axis=2
    )
    data.eval_spikes_heldin = spikes[trials:, :bins, :heldin]
    small = {"width": 32, "epochs": 100, "batch": 16, "device": "cpu", "dropout": 0.2}
    small |= {"gru": {"layers": 1}, "ndt": {"layers": 2, "warmup_epochs": 10}}.get(name, {})
    found = model.predict(data, {**model.DEFAULTS, **small}, 0)
    for key, window, units in (
        ("eval_rates_heldout", slice(0, bins), slice(heldin, None)),
        ("eval_rates_heldout_forward", slice(bins, None), slice(heldin, None)),
        ("eval_rates_heldin_forward", slice(bins, None), slice(0, heldin)),
    ):
        truth = rates[trials:, window, units]
        observed = spikes[trials:, window, units]
        ceiling = bits_per_spike(truth, observed)
        assert bits_per_spike(found[key], observed) > 0.6 * ceiling > 0.1, key


@pytest.mark.parametrize("name", NETWORKS)
def test_forward_windows_that_were_not_recorded_are_not_scored(name):
    file, params = NETWORKS[name]
    path = MODELS / file
    declared = read_declaration(path)
    params = {**declared["DEFAULTS"], **declared["CHECK"], **params}
    data = tiny_input()
    for group in ("heldin", "heldout"):
        getattr(data, f"train_spikes_{group}_forward")[2] = np.nan
    rates, _ = run_model(path, name, data, params, 0)
    assert all(np.isfinite(array).all() for name, array in rates.items() if name != "history")
