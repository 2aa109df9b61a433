"""On a GPU, where one is: recorded updates are those that are called, the same seed gives the same bytes, a killed
training goes on to them, and side by side is alone."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is an extra (pip install torch at the pin in pyproject.toml)")

from nlbflow.methods.lfads import training as lfads
from nlbflow.methods.networks import training, updates
from nlbflow.methods.networks.graphs import Recorder
from nlbflow.models.contract import load_model, tiny_input
from small_networks import NETWORKS, task
from workflow import ROOT

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, and a torch that is built for it"),
]
LFADS = {"max_epochs": 6, "generation_epochs": 2, "validate_epochs": 1, "batch": 4, "ramp_epochs": 3}


def predict(name: str, work=None) -> dict:
    data = tiny_input()
    data.work = work
    if name in NETWORKS:
        return task(name, device="cuda").predict(data)
    model = load_model(ROOT / f"scripts/models/{name}.py")
    return model.predict(data, {**model.DEFAULTS, **model.CHECK, **LFADS, "device": "cuda"}, 0)


def content(prediction: dict) -> bytes:
    names = sorted(prediction.keys() - {"facts", "history"})
    return b"".join(np.ascontiguousarray(prediction[name]).tobytes() for name in names)


@pytest.fixture
def called(monkeypatch):
    """Updates that are called, not recorded."""
    for module in (updates, lfads):
        monkeypatch.setattr(module, "Recorder", lambda update, generators: update)


@pytest.fixture
def recorded(monkeypatch):
    """The graphs of all recorders."""
    made, record = [], Recorder._record
    monkeypatch.setattr(Recorder, "_record", lambda *given: made.append(record(*given)) or made[-1])
    return made


ALL = [*NETWORKS, "lfads", "autolfads"]


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_gives_the_same_bytes_recorded_or_called(name, recorded, request):
    first = content(predict(name))
    # one for each size of batch, in each stage
    assert 0 < len(recorded) <= 4
    assert content(predict(name)) == first
    request.getfixturevalue("called")
    assert content(predict(name)) == first


@pytest.mark.parametrize("name", ALL)
def test_a_killed_training_goes_on_to_the_same_bytes(name, tmp_path, monkeypatch):
    from nlbflow.methods.lfads import fit

    holder, method = (training, "save_checkpoint") if name in NETWORKS else (fit.Folder, "keep")
    original, calls = getattr(holder, method), []

    def dies(*given):
        original(*given)
        calls.append(1)
        if len(calls) == 2:
            raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(holder, method, dies)
        with pytest.raises(InterruptedError):
            predict(name, tmp_path)
    assert content(predict(name, tmp_path)) == content(predict(name))


@pytest.mark.parametrize("name", ALL)
def test_side_by_side_is_alone(name):
    data = tiny_input()
    if name in NETWORKS:
        one = lambda data, params, seed: task(name, seed, device="cuda")  # noqa: E731
        together = training.predict_side_by_side(one, data, {}, (0, 4))
    else:
        model = load_model(ROOT / f"scripts/models/{name}.py")
        params = {**model.DEFAULTS, **model.CHECK, **LFADS, "device": "cuda"}
        together = model.predict_seeds(data, params, (0, 4))
    for seed, found in zip((0, 4), together, strict=True):
        alone = one(data, {}, seed).predict(data) if name in NETWORKS else model.predict(data, params, seed)
        for key in ("eval_rates_heldin", "eval_rates_heldout"):
            np.testing.assert_allclose(found[key], alone[key], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_cpu_and_gpu_begin_alike(name):
    """Before an update that changes weights, rates differ by rounding alone."""
    rates = [
        task(name, device=device, learning_rate=0.0).predict(tiny_input())["eval_rates_heldout"]
        for device in ("cpu", "cuda")
    ]
    np.testing.assert_allclose(*rates, rtol=1e-4)
