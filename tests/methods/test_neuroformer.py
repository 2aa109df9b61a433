"""Neuroformer: tokens, what a step sees, what it learns, and the model's contract."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is an extra (pip install torch at the pin in pyproject.toml)")

from nlbflow.errors import NlbflowError
from nlbflow.methods.networks.tokens import Tokens, reach, tokens_of
from nlbflow.metrics.formulas import bits_per_spike
from nlbflow.models.contract import check_model, run_model, tiny_input
from small_neuroformer import BINS, HELDIN, LENGTH, MODEL, NEURONS, PATH, drawn_counts, network


@pytest.fixture
def counts():
    return drawn_counts()


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


def test_permuted_neurons_permute_the_rates(counts):
    net, heldin = network(), counts[:, :BINS, :HELDIN]
    expected = net(heldin)[0].detach()
    order = torch.randperm(HELDIN)
    whole = torch.cat([order, torch.arange(HELDIN, NEURONS)])
    net.embedding.weight.data = net.embedding.weight.data[whole]
    rates = net.readout.rates
    rates.weight.data, rates.bias.data = rates.weight.data[whole], rates.bias.data[whole]
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
        states, found = [], net.readout.bottleneck
        hook = found.register_forward_hook(lambda _, given, __, to=states: to.append(given[0].detach()))
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


def test_rates_of_noise_are_not_copied_from_its_own_counts():
    """Held-in neurons that nothing tells of: what was hidden alone is learnt from, so their rates stay constant."""
    data, rng = tiny_input(), np.random.default_rng(0)
    data.train_spikes_heldin = rng.poisson(0.5, (40, 20, 10)).astype(np.float32)
    data.train_spikes_heldout = rng.poisson(0.5, (40, 20, 4)).astype(np.float32)
    data.train_spikes_heldin_forward = data.train_spikes_heldout_forward = None
    small = {"step_ms": 5, "context_ms": 0, "blocks": 1, "epochs": 40, "generative_weight": 0.0, "refit": False}
    found = MODEL.predict(data, {**MODEL.DEFAULTS, **small, "validation_every_trials": 2, "device": "cpu"}, 0)
    rates, counts = found["train_rates_heldin"], data.train_spikes_heldin
    assert abs(np.corrcoef(np.log(rates).ravel(), counts.ravel())[0, 1]) < 0.2
