"""What a GPU records of an update is all there is to it: traced once on a CPU, with everything in it that is no tensor
fixed at the value it had, and replayed, an update does what it does when it is called."""

from contextlib import nullcontext

import pytest

torch = pytest.importorskip("torch", reason="torch is an extra (pip install torch at the pin in pyproject.toml)")

from torch.fx.experimental.proxy_tensor import make_fx

from nlbflow.methods.lfads.population import MEMBERS, Schedule, stream
from nlbflow.methods.lfads.training import Training
from nlbflow.methods.networks.updates import SideBySide, Updates
from small_lfads import SIZES, population, trials
from small_networks import NETWORKS, task

AdamW = torch.optim.AdamW


class Traced:
    """Calls an update twice, the second time to trace it, and then replays what was traced."""

    def __init__(self, update):
        self.update, self.calls = update, 0

    def __call__(self, rows, numbers):
        self.calls += 1
        if self.calls == 2:
            update = self.update
            self.update = make_fx(lambda rows, numbers: update(rows, numbers))(rows, numbers)
        else:
            # a trace has the backward pass in it
            with torch.no_grad() if self.calls > 2 else nullcontext():
                self.update(rows, numbers)


@pytest.fixture
def fused(monkeypatch):
    """The optimizer that a GPU would have: it counts its updates in a tensor."""

    def build(weights, lr, weight_decay, capturable, fused):
        return AdamW(weights, lr=lr, weight_decay=weight_decay, fused=True)

    monkeypatch.setattr(torch.optim, "AdamW", build)


CASES = [(name, together) for name in NETWORKS for together in (False, True)]
FAST = ("ndt", False), ("mlp", True)


@pytest.mark.parametrize(
    ("name", "together"), [case if case in FAST else pytest.param(*case, marks=pytest.mark.slow) for case in CASES]
)
def test_a_network_is_trained_by_its_trace(name, together, fused):
    ends = []
    for wrapped in (lambda update: update, Traced):
        made, drawn = [task(name, seed) for seed in (0, 1)], torch.Generator().manual_seed(0)
        given = made[0].trials, made[0].losses[0], made[0].settings, nullcontext()
        if together:
            generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
            updates = SideBySide([one.net for one in made], *given, generators)
        else:
            torch.manual_seed(0)
            updates = Updates(made[0].net, *given)
        updates.begin_epoch(0.01)
        update = wrapped(updates._update)
        for _ in range(5):
            each = [torch.randperm(12, generator=drawn)[:4] for _ in made]
            numbers = [torch.tensor(made[0].plan(2, drawn), dtype=torch.float64) for _ in made]
            update(updates.joined(each), updates.joined(numbers))
        ends.append([tensor.detach().clone() for tensor in (*updates.weights, *updates.means())])
    for called, traced in zip(*ends, strict=True):
        assert torch.equal(called, traced)


@pytest.mark.slow
def test_a_population_is_trained_by_its_trace():
    """The ramp, the running mean's memory and Adam's corrections change with every update."""
    ends = []
    for wrapped in (lambda update: update, Traced):
        group = population([0, 1, 2], trials())
        training = Training(group, SIZES, trials(), Schedule(4, 2, 0.9), [stream(3, member, 1) for member in range(3)])
        training.update = wrapped(training._update)
        training.epochs(3)
        ends.append([getattr(group, name) for name in MEMBERS])
    for called, traced in zip(*ends, strict=True):
        assert torch.equal(called, traced)
