"""Neuroformer: tokens, causality, and the generative head's probabilities against enumeration and sampling."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is an extra (pip install torch at the pin in pyproject.toml)")

from nlbflow.errors import NlbflowError
from nlbflow.methods.networks.common import TimeSteps
from nlbflow.methods.networks.generative import (
    Windows,
    attention_map,
    generative_loss,
    log_likelihoods,
    longest_sequence,
    poisson_log_likelihoods,
    windows_of,
)
from nlbflow.methods.networks.neuroformer import Neuroformer, token_losses
from nlbflow.methods.networks.tokens import Tokens, reach, tokens_of
from nlbflow.metrics.formulas import bits_per_spike
from nlbflow.models.contract import check_model, load_model, run_model, tiny_input

PATH = Path(__file__).parents[2] / "scripts/models/neuroformer.py"
MODEL = load_model(PATH)
HELDIN, NEURONS, BINS, AHEAD, LENGTH = 4, 6, 16, 4, 4


def params(**changed) -> dict:
    return {**MODEL.DEFAULTS, **MODEL.CHECK, "blocks": 2, "context_ms": 30, **changed}


def network(
    neurons: int = NEURONS, length: int = LENGTH, bins: int = BINS, ahead: int = AHEAD, **changed
) -> Neuroformer:
    """A network at bins of 5 ms whose weights are all drawn, in evaluation mode."""
    torch.manual_seed(0)
    net = Neuroformer(TimeSteps(bins, ahead, length), neurons, 5, params(**changed)).eval()
    for weight in net.parameters():
        weight.data.copy_(torch.randn_like(weight) * 0.3)
    return net


@pytest.fixture
def counts():
    torch.manual_seed(1)
    return torch.poisson(torch.full((5, BINS + AHEAD, NEURONS), 0.6))


def test_tokens_are_the_spikes_in_order():
    counts = torch.zeros(3, 4, 3)
    counts[0, 1, 2], counts[0, 1, 0], counts[0, 3, 1], counts[2, 0, 0] = 2, 1, 1, 1
    tokens = tokens_of(counts)
    assert tokens.neurons.tolist() == [[0, 2, 2, 1], [0] * 4, [0] * 4]
    assert tokens.bins.tolist() == [[1, 1, 1, 3], [0] * 4, [0] * 4]
    assert tokens.before.tolist() == [[0, 0, 3, 3, 4], [0] * 5, [0, 1, 1, 1, 1]]
    assert tokens.present.sum(dim=1).tolist() == [4, 0, 1]
    places, there = reach(tokens, torch.tensor([-3, 1, 2]), torch.tensor([1, 3, 9]))
    assert there.sum(dim=2).tolist() == [[0, 3, 1], [0, 0, 0], [1, 0, 0]]
    assert places[0, 1].tolist() == [0, 1, 2] and places[0, 2, 0] == 3


def test_windows_hold_whole_recorded_steps(counts):
    counts[3, 17] = float("nan")
    steps = TimeSteps(BINS, AHEAD - 1, LENGTH)
    windows = windows_of(counts[:, : BINS + AHEAD - 1], steps)
    # the last step lacks a bin
    assert set(windows.at[1].tolist()) == {0, 1, 2, 3}
    windows = windows_of(counts, TimeSteps(BINS, AHEAD, LENGTH))
    known = [(trial, step) for trial, step in product(range(5), range(5)) if (trial, step) != (3, 4)]
    assert windows.at.T.tolist() == [list(each) for each in known]
    for size, (trial, step) in zip(windows.tokens.before[:, -1], known, strict=True):
        assert size == counts[trial, step * LENGTH : (step + 1) * LENGTH].sum()


@pytest.mark.parametrize("changed", [{}, {"context_ms": -1}, {"causal": True}])
def test_a_batch_gives_what_each_trial_gives_alone(counts, changed):
    net, heldin = network(**changed), counts[:, :BINS, :HELDIN]
    heldin[2] = 0
    log_rates, latents = net(heldin)
    for trial in range(len(heldin)):
        alone = net(heldin[trial : trial + 1])
        np.testing.assert_allclose(alone[0].detach(), log_rates[trial : trial + 1].detach(), atol=1e-5)
        np.testing.assert_allclose(alone[1].detach(), latents[trial : trial + 1].detach(), atol=1e-5)
    assert len({tuple(row.flatten().tolist()) for row in log_rates.detach()}) == len(heldin)


def test_a_window_alone_has_the_same_likelihood(counts):
    net, heldin, windows = network(), counts[:, :BINS, :HELDIN], windows_of(counts, TimeSteps(BINS, AHEAD, LENGTH))
    together = log_likelihoods(net, heldin, windows)
    alone = [log_likelihoods(net, heldin, windows.select(torch.tensor([row]))) for row in range(len(together))]
    np.testing.assert_allclose(torch.cat(alone), together, rtol=1e-5, atol=1e-5)


def test_no_more_trials_are_encoded_than_those_of_the_windows(counts, monkeypatch):
    """Keys and values for all trials at once would take gigabytes on a large data set."""
    net, heldin, windows = network(), counts[:, :BINS, :HELDIN], windows_of(counts, TimeSteps(BINS, AHEAD, LENGTH))
    expected, shown, encoded = log_likelihoods(net, heldin, windows), attention_map(net, heldin, windows), []
    contexts = net.contexts
    monkeypatch.setattr("nlbflow.methods.networks.generative.WINDOWS", 7)
    monkeypatch.setattr(net, "contexts", lambda tokens: encoded.append(len(tokens.bins)) or contexts(tokens))
    np.testing.assert_allclose(log_likelihoods(net, heldin, windows), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(attention_map(net, heldin, windows), shown, rtol=1e-4, atol=1e-6)
    # of 5 steps each
    assert max(encoded) == 3


def test_losses_of_spikes_are_computed_in_full_precision(counts):
    net, windows = network(), windows_of(counts, TimeSteps(BINS, AHEAD, LENGTH))
    with torch.autocast("cpu", torch.bfloat16):
        logits = net.next_logits(counts[:, :BINS, :HELDIN], windows.tokens, windows.at)
    assert all(found.dtype == torch.float32 for found in logits)


def test_permuted_neurons_permute_the_rates(counts):
    net, heldin = network(), counts[:, :BINS, :HELDIN]
    expected = net(heldin)[0].detach()
    order = torch.randperm(HELDIN)
    whole = torch.cat([order, torch.arange(HELDIN, NEURONS)])
    net.embedding.weight.data = net.embedding.weight.data[whole]
    net.readout.weight.data, net.readout.bias.data = net.readout.weight.data[whole], net.readout.bias.data[whole]
    np.testing.assert_allclose(net(heldin[..., order])[0].detach(), expected[..., whole], atol=1e-5)


def test_spikes_are_a_set_to_the_queries(counts):
    net, heldin = network(), counts[:, :BINS, :HELDIN]
    expected, tokens = net(heldin)[0].detach(), tokens_of(heldin)
    order = torch.randperm(tokens.neurons.shape[1])

    class Shuffled(Tokens):
        present = property(lambda self: tokens.present[:, order])

    with pytest.MonkeyPatch.context() as patch:
        mixed = Shuffled(tokens.neurons[:, order], tokens.bins[:, order], tokens.before)
        patch.setattr("nlbflow.methods.networks.neuroformer.tokens_of", lambda counts: mixed)
        np.testing.assert_allclose(net(heldin)[0].detach(), expected, atol=1e-5)


def test_a_step_sees_its_context_and_a_causal_one_no_later_spike(counts):
    """Without self-attention between steps, spikes reach as far as `context_ms`; causal steps never look ahead."""
    heldin = counts[:1, :BINS, :HELDIN]
    for causal in (False, True):
        net = network(causal=causal, context_ms=20)
        if not causal:
            net.allowed.copy_(torch.eye(5, dtype=torch.bool))
        states = []
        hook = net.bottleneck.register_forward_hook(lambda _, given, __, to=states: to.append(given[0].detach()))
        net(heldin)
        for bin_ in range(BINS):
            changed = heldin.clone()
            changed[0, bin_] += torch.tensor([2.0, 0, 1, 0])
            net(changed)
            reached = ((states[-1] - states[0]).abs() > 1e-6)[0].any(dim=1).tolist()
            first = np.arange(5) * LENGTH
            if causal:
                # at once or, through the self-attention of later steps, for ever
                assert reached == [step >= bin_ // LENGTH for step in range(5)]
            else:
                assert reached == ((first - 4 <= bin_) & (bin_ < first + LENGTH + 4)).tolist()
        hook.remove()


def test_without_limit_every_step_sees_every_spike(counts):
    net, heldin = network(context_ms=-1, ahead=2 * LENGTH), counts[:1, :BINS, :HELDIN]
    assert net.near.all()
    # the generative head too: of a forward step all observed spikes are before it
    _, there = net.before_steps(tokens_of(heldin), torch.tensor([[0], [5]]))
    assert there.sum() == heldin.sum()


def test_no_spike_changes_the_probabilities_before_it(counts):
    """Changing a spike of a step changes no logit up to its own; changing the held-in counts of the step or of later
    ones, none at all."""
    net, heldin = network(), counts[:, :BINS, :HELDIN]
    windows = windows_of(counts, TimeSteps(BINS, AHEAD, LENGTH))
    neurons, bins = (logits.detach() for logits in net.next_logits(heldin, windows.tokens, windows.at))
    for place in range(windows.tokens.neurons.shape[1]):
        changed = windows.tokens.neurons.clone()
        changed[:, place] = (changed[:, place] + 1) % NEURONS
        tokens = Tokens(changed, windows.tokens.bins, windows.tokens.before)
        found = net.next_logits(heldin, tokens, windows.at)
        for one, other in zip(found, (neurons, bins), strict=True):
            np.testing.assert_allclose(one[:, : place + 1].detach(), other[:, : place + 1], atol=1e-6)
            assert (one[:, place + 1] - other[:, place + 1]).abs().max() > 1e-4
    for step in range(BINS // LENGTH):
        changed = heldin.clone()
        changed[:, step * LENGTH :] = torch.poisson(changed[:, step * LENGTH :] + 1)
        there = windows.at[1] <= step
        found = net.next_logits(changed, windows.tokens, windows.at)[0].detach()
        np.testing.assert_allclose(found[there], neurons[there], atol=1e-5)
        assert (found[windows.at[1] == step + 1] - neurons[windows.at[1] == step + 1]).abs().max() > 1e-4


def all_windows(most: int) -> tuple[torch.Tensor, list[np.ndarray]]:
    """Counts (windows, 2 bins, 2 neurons) of at most so many spikes, each once."""
    found = [np.array(c).reshape(2, 2) for c in product(range(most + 1), repeat=4) if sum(c) <= most]
    return torch.tensor(np.stack(found), dtype=torch.float32), found


@pytest.fixture
def small():
    """A network of two neurons with steps of two bins, and held-in counts of one trial of 6 bins."""
    net = network(neurons=2, length=2, bins=6, ahead=0)
    # steps end so soon that most of the probability is in few spikes, and not all of it in none
    net.next_neuron.bias.data[-1] -= 0.5
    return net, torch.tensor([[[1.0, 0], [0, 2], [1, 1], [0, 0], [0, 1], [1, 0]]])


def in_step(counts: torch.Tensor, step: int = 1) -> Windows:
    at = torch.tensor([[0], [step]]).expand(2, len(counts))
    return Windows(tokens_of(counts), at)


def sample(net, heldin, number: int, generator) -> tuple[np.ndarray, np.ndarray]:
    """Counts (windows, 2 bins, 2 neurons) drawn spike by spike in step 1, and whether they ended within 6 spikes."""
    counts, going = np.zeros((number, 2, 2)), np.ones(number, bool)
    drawn = np.zeros((number, 0, 2), int)  # neuron and bin of each spike
    for length in range(7):
        # the same spikes so far have the same next ones
        prefixes, of = np.unique(drawn.reshape(number, -1), axis=0, return_inverse=True)
        sequence = torch.tensor(prefixes.reshape(len(prefixes), length, 2))
        size = torch.full((len(prefixes),), length)
        tokens = Tokens(sequence[..., 0], sequence[..., 1], torch.stack([size * 0, size * 0, size], dim=1))
        at = torch.tensor([[0], [1]]).expand(2, len(prefixes))
        with torch.no_grad():
            logits = net.next_logits(heldin, tokens, at)
        weight, by_bin = (np.exp(found[:, -1].double().numpy())[of.ravel()] for found in logits)
        going &= generator.random(number) >= weight[:, -1] / weight.sum(axis=1)
        if length == 6:
            break
        neuron, bin_ = drawn[:, -1].T if length else np.zeros((2, number), int)
        by_bin = by_bin * (np.arange(2) >= bin_[:, None])
        next_bin = (generator.random(number) > by_bin[:, 0] / by_bin.sum(axis=1)).astype(int)
        by_neuron = weight[:, :-1] * ((np.arange(2) >= neuron[:, None]) | (next_bin != bin_)[:, None])
        neuron = (generator.random(number) > by_neuron[:, 0] / by_neuron.sum(axis=1)).astype(int)
        counts[np.flatnonzero(going), next_bin[going], neuron[going]] += 1
        drawn = np.concatenate([drawn, np.stack([neuron, next_bin], axis=1)[:, None]], axis=1)
    return counts, ~going


def test_likelihood_is_the_enumerated_probability(small):
    """Over all counts of up to 6 spikes the probabilities sum to 1 less that of more; samples drawn spike by spike
    have the same expected counts."""
    net, heldin = small
    counts, _ = all_windows(6)
    chance = log_likelihoods(net, heldin, in_step(counts)).double().exp()
    drawn, ended = sample(net, heldin, 100_000, np.random.default_rng(0))
    error = np.sqrt(ended.mean() * (1 - ended.mean()) / len(ended))
    assert 0.9 < chance.sum() < 0.9999
    assert abs(chance.sum() - ended.mean()) < 4 * error
    expected = (chance[:, None, None] * counts).sum(dim=0).numpy()
    kept = drawn * ended[:, None, None]
    assert (abs(kept.mean(axis=0) - expected) < 4 * kept.std(axis=0) / np.sqrt(len(kept))).all()


def test_probabilities_fill_the_whole_where_no_more_can_come(small):
    """With a step that must have ended after 6 spikes nothing is missing; without the order's mask much is."""
    net, heldin = small
    counts, _ = all_windows(6)
    windows = in_step(counts)
    logits = [value.detach().double() for value in net.next_logits(heldin, windows.tokens, windows.at)]
    logits[0][:, 6, :-1] = -1e9
    for canonical in (True, False):
        by_neuron, by_bin = token_losses(tuple(logits), windows.tokens, canonical)
        whole = (-(by_neuron + by_bin).sum(dim=1)).exp().sum().item()
        if canonical:
            assert whole == pytest.approx(1, abs=1e-6)
        else:
            assert whole < 0.97


