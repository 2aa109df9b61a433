"""Networks that differ in their architecture alone: one readout, one loss with coordinated dropout, one task.

Held-in entries are predicted only where coordinated dropout (Keshtkaran & Pandarinath 2019, arXiv:1908.07896) hid them,
held-out neurons and the forward window always.
"""

from collections.abc import Callable

from torch import Tensor, nn

from nlbflow.errors import NlbflowError
from nlbflow.methods.networks.common import (
    TimeSteps,
    coordinated_dropout,
    log_mean_rates,
    poisson_loss,
    scored_entries,
    training_tensors,
    validation_facts,
)
from nlbflow.methods.networks.device import prepare
from nlbflow.methods.networks.draws import Dropout
from nlbflow.methods.networks.training import Settings, Task
from nlbflow.recordings.model_input import ModelInput

# Parameters that are numbers of units, of layers or of parts, where a network has them.
NUMBERS = (
    "factors", "width", "hidden", "layers", "blocks", "channels", "order", "memories", "chosen", "heads", "dims",
    "latents",
)  # fmt: skip


class Readout(nn.Module):
    """From what a network has found to log rates (trials, bins + ahead, neurons) and the latents they are linear in.

    Args:
        steps: the network's time steps.
        bottleneck: makes the latents of each step from what the network has found there, or those of all steps from
            what it has found in the whole trial.
        latents: their number.
        neurons: the number of all neurons.
        dropout: share of the units dropped before the bottleneck.
    """

    def __init__(self, steps: TimeSteps, bottleneck: nn.Linear, latents: int, neurons: int, dropout: float):
        super().__init__()
        self.steps, self.dropout, self.bottleneck = steps, Dropout(dropout), bottleneck
        nn.init.zeros_(bottleneck.bias)
        self.rates = nn.Linear(latents, neurons)

    def forward(self, found: Tensor) -> tuple[Tensor, Tensor]:
        latents = self.bottleneck(self.dropout(found)).reshape(len(found), self.steps.steps, -1)
        latents = self.steps.interpolate(latents)
        return self.rates(latents), latents


def task_of(
    data: ModelInput,
    params: dict,
    seed: int,
    build: Callable[[TimeSteps, int, int, dict], nn.Module],
    penalty: Callable[[nn.Module, Tensor], Tensor] | None = None,
) -> Task:
    """A network as it begins, and how it is fitted to the training trials.

    Args:
        params: `step_ms`, `input_dropout`, the settings of training, and what `build` takes.
        seed: the seed of weights, order of trials and dropout.
        build: a network that ends in a `Readout` named `readout`, from the time steps, the numbers of held-in and of
            all neurons, and `params`.
        penalty: added to the training loss, from the network and the held-in counts that it has seen.

    Raises:
        NlbflowError: a parameter is out of range, or there is no such device.
    """
    _check(params)
    settings = Settings.of(params)
    device = prepare(seed, params["device"])
    trials = training_tensors(data, device)
    bins, heldin = data.train_spikes_heldin.shape[1:]
    total, neurons = trials["counts"].shape[1:]
    net = build(TimeSteps(bins, total - bins, int(params["step_ms"] // data.bin_ms)), heldin, neurons, params)
    net.readout.rates.bias.data = log_mean_rates(trials["counts"].cpu())
    net.to(device)

    def plan(epoch, generator):
        # every update is like every other
        return []

    def training_loss(net, batch, numbers):
        seen, dropped = coordinated_dropout(batch["heldin"], params["input_dropout"])
        loss = poisson_loss(net(seen)[0], batch["counts"], scored_entries(batch["counts"], dropped))
        return loss if penalty is None else loss + penalty(net, seen)

    return Task(net, trials, (training_loss, unseen_loss, validation_facts), settings, plan)


def unseen_loss(net: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """The validation loss of a network that has all of its input, as in use: of held-out neurons and the forward
    window, which remain to be predicted."""
    none = batch["heldin"] < 0
    return poisson_loss(net(batch["heldin"])[0], batch["counts"], scored_entries(batch["counts"], none))


def _check(params: dict) -> None:
    for name in NUMBERS:
        if name in params and (not isinstance(params[name], int) or params[name] < 1):
            raise NlbflowError(f"the parameter {name} is {params[name]}; expected a whole number of at least 1.")
    if not 0 < params["input_dropout"] < 1:
        raise NlbflowError(
            f"the parameter input_dropout is {params['input_dropout']}; expected a share above 0 and below 1, since "
            "only hidden entries teach held-in rates."
        )
    if not 0 <= params["dropout"] < 1:
        raise NlbflowError(f"the parameter dropout is {params['dropout']}; expected a share of at least 0 and below 1.")
