"""Nothing in an update waits for a GPU or reads what is not there: updates of every network on torch's `meta` device,
which has shapes but no numbers."""

import pytest

torch = pytest.importorskip("torch", reason="torch is an extra (pip install torch at the pin in pyproject.toml)")

from contextlib import nullcontext

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nlbflow.methods.lfads import population as lfads
from nlbflow.methods.lfads.training import Training
from nlbflow.methods.networks.updates import SideBySide, Updates
from small_lfads import SIZES, population, trials
from small_networks import NETWORKS, task

META = torch.device("meta")
# what asks a device for numbers, or for a shape that hangs on them
WAITS = "_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique_dim", "_unique2"


COPIES = "_to_copy", "copy_"


class OnDevice(TorchDispatchMode):
    """Refuses operations that wait for a device, copy to one, or compute elsewhere, but for numbers without dimensions,
    which a GPU gets with the request; counts what it lets pass."""

    operations = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found, name = func(*args, **(kwargs or {})), func.overloadpacket.__name__
        tensors = [leaf for leaf in tree_leaves((args, kwargs, found)) if isinstance(leaf, torch.Tensor)]
        elsewhere = [tuple(tensor.shape) for tensor in tensors if tensor.device != META and tensor.dim()]
        assert not elsewhere and name not in WAITS, (func, elsewhere)
        assert name not in COPIES or len({tensor.device for tensor in tensors}) == 1, func
        self.operations += 1
        return found


def moved(made, device=META):
    """A task's network and trials on another device."""
    return made.net.to(device), {name: tensor.to(device) for name, tensor in made.trials.items()}


@pytest.fixture
def optimizer(monkeypatch):
    """torch's own keeps to the device where it is told to; told here, it would refuse this one."""
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda optimizer: None)


@pytest.mark.parametrize(("name", "precision"), [*((name, "float32") for name in NETWORKS), ("ndt", "bfloat16")])
def test_an_update_stays_on_its_device(name, precision, optimizer):
    made = task(name, averaging=0.9)
    net, on_device = moved(made)
    number_format = nullcontext() if precision == "float32" else torch.autocast("cpu", torch.bfloat16)
    updates = Updates(net, on_device, made.losses[0], made.settings, number_format)
    updates.begin_epoch(0.1)
    drawn = torch.tensor(made.plan(3, None), device=META, dtype=torch.float64)
    with OnDevice() as seen:
        loss, norm = updates(torch.arange(4, device=META), drawn)
        updates.validation_loss(made.losses[1], on_device)
    assert loss.shape == norm.shape == () and loss.dtype == torch.float32
    assert all(weight.grad is not None for weight in net.parameters() if name != "stndt")
    assert seen.operations > 20


@pytest.mark.parametrize("name", NETWORKS)
def test_updates_side_by_side_stay_on_their_device(name, optimizer, monkeypatch):
    made = [task(name, seed, averaging=0.9) for seed in range(3)]
    nets, (_, on_device) = [moved(one)[0] for one in made], moved(made[0])
    # there are no generators for it
    updates = SideBySide(nets, on_device, made[0].losses[0], made[0].settings, nullcontext(), [None] * 3)
    updates.begin_epoch(0.1)
    drawn = torch.tensor([made[0].plan(3, None)] * 3, device=META, dtype=torch.float64)
    with OnDevice():
        loss, norm = updates(torch.zeros(3, 4, dtype=torch.long, device=META), drawn)
    assert loss.shape == norm.shape == (3,)


def test_a_population_stays_on_its_device(monkeypatch):
    """LFADS's updates, its validation, and the numbers that differ between updates, sent once an epoch."""
    data, group = trials(dtype=torch.float32), population([0, 1, 2], trials(dtype=torch.float32))
    for name in ("_uniform", "_normal"):
        monkeypatch.setattr(lfads, name, lambda shape, streams, like: like.new_empty(shape))
    data = lfads.Trials(data.counts.to(META), data.known.to(META))
    for name in lfads.MEMBERS:
        setattr(group, name, getattr(group, name).to(META if name != "hyper" else "cpu"))
    training = Training(group, SIZES, data, lfads.Schedule(4, 2, 0.9), [None] * 3)
    numbers = torch.empty(len(training._numbers(batches=1)), device=META)
    with OnDevice():
        training.update(torch.zeros(3, 4, dtype=torch.long, device=META), numbers)


def test_what_waits_is_found():
    """The test above can fail."""
    x = torch.empty(3, device=META)
    for waiting in (
        lambda: x + torch.ones(3, device="cpu"),
        lambda: x[torch.tensor([0, 1])],
        lambda: torch.ones(3).to(META),
    ):
        with OnDevice(), pytest.raises((AssertionError, RuntimeError)):
            waiting()