def test_constant_logits_give_geometric_counts(small):
    """A step ends with the same chance after each spike: so many spikes come as failures before a success."""
    net, heldin = small
    for linear in (net.next_neuron, net.next_bin):
        linear.weight.data.zero_()
        linear.bias.data.zero_()
    end = 0.3
    net.next_neuron.bias.data[-1] = np.log(end / (1 - end) * 2)
    counts, found = all_windows(6)
    chance = log_likelihoods(net, heldin, in_step(counts)).exp().numpy()
    spikes = np.array([each.sum() for each in found])
    for number in range(7):
        assert chance[spikes == number].sum() == pytest.approx(end * (1 - end) ** number, rel=1e-5)


def test_unmasked_losses_are_the_published_cross_entropies(counts):
    net = network(canonical=False)
    windows = windows_of(counts, TimeSteps(BINS, AHEAD, LENGTH))
    logits = net.next_logits(counts[:, :BINS, :HELDIN], windows.tokens, windows.at)
    by_neuron, by_bin = token_losses(logits, windows.tokens, False)
    row = int(windows.tokens.before[:, -1].argmax())
    size = int(windows.tokens.before[row, -1])
    target = torch.cat([windows.tokens.neurons[row, :size], torch.tensor([NEURONS])])
    cross = torch.nn.functional.cross_entropy
    expected = cross(logits[0][row, : size + 1], target, reduction="none")
    np.testing.assert_allclose(by_neuron[row, : size + 1].detach(), expected.detach(), rtol=1e-5)
    expected = cross(logits[1][row, :size], windows.tokens.bins[row, :size], reduction="none")
    np.testing.assert_allclose(by_bin[row, :size].detach(), expected.detach(), rtol=1e-5)
    assert (by_neuron[row, size + 1 :] == 0).all() and (by_bin[row, size:] == 0).all()


