"""Mixture of memories: against its recurrence and attention, routing, and the segmentation that it shows."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is an extra (pip install torch at the pin in pyproject.toml)")

from nlbflow.errors import NlbflowError
from nlbflow.methods.networks.common import TimeSteps
from nlbflow.methods.networks.coordinated import task_of
from nlbflow.methods.networks.mom import Memories, MixtureOfMemories, imbalance, route
from nlbflow.models.contract import load_model, tiny_input

MODEL = load_model(Path(__file__).parents[2] / "scripts/models/mom.py")
TRIALS, STEPS, WIDTH = 6, 11, 12


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def recurrence(memories: Memories, x: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What each step reads (trials, steps, heads, dims), and all memories after each step, one step after another."""
    count, heads, dims = memories.sizes
    shape = TRIALS, STEPS, count, heads, dims
    queries = torch.nn.functional.normalize(memories.queries(x).reshape(TRIALS, STEPS, heads, dims), dim=3)
    keys, values = (part.reshape(shape) for part in memories.keys_values(x).chunk(2, dim=2))
    keys, keep = torch.nn.functional.normalize(keys, dim=4), torch.sigmoid(memories.keep(x)).reshape(shape[:-1])
    memory, reads, states = torch.zeros(TRIALS, *shape[2:], dims), [], []
    for t in range(STEPS):
        for trial, m, head in np.ndindex(TRIALS, count, heads):
            weight = weights[trial, t, m]
            written = weight * torch.outer(keys[trial, t, m, head], values[trial, t, m, head])
            memory[trial, m, head] = keep[trial, t, m, head] ** weight * memory[trial, m, head] + written
        states.append(memory.clone())
        reads.append(torch.einsum("nhd,nmhde,nm->nhe", queries[:, t], memory, weights[:, t]))
    return torch.stack(reads, dim=1), torch.stack(states, dim=1)


@pytest.fixture
def routed():
    """Memories, features, and weights by which each step is sent to one of three."""
    weights, _ = route(2 * torch.randn(TRIALS, STEPS, 3), 1)
    return Memories(WIDTH, 3, 2, 4), torch.randn(TRIALS, STEPS, WIDTH), weights


@torch.no_grad()
def test_all_reads_at_once_are_those_of_the_recurrence(routed):
    memories, x, weights = routed
    for some in (weights, torch.rand_like(weights)):
        np.testing.assert_allclose(memories.read(x, some), recurrence(memories, x, some)[0], atol=1e-6)


@torch.no_grad()
def test_one_memory_that_forgets_nothing_is_linear_attention():
    memories, x = Memories(WIDTH, 1, 2, 4), torch.randn(TRIALS, STEPS, WIDTH)
    memories.keep.bias += 100
    queries = memories.queries(x).reshape(TRIALS, STEPS, 2, 4)
    keys, values = (part.reshape(TRIALS, STEPS, 2, 4) for part in memories.keys_values(x).chunk(2, dim=2))
    queries, keys = (array / array.norm(dim=3, keepdim=True) for array in (queries, keys))
    scores = torch.einsum("nthd,nshd->nhts", queries, keys).tril()
    expected = torch.einsum("nhts,nshe->nthe", scores, values)
    weights, _ = route(torch.randn(TRIALS, STEPS, 1), 1)
    np.testing.assert_allclose(memories.read(x, weights), expected, atol=1e-6)


@torch.no_grad()
def test_memories_that_a_step_is_not_sent_to_stay_bit_for_bit(routed):
    memories, x, weights = routed
    _, states = recurrence(memories, x, weights)
    unchosen = weights[:, 1:] == 0
    assert 0.6 < unchosen.float().mean() < 0.7
    assert torch.equal(states[:, 1:][unchosen], states[:, :-1][unchosen])
    assert (states[:, 1:][~unchosen] != states[:, :-1][~unchosen]).any(dim=(1, 2, 3)).all()
    # so what others read does not depend on the step
    moved, step = x.clone(), 4
    moved[:, step] += torch.randn(TRIALS, WIDTH)
    same = (memories.read(moved, weights) == memories.read(x, weights)).all(dim=(2, 3))
    elsewhere = weights.argmax(dim=2) != weights[:, step].argmax(dim=1, keepdim=True)
    expected = elsewhere | (torch.arange(STEPS) < step)
    assert torch.equal(same, expected) and expected[:, step + 1 :].any() and not expected[:, step + 1 :].all()


@torch.no_grad()
def test_a_reversed_memory_goes_from_the_last_step_to_the_first(routed):
    memories, x, weights = routed
    forward = memories(x.flip(1), weights.flip(1)).flip(1)
    assert not torch.equal(memories(x, weights), forward)
    memories.reverse = True
    assert torch.equal(memories(x, weights), forward)


