"""An update of a network: forward, backward, clipping, AdamW and the running mean; on a GPU recorded and replayed."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from nlbflow.methods.networks.draws import side_by_side
from nlbflow.methods.networks.graphs import Recorder, side_stream

# Tensors by the names that a module's state has for them.
State = dict[str, Tensor]


class Updates:
    """Updates of a network, in place, with their own optimizer. `SideBySide` has the same methods, for several
    networks; what these say of each network is here said of the only one.

    Args:
        net: the network; its running mean is `kept`, which is the network itself if averaging is 0.
        trials: tensors with trials as first dimension, on the network's device.
        loss_of: the loss from the network, a batch, and what the host has drawn for the update; on a GPU where updates
            are recorded, it must not wait.
        settings: as in `nlbflow.methods.networks.training.Settings`.
        autocast: the context of the forward pass.
    """

    def __init__(self, net: nn.Module, trials: State, loss_of: Callable, settings, autocast):
        self.net = self.program = net
        self.trials, self.loss_of = trials, loss_of
        self.settings, self.autocast = settings, autocast
        self.kept = copy.deepcopy(net) if settings.averaging else net
        self.begin(list(net.parameters()), [])

    def begin(self, weights: list[Tensor], generators: Sequence[torch.Generator]) -> None:
        """A new optimizer, and nothing recorded."""
        self.weights, device = weights, weights[0].device
        on_gpu = device.type == "cuda"
        # a graph reads the learning rate from GPU memory
        self.rate = torch.zeros((), device=device) if on_gpu else None
        self.optimizer = torch.optim.AdamW(
            weights,
            lr=self.rate if on_gpu else self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            capturable=on_gpu,
            # one launch for all weights
            fused=on_gpu,
        )
        self.stream = side_stream(device)
        self.update = Recorder(self._update, generators) if on_gpu and self.settings.capture else self._update

    def begin_epoch(self, rate: float) -> None:
        """Updates that follow are in training mode, with this learning rate."""
        self.program.train()
        if self.rate is not None:
            self.rate.fill_(rate)
        for group in self.optimizer.param_groups:
            # set again, because loading a checkpoint replaces the tensor
            group["lr"] = rate if self.rate is None else self.rate

    def __call__(self, rows: Tensor, drawn: Tensor | int) -> tuple[Tensor, Tensor]:
        """Make an update with some rows of the trials; return the loss and the norm of its gradient."""
        return self.update(rows, drawn)

    def _update(self, rows: Tensor, drawn: Tensor | int) -> tuple[Tensor, Tensor]:
        batch = {name: tensor[rows] for name, tensor in self.trials.items()}
        loss = self.training_loss(batch, drawn)
        self.optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()
        norm = self.clip()
        self.optimizer.step()
        if self.settings.averaging:
            get_ema_multi_avg_fn(self.settings.averaging)(self.means(), self.weights, None)
        return loss.detach(), norm

    def training_loss(self, batch: State, drawn: Tensor | int) -> Tensor:
        with self.autocast:
            return self.loss_of(self.net, batch, drawn)

    def validation_loss(self, loss_of: Callable, batch: State) -> Tensor:
        self.kept.eval()
        with self.autocast:
            return loss_of(self.kept, batch)

    def clip(self) -> Tensor:
        return nn.utils.clip_grad_norm_(self.weights, self.settings.clip_norm)

    def means(self) -> list[Tensor]:
        return list(self.kept.parameters())

    def joined(self, each: list[Tensor]) -> Tensor:
        """What a batch takes from the same of each network."""
        return each[0]

    def of(self, network: int) -> State:
        """A copy of what is kept of a network."""
        return _copy(self.kept.state_dict())

    def restart(self, starts: list[State]) -> None:
        """Begin anew with other weights."""
        for module in (self.net, self.kept):
            module.load_state_dict(starts[0])
        self.begin(list(self.net.parameters()), [])

    def state_dict(self) -> dict:
        modules = {"net": self.net, "kept": self.kept, "optimizer": self.optimizer}
        return {name: module.state_dict() for name, module in modules.items()}

    def load_state_dict(self, state: dict) -> None:
        for name in ("net", "kept", "optimizer"):
            getattr(self, name).load_state_dict(state[name])


class SideBySide(Updates):
    """Updates of several networks that differ in their seeds: one batched program, whose first dimension of weights,
    batches, losses and norms is the network. Each network has its own trials in a batch, its own numbers from the host,
    and draws from its own generator, so that it becomes what it would alone, but for the last digits.

    Args:
        nets: on one device, of the same shapes, with no state but their parameters. They are left as they are.
        generators: one for each, from which it draws on that device.
    """

    def __init__(
        self, nets: Sequence[nn.Module], trials: State, loss_of: Callable, settings, autocast,
        generators: Sequence[torch.Generator],
    ):  # fmt: skip
        self.trials, self.settings, self.autocast, self.generators = trials, settings, autocast, generators
        self.program, self.loss_of = _Program(copy.deepcopy(nets[0])), loss_of
        self.names = [name for name, _ in nets[0].named_parameters()]
        self.restart([net.state_dict() for net in nets])

    def restart(self, starts: list[State]) -> None:
        """Begin (anew) with these weights, each network with its own."""
        self.net = {name: nn.Parameter(torch.stack([start[name] for start in starts])) for name in self.names}
        self.kept = _copy(self.net) if self.settings.averaging else self.net
        self.begin(list(self.net.values()), self.generators)

    def training_loss(self, batch: State, drawn: Tensor) -> Tensor:
        # what the network draws by itself, from torch's generator, is an error
        losses = torch.func.vmap(self._loss, in_dims=(0, 0, 0, None), randomness="error")
        with self.autocast, side_by_side(self.generators):
            return losses(self.net, batch, drawn, self.loss_of)

    def validation_loss(self, loss_of: Callable, batch: State) -> Tensor:
        self.program.eval()
        # all draw the same, of the trials that they share
        losses = torch.func.vmap(self._loss, in_dims=(0, None, None, None), randomness="same")
        with self.autocast, side_by_side(self.generators):
            return losses(self.kept, batch, None, loss_of)

    def _loss(self, weights: State, batch: State, drawn: Tensor | None, loss_of: Callable) -> Tensor:
        given = (loss_of, batch) if drawn is None else (loss_of, batch, drawn)
        return torch.func.functional_call(self.program, {f"net.{name}": w for name, w in weights.items()}, given)

    def clip(self) -> Tensor:
        """Each network by the norm of its own gradient, as torch's `clip_grad_norm_`."""
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        each = [torch.linalg.vector_norm(gradient.reshape(len(gradient), -1), dim=1) for gradient in gradients]
        norms = torch.linalg.vector_norm(torch.stack(each), dim=0)
        scale = (self.settings.clip_norm / (norms + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))
        return norms

    def means(self) -> list[Tensor]:
        return list(self.kept.values())

    def joined(self, each: list[Tensor]) -> Tensor:
        return torch.stack(each)

    def of(self, network: int) -> State:
        return {name: tensor[network].detach().clone() for name, tensor in self.kept.items()}

    def state_dict(self) -> dict:
        return {"net": _copy(self.net), "kept": _copy(self.kept), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        for name in ("net", "kept"):
            for weight, new in zip(getattr(self, name).values(), state[name].values(), strict=True):
                weight.data.copy_(new)
        self.optimizer.load_state_dict(state["optimizer"])


class _Program(nn.Module):
    """A loss of a network, as a module whose call `functional_call` can give other weights."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, loss_of: Callable, *given) -> Tensor:
        return loss_of(self.net, *given)


def _copy(state: State) -> State:
    return {name: tensor.detach().clone() for name, tensor in state.items()}