def test_a_cut_window_is_scored_up_to_its_cut(counts):
    net, heldin = network(), counts[:, :BINS, :HELDIN]
    windows = windows_of(counts, TimeSteps(BINS, AHEAD, LENGTH))
    row = windows.tokens.before[:, -1].argmax()
    one = windows.select(row[None])
    cut = one.tokens.cut(3)
    losses = token_losses(net.next_logits(heldin, cut, one.at), cut, True)
    whole = token_losses(net.next_logits(heldin, one.tokens, one.at), one.tokens, True)
    for some, all_ in zip(losses, whole, strict=True):
        np.testing.assert_allclose(some[0, :3].detach(), all_[0, :3].detach(), rtol=1e-4)
        assert some[0, 3] == 0
    sizes = windows.tokens.before[:, -1]
    assert longest_sequence(windows) == sizes.max()
    assert generative_loss(net, heldin, windows, 3) > 0


def test_poisson_likelihood_is_that_of_independent_counts(counts):
    counts[1, 18] = float("nan")
    steps, log_rates = TimeSteps(BINS, AHEAD, LENGTH), torch.randn(5, BINS + AHEAD, NEURONS)
    windows = windows_of(counts, steps)
    found = poisson_log_likelihoods(log_rates, windows, counts.nan_to_num(), steps)
    for value, (trial, step) in zip(found, windows.at.T, strict=True):
        part = trial, slice(step * LENGTH, (step + 1) * LENGTH)
        expected = torch.distributions.Poisson(log_rates[part].exp()).log_prob(counts[part]).sum()
        assert value.item() == pytest.approx(expected.item(), rel=1e-5)


