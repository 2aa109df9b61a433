"""Updates on a GPU, recorded once as a CUDA graph and replayed.

A GPU does the arithmetic of a small network faster than Python can request it. A graph holds the same kernels, and is
requested at once. What differs between updates are tensors that are written anew before each replay: rows of trials,
and a few numbers from the host. On a CPU an update is simply called.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

# The most graphs: each takes the memory of its results and some time to record.
GRAPHS = 64


class Recorder:
    """Runs an update directly the first time that inputs have its shapes, so that all is loaded and allocated. Records
    it the second time, and then replays it. An update that cannot be recorded is always run directly.

    Args:
        update: changes tensors in place, which must stay where they are, and returns tensors. It must not wait for the
            GPU.
        generators: that it draws from, besides torch's own.
    """

    def __init__(self, update: Callable[..., tuple[Tensor, ...]], generators: Sequence[torch.Generator] = ()):
        self.update, self.generators, self.graphs = update, generators, {}
        self.pool = torch.cuda.graph_pool_handle() if torch.cuda.is_available() else None

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes not in self.graphs:
            if len(self.graphs) < GRAPHS:
                self.graphs[shapes] = "seen"
            return self.update(*inputs)
        if self.graphs[shapes] == "seen":
            try:
                self.graphs[shapes] = self._record([tensor.clone() for tensor in inputs])
            except RuntimeError as error:
                logging.getLogger("nlbflow").info(f"an update cannot be recorded, so it is slower: {error}")
                self.graphs[shapes] = None
        if self.graphs[shapes] is None:
            return self.update(*inputs)
        graph, written, results = self.graphs[shapes]
        for old, new in zip(written, inputs, strict=True):
            old.copy_(new)
        graph.replay()
        return tuple(result.clone() for result in results)

    def _record(self, inputs: list[Tensor]) -> tuple:
        """Record the update; this computes nothing."""
        graph = torch.cuda.CUDAGraph()
        for generator in self.generators:
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph, pool=self.pool, stream=torch.cuda.current_stream()):
            results = self.update(*inputs)
        return graph, inputs, results


def side_stream(device: torch.device) -> "torch.cuda.Stream | None":
    """A stream on which updates can be recorded, as they cannot be on the default one; none without a GPU."""
    return torch.cuda.Stream(device) if device.type == "cuda" else None


@contextmanager
def beside(stream: "torch.cuda.Stream | None") -> Iterator[None]:
    """Work on another stream, after what was asked of the usual one and before what will be."""
    if stream is None:
        yield
        return
    usual = torch.cuda.current_stream(stream.device)
    stream.wait_stream(usual)
    with torch.cuda.stream(stream):
        yield
    usual.wait_stream(stream)
