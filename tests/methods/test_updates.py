"""Updates that a GPU records: each size and plan once, the second time that it comes, and the rows written anew."""

from contextlib import contextmanager

import pytest

torch = pytest.importorskip("torch", reason="torch is an extra (pip install torch at the pin in pyproject.toml)")

from nlbflow.methods.networks.updates import Recorder


@pytest.fixture
def graphs(monkeypatch):
    """Stand-ins for CUDA's graphs: they hold what was called while they were recorded, and call it at a replay."""
    recorded = []

    class Graph:
        def replay(self):
            self.results.copy_(self.rows * self.plan)

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

    def update(rows, plan):
        called.append((len(rows), plan))
        results = rows * plan
        if graphs and not hasattr(graphs[-1], "rows"):
            graphs[-1].rows, graphs[-1].plan, graphs[-1].results = rows, plan, results
        return (results,)

    recorder = Recorder(update)
    for number in range(1, 5):
        for size, plan in ((3, 10), (2, 10), (3, 100)):
            rows = torch.arange(size) + number
            (found,) = recorder(rows, plan)
            if number > 1:
                assert torch.equal(found, rows * plan)
    # as it is, and recorded; all else was replayed
    assert len(called) == 6 and len(graphs) == 3
    kept = found
    recorder(torch.arange(3), 100)
    assert torch.equal(kept, (torch.arange(3) + 4) * 100), "results are not overwritten by the next replay"


def test_what_cannot_be_recorded_is_called(monkeypatch, caplog):
    caplog.set_level("INFO", "nlbflow")

    def graph():
        raise RuntimeError("not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", graph)
    recorder = Recorder(lambda rows, plan: (rows + plan,))
    for _ in range(3):
        assert recorder(torch.ones(2), 1)[0].tolist() == [2, 2]
    assert caplog.text.count("not permitted") == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_recorded_is_the_same_as_called():
    """On a GPU: a network's weights after updates recorded and not, byte for byte."""
    from nlbflow.methods.networks.device import prepare
    from nlbflow.methods.networks.training import Settings, train

    ends = []
    for capture in (False, True):
        device = prepare(0, "cuda")
        net = torch.nn.Sequential(torch.nn.Linear(5, 20), torch.nn.Dropout(0.3), torch.nn.Linear(20, 1)).to(device)
        x = torch.randn(40, 5, device=device)

        def loss(net, batch, plan=None):
            return ((net(batch["x"]) - 1) ** 2).mean()

        settings = Settings(epochs=6, batch=12, learning_rate=0.01, averaging=0.9, capture=capture)
        train(net, {"x": x}, loss, loss, lambda net, batch: {}, settings, plan=lambda epoch: epoch % 2)
        ends.append(torch.cat([p.flatten() for p in net.parameters()]).detach().cpu().numpy().tobytes())
    assert ends[0] == ends[1]