def test_attention_map_is_the_mean_over_pairs(counts):
    """With attention spread evenly over what can be seen, the map says how many could: nothing where no pair was."""
    net, heldin = network(generative_layers=1, blocks=1), counts[:, :BINS, :HELDIN]
    for module in net.modules():
        if hasattr(module, "queries_keys_values"):
            module.queries_keys_values.weight.data.zero_(), module.queries_keys_values.bias.data.zero_()
    block = net.blocks[0].cross
    for weight in (block.queries.weight, block.queries.bias, block.preference.weight):
        weight.data.zero_()
    windows = windows_of(counts, TimeSteps(BINS, AHEAD, LENGTH))
    tokens, context = windows.tokens, tokens_of(heldin)
    places, there = net.before_steps(context, windows.at)
    weight, pairs = np.zeros((2, NEURONS, NEURONS))
    for row in range(len(there)):
        sequence = tokens.neurons[row, : tokens.before[row, -1]].tolist()
        seen = context.neurons[windows.at[0, row], places[row, there[row]]].tolist()
        for place, told in enumerate(sequence):
            for layers, columns, share in ((2, sequence[:place], 1 / (place + 1)), (1, seen, 1 / (len(seen) + 1))):
                for column in columns:
                    weight[told, column] += layers * share
                    pairs[told, column] += layers
    expected = weight / np.maximum(pairs, 1)
    np.testing.assert_allclose(attention_map(net, heldin, windows), expected, rtol=1e-4, atol=1e-6)


