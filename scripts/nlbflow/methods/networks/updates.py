"""An update of a network: forward, backward, clipping, AdamW and the running mean; on a GPU recorded and replayed.

A GPU does the arithmetic of a small network faster than Python can request it. So an update is recorded once as a CUDA
graph, which holds the same kernels, and replayed; only the rows of the batch are written anew. The plan of an update is
what the host draws and what changes the operations; each plan and batch size has a graph of its own.
"""

import logging
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

# The most graphs: each takes the memory of its results and some time to record.
GRAPHS = 64


class Updates:
    """Updates of a network, in place, with their own optimizer.

    Args:
        net, kept: the network, and its running mean (the network itself if averaging is 0).
        trials: tensors with trials as first dimension, on the network's device.
        loss_of: the loss from the network, a batch and its plan; it must not wait for the GPU.
        settings: as in `nlbflow.methods.networks.training.Settings`.
        autocast: the context of the forward pass.
    """

    def __init__(
        self, net: nn.Module, kept: nn.Module, trials: dict[str, Tensor], loss_of: Callable, settings, autocast
    ):
        self.net, self.kept, self.trials = net, kept, trials
        self.loss_of, self.settings, self.autocast = loss_of, settings, autocast
        device = next(net.parameters()).device
        on_gpu = device.type == "cuda"
        # a graph reads the learning rate from GPU memory
        self.rate = torch.zeros((), device=device) if on_gpu else None
        self.optimizer = torch.optim.AdamW(
            net.parameters(),
            lr=self.rate if on_gpu else settings.learning_rate,
            weight_decay=settings.weight_decay,
            capturable=on_gpu,
        )
        self.recorder = Recorder(self._update) if on_gpu and settings.capture else None
        self.stream = torch.cuda.Stream(device) if on_gpu else None

    def set_rate(self, rate: float) -> None:
        if self.rate is not None:
            self.rate.fill_(rate)
        for group in self.optimizer.param_groups:
            # set again, because loading a checkpoint replaces the tensor
            group["lr"] = rate if self.rate is None else self.rate

    @contextmanager
    def beside(self) -> Iterator[None]:
        """On a GPU: a separate stream, because the default one cannot be recorded."""
        if self.stream is None:
            yield
            return
        usual = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(usual)
        with torch.cuda.stream(self.stream):
            yield
        usual.wait_stream(self.stream)

    def __call__(self, rows: Tensor, plan: Hashable) -> tuple[Tensor, Tensor]:
        """Make an update with some rows of the trials; return the loss and the norm of its gradient."""
        return (self.recorder or self._update)(rows, plan)

    def _update(self, rows: Tensor, plan: Hashable) -> tuple[Tensor, Tensor]:
        batch = {name: tensor[rows] for name, tensor in self.trials.items()}
        with self.autocast:
            loss = self.loss_of(self.net, batch, plan)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        if self.settings.averaging:
            for mean, weight in zip(self.kept.parameters(), self.net.parameters(), strict=True):
                mean.data.lerp_(weight.data, 1 - self.settings.averaging)
        return loss.detach(), norm


class Recorder:
    """Runs an update directly the first time its size and plan come, so that all is loaded and allocated. Records it
    the second time, and then replays it. An update that cannot be recorded is always run directly.
    """

    def __init__(self, update: Callable[[Tensor, Hashable], tuple[Tensor, ...]]):
        self.update, self.graphs = update, {}
        self.pool = torch.cuda.graph_pool_handle() if torch.cuda.is_available() else None

    def __call__(self, rows: Tensor, plan: Hashable) -> tuple[Tensor, ...]:
        key = len(rows), plan
        if key not in self.graphs:
            if len(self.graphs) < GRAPHS:
                self.graphs[key] = "seen"
            return self.update(rows, plan)
        if self.graphs[key] == "seen":
            try:
                self.graphs[key] = self._record(rows.clone(), plan)
            except RuntimeError as error:
                logging.getLogger("nlbflow").info(f"an update cannot be recorded, so it is slower: {error}")
                self.graphs[key] = None
        if self.graphs[key] is None:
            return self.update(rows, plan)
        graph, kept_rows, results = self.graphs[key]
        kept_rows.copy_(rows)
        graph.replay()
        return tuple(result.clone() for result in results)

    def _record(self, rows: Tensor, plan: Hashable) -> tuple:
        """Record the update; this computes nothing."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=torch.cuda.current_stream()):
            results = self.update(rows, plan)
        return graph, rows, results