@pytest.mark.parametrize("chosen", [1, 2, 4])
def test_weights_add_up_to_one_over_the_likeliest(chosen):
    logits = torch.randn(50, 7, 4)
    weights, shares = route(logits, chosen)
    assert ((weights > 0).sum(dim=2) == chosen).all()
    np.testing.assert_allclose(weights.sum(dim=2), 1, atol=1e-6)
    kept = torch.where(weights > 0, shares, 0)
    np.testing.assert_allclose(weights, kept / kept.sum(dim=2, keepdim=True), atol=1e-6)
    assert (kept.sum(dim=2) >= shares.sort(dim=2, descending=True).values[..., :chosen].sum(dim=2) - 1e-6).all()


@pytest.mark.parametrize("chosen", [1, 2])
def test_imbalance_is_the_number_of_chosen_ones_where_all_are_used_alike_and_of_memories_where_one_is(chosen):
    memories = 4
    alike = torch.full((8, 10, memories), 1 / memories)
    used = torch.stack([torch.arange(memories).roll(i) < chosen for i in range(memories)]).float() / chosen
    assert imbalance(used.repeat(20, 1).reshape(8, 10, memories), alike).item() == pytest.approx(chosen)
    collapsed = route(torch.tensor([40.0, 0.0, -1.0, -2.0]).expand(8, 10, memories), chosen)
    assert imbalance(*collapsed).item() == pytest.approx(memories)


def network(**changes) -> MixtureOfMemories:
    params = {**MODEL.DEFAULTS, "width": WIDTH, "hidden": 20, "dims": 4, "dropout": 0.0, **changes}
    return MixtureOfMemories(TimeSteps(2 * STEPS, 4, 2), 5, 9, params)


def test_permuting_memories_with_their_weights_changes_nothing():
    net, other, order = network(), network(), torch.tensor([2, 0, 3, 1])
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with_shared = torch.cat([order, torch.tensor([4])])
    for name, tensor in state.items():
        if name.startswith("router"):
            state[name] = tensor[order]
        if "keys_values" in name or "keep" in name:
            parts = tensor.unflatten(0, (2 if "values" in name else 1, 5, -1))
            state[name] = parts[:, with_shared].flatten(0, 2)
    other.load_state_dict(state)
    counts = torch.poisson(torch.ones(3, 2 * STEPS, 5))
    np.testing.assert_allclose(other(counts)[0].detach(), net(counts)[0].detach(), atol=1e-5)
    assert torch.equal(order[other.segments(counts)], net.segments(counts))
    assert len(net.segments(counts).unique()) > 1


@pytest.mark.parametrize("chosen", [1, 2])
def test_the_gradient_of_the_rates_reaches_the_router(chosen):
    net = network(chosen=chosen)
    net(torch.poisson(torch.ones(3, 2 * STEPS, 5)))[0].square().sum().backward()
    assert (net.router.weight.grad.abs().sum(dim=1) > 1e-4).all()


def test_balance_keeps_memories_in_use():
    """Of a router that begins by sending all steps to one memory."""
    data = tiny_input()

    def build(*args):
        net = MixtureOfMemories(*args)
        with torch.no_grad():
            net.router.bias[0] += 6
        return net

    def largest_share(balance):
        params = {**MODEL.DEFAULTS, **MODEL.CHECK, "balance": balance, "epochs": 60, "learning_rate": 0.02}
        task = task_of(data, params, 0, build, lambda net, seen: balance * imbalance(*net.routed(net.factors(seen))))
        task.predict(data)
        net = task.net
        segments = net.segments(torch.from_numpy(data.train_spikes_heldin))
        return segments.flatten().bincount().max().item() / segments.numel()

    assert largest_share(0.0) > 0.8 and largest_share(1.0) < 0.5


def test_segments_are_the_likeliest_memory_of_each_bins_step():
    net = network()
    with torch.no_grad():
        net.router.weight *= 20
        net.router.bias.zero_()
    counts = torch.poisson(torch.ones(3, 2 * STEPS, 5))
    likeliest = net.routed(net.factors(counts))[1].argmax(dim=2)
    assert len(likeliest.unique()) > 1 and likeliest.shape == (3, STEPS + 2)
    assert torch.equal(net.segments(counts), likeliest[:, torch.arange(2 * STEPS) // 2])


def test_a_prediction_has_states_and_tells_their_shares():
    data = tiny_input()
    found = MODEL.predict(data, {**MODEL.DEFAULTS, **MODEL.CHECK}, 0)
    for part in ("train", "eval"):
        states = found[f"{part}_states"]
        assert states.shape == getattr(data, f"{part}_spikes_heldin").shape[:2] and states.dtype.kind == "i"
    shares = [float(share) for share in found["facts"]["occupancy"].split(", ")]
    assert len(shares) == 4 and sum(shares) == pytest.approx(1, abs=0.002) and shares == sorted(shares)[::-1]
    assert shares[0] == pytest.approx(np.bincount(found["train_states"].ravel()).max() / states[0].size / 12, abs=0.001)


@pytest.mark.parametrize("chosen", [0, 5])
def test_no_more_memories_are_chosen_than_there_are(chosen):
    with pytest.raises(NlbflowError, match=f"as chosen; found {chosen}"):
        MODEL.predict(tiny_input(), {**MODEL.DEFAULTS, **MODEL.CHECK, "chosen": chosen}, 0)