def test_running_sums_are_of_whole_numbers(counts, monkeypatch):
    """Of other numbers they are refused on GPUs where results must be reproducible, after all of the training."""
    cumsum = torch.Tensor.cumsum

    def refuse(values, *args, **named):
        assert not values.is_floating_point()
        return cumsum(values, *args, **named)

    monkeypatch.setattr(torch.Tensor, "cumsum", refuse)
    heldin, windows = counts[:, :BINS, :HELDIN], windows_of(counts, TimeSteps(BINS, AHEAD, LENGTH))
    assert attention_map(network(), heldin, windows).isfinite().all()


def test_answers_are_no_input_and_hidden_spikes_no_tokens():
    """Held-out counts change what is learnt, not what is seen; what was hidden is set to 0, so it is no token."""
    net, heldin = network(), torch.poisson(torch.full((3, BINS, HELDIN), 0.8))
    hidden = torch.rand_like(heldin) < 0.5
    assert tokens_of(heldin * ~hidden).before[:, -1].tolist() == (heldin * ~hidden).sum(dim=(1, 2)).tolist()
    assert not torch.equal(net(heldin * ~hidden, 0.5)[0], net(heldin * ~hidden, 0.2)[0])
    data = tiny_input()
    small = {**MODEL.DEFAULTS, **MODEL.CHECK}
    arrays, facts = run_model(PATH, "neuroformer", data, small, 0)
    assert facts["validation_co_bps"] < 0.5 and np.isfinite(facts["generative_bits"])
    again, _ = run_model(PATH, "neuroformer", data, small, 0)
    assert all((arrays[name] == again[name]).all() for name in arrays if name != "history")


