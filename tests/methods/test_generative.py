"""Neuroformer's generative head: its probabilities against enumeration and sampling, its losses, its attention."""

from itertools import product

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is an extra (pip install torch at the pin in pyproject.toml)")

from nlbflow.methods.networks.common import TimeSteps
from nlbflow.methods.networks.generative import (
    Windows,
    alike,
    attention_map,
    generative_loss,
    log_likelihoods,
    log_shares,
    longest_sequence,
    parts_of,
    poisson_log_likelihoods,
    windows_of,
)
from nlbflow.methods.networks.neuroformer import token_losses
from nlbflow.methods.networks.tokens import Tokens, tokens_of
from small_neuroformer import AHEAD, BINS, HELDIN, LENGTH, NEURONS, drawn_counts, network


@pytest.fixture
def counts():
    return drawn_counts()


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


def test_a_window_alone_has_the_same_likelihood(counts):
    net, heldin, windows = network(), counts[:, :BINS, :HELDIN], windows_of(counts, TimeSteps(BINS, AHEAD, LENGTH))
    together = log_likelihoods(net, heldin, windows)
    alone = [log_likelihoods(net, heldin, windows.select(torch.tensor([row]))) for row in range(len(together))]
    np.testing.assert_allclose(torch.cat(alone), together, rtol=1e-5, atol=1e-5)


def test_windows_of_like_length_are_padded_together():
    sizes = torch.tensor([40, 883, 0, 441, 442, 33, 64, 900, 31])
    # each down to half of the one before; of 64 tokens or fewer all are alike
    assert [rows.tolist() for rows in alike(sizes)] == [[1, 7], [3, 4], [0, 2, 5, 6, 8]]
    # no more at once than there is room for
    assert [len(rows) for rows in alike(torch.full((5,), 1023))] == [2, 2, 1]


@pytest.mark.parametrize("short", [1, 4])
def test_groups_of_windows_change_neither_likelihoods_nor_losses_nor_attention(counts, monkeypatch, short):
    """In as many groups as there are powers of two, and a few windows at a time."""
    net, heldin, windows = network(), counts[:, :BINS, :HELDIN], windows_of(counts, TimeSteps(BINS, AHEAD, LENGTH))

    def found():
        return (
            log_likelihoods(net, heldin, windows), attention_map(net, heldin, windows),
            *(generative_loss(net, heldin, windows, longest) for longest in (3, 100)),
        )  # fmt: skip

    expected = found()
    monkeypatch.setattr("nlbflow.methods.networks.generative.SHORT", short)
    monkeypatch.setattr("nlbflow.methods.networks.generative.PAIRS", 500)
    groups = list(parts_of(heldin, windows))
    assert len(groups) > 3 and sorted(torch.cat([rows for rows, _, _ in groups]).tolist()) == list(range(25))
    for one, other in zip(found(), expected, strict=True):
        np.testing.assert_allclose(one.detach(), other.detach(), rtol=1e-4, atol=1e-6)


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
    """Within a step attention is even here, before it by the offset alone: what the map should be can be counted up."""
    net, heldin = network(generative_layers=1, blocks=1), counts[:, :BINS, :HELDIN]
    for module in net.modules():
        if hasattr(module, "queries_keys_values"):
            module.queries_keys_values.weight.data.zero_(), module.queries_keys_values.bias.data.zero_()
    cross = net.blocks[0].cross
    cross.queries.weight.data.zero_(), cross.queries.bias.data.zero_()
    cross.preference.weight.data.mul_(5)
    preferred = cross.preference.weight.detach().double().numpy()
    windows = windows_of(counts, TimeSteps(BINS, AHEAD, LENGTH))
    tokens, context = windows.tokens, tokens_of(heldin)
    places, there = net.before_steps(context, windows.at)
    weight, pairs = np.zeros((2, NEURONS, NEURONS))
    for row in range(len(there)):
        trial, step = windows.at[:, row].tolist()
        sequence = tokens.neurons[row, : tokens.before[row, -1]].tolist()
        near = places[row, there[row]]
        seen, offsets = context.neurons[trial, near].tolist(), context.bins[trial, near] - step * LENGTH + net.before
        scores = np.exp(preferred[[*offsets.tolist(), len(preferred) - 1]])
        shares = (scores / scores.sum(axis=0)).mean(axis=1) * len(scores)
        for place, told in enumerate(sequence):
            for layers, columns, relative in ((2, sequence[:place], [1.0] * place), (1, seen, shares)):
                for column, attended in zip(columns, relative, strict=False):
                    weight[told, column] += layers * attended
                    pairs[told, column] += layers
    expected = weight / np.maximum(pairs, 1)
    assert expected[:, :HELDIN].std() > 0.01
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


def test_the_loss_weighs_neurons_and_bins_as_published(counts):
    """A mean over tokens and ends by neuron, over tokens by bin, at 3 to 2."""
    net, heldin = network(), counts[:, :BINS, :HELDIN]
    windows = windows_of(counts, TimeSteps(BINS, AHEAD, LENGTH))
    logits = net.next_logits(heldin, windows.tokens, windows.at)
    by_neuron, by_bin = (loss.sum() for loss in token_losses(logits, windows.tokens, True))
    tokens, ends = counts.sum(), len(windows.at[0])
    expected = 0.6 * by_neuron / (tokens + ends) + 0.4 * by_bin / tokens
    found = generative_loss(net, heldin, windows, longest_sequence(windows))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_shares_of_tokens_and_ends():
    windows = torch.zeros(4, 2, 3)
    windows[0, 0, 1], windows[1, 1, 1], windows[2, 0, 2] = 3, 1, 2
    expected = np.array([0, 4, 2, 4]) + 0.5
    np.testing.assert_allclose(log_shares(tokens_of(windows), 3).exp(), expected / expected.sum(), rtol=1e-6)
