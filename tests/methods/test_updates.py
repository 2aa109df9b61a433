"""Updates that a GPU records: each shape of inputs once, the second time that it comes, and the inputs written anew."""

from contextlib import contextmanager

import pytest

torch = pytest.importorskip("torch", reason="torch is an extra (pip install torch at the pin in pyproject.toml)")

from nlbflow.methods.networks.graphs import Recorder
from nlbflow.methods.networks.memory import BESIDE, COPIES, needed


@pytest.fixture
def graphs(monkeypatch):
    """Stand-ins for CUDA's graphs: they hold what was called while they were recorded, and call it at a replay."""
    recorded = []

    class Graph:
        def __init__(self):
            self.generators = []

        def register_generator_state(self, generator):
            self.generators.append(generator)

        def replay(self):
            self.results.copy_(self.rows * self.number)

    @contextmanager
    def graph(made, pool, stream):
        recorded.append(made)
        yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)
    return recorded


def test_an_update_is_recorded_the_second_time_and_replayed(graphs):
    called = []

    def update(rows, number):
        called.append(len(rows))
        results = rows * number
        if graphs and not hasattr(graphs[-1], "rows"):
            graphs[-1].rows, graphs[-1].number, graphs[-1].results = rows, number, results
        return (results,)

    generator = torch.Generator()
    recorder = Recorder(update, [generator])
    for turn in range(1, 5):
        for size, number in ((3, 10), (2, 10), (3, 100)):
            rows, number = torch.arange(size) + turn, torch.tensor(number)
            (found,) = recorder(rows, number)
            assert torch.equal(found, rows * number)
    # as it is, and recorded; all else was replayed
    assert called == [3, 2, 3, 2] and [made.generators for made in graphs] == [[generator]] * 2
    kept = found
    recorder(torch.arange(3), torch.tensor(100))
    assert torch.equal(kept, (torch.arange(3) + 4) * 100), "results are not overwritten by the next replay"


def test_what_cannot_be_recorded_is_called(monkeypatch, caplog):
    caplog.set_level("INFO", "nlbflow")

    def graph():
        raise RuntimeError("not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", graph)
    recorder = Recorder(lambda rows: (rows + 1,))
    for _ in range(3):
        assert recorder(torch.ones(2))[0].tolist() == [2, 2]
    assert caplog.text.count("not permitted") == 1


def test_memory_is_what_autograd_keeps():
    """Of a product with a weight: the input; of its square: the product. A view of the trials is counted once."""
    x = torch.zeros(50, 7)
    trials, net = {"x": x, "view": x[:, :3]}, torch.nn.Linear(7, 11, bias=False)
    found = needed(net, trials, lambda net, batch, drawn: (net(batch["x"]) ** 2).sum(), lambda epoch, host: [], 10, 4)
    kept = 10 * 7 + 10 * 11
    assert found == 4 * (50 * 7 + 4 * (COPIES * 7 * 11 + 10 * 7 + 10 * 3 + BESIDE * kept))