def test_without_the_generative_part_there_is_no_attention_to_show():
    alone = {**MODEL.DEFAULTS, **MODEL.CHECK, "pretrain_epochs": 0, "generative_weight": 0.0}
    arrays, facts = run_model(PATH, "neuroformer", tiny_input(), alone, 0)
    assert "neuron_similarity" not in arrays and "generative_bits" not in facts


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"input_dropout_most": 1.0}, "only hidden entries teach"),
        ({"heads": 3}, "that its heads divide"),
        ({"heads": 0}, "that its heads divide"),
        ({"generative_share": 0}, "a generative_share above 0"),
        ({"patience": 1}, "a patience of more than pretrain_epochs"),
        ({"step_ms": 105}, "within the observed window of 100 ms"),
    ],
)
def test_parameters_out_of_range(wrong, sentence):
    with pytest.raises(NlbflowError, match=sentence):
        MODEL.predict(tiny_input(), {**MODEL.DEFAULTS, **MODEL.CHECK, **wrong}, 0)


def test_contract(tmp_path):
    check_model(PATH, "neuroformer", {**MODEL.DEFAULTS, **MODEL.CHECK})


def test_it_learns_both_what_rates_are_and_which_spike_comes_next():
    """Two groups of neurons that fire by turns: held-out rates are told, and the next spike better than by its mean."""
    rng = np.random.default_rng(0)
    trials, evaluated, bins, heldin, neurons = 60, 30, 20, 20, 24
    phase = rng.uniform(0, 2 * np.pi, (trials + evaluated, 1)) + np.linspace(0, 6, bins)
    rates = 0.25 * np.exp(np.sin(phase)[..., None] * np.where(np.arange(neurons) % 2, 1.5, -1.5))
    spikes = rng.poisson(rates).astype(np.float32)
    data = tiny_input()
    data.train_spikes_heldin, data.train_spikes_heldout = np.split(spikes[:trials], [heldin], axis=2)
    data.train_spikes_heldin_forward = data.train_spikes_heldout_forward = None
    data.eval_spikes_heldin = spikes[trials:, :, :heldin]
    small = {"width": 32, "hidden": 64, "blocks": 1, "step_ms": 10, "context_ms": 30, "epochs": 25, "refit": False,
             "generative_weight": 1.0, "generative_share": 0.5, "device": "cpu"}  # fmt: skip
    found = MODEL.predict(data, {**MODEL.DEFAULTS, **small}, 0)
    truth, counts = rates[trials:, :, heldin:], spikes[trials:, :, heldin:]
    assert bits_per_spike(found["eval_rates_heldout"], counts) > 0.7 * bits_per_spike(truth, counts)
    assert found["facts"]["generative_bits"] > 0.05
    # neurons of a group tell of each other, so they are attended to more
    same = np.equal.outer(np.arange(neurons) % 2, np.arange(neurons) % 2) & ~np.eye(neurons, dtype=bool)
    shown = found["neuron_similarity"]
    assert shown[same].mean() > 1.05 * shown[~same & ~np.eye(neurons, dtype=bool)].mean()
