"""Small tasks of the networks that share one training loop, for tests of their updates."""

from nlbflow.methods.networks.training import Task
from nlbflow.models.contract import load_model, tiny_input
from workflow import ROOT

# Everything random is in use, and training ends and begins again at other epochs for other seeds.
PARAMS = {"epochs": 4, "warmup_epochs": 1, "batch": 4, "patience": 2, "learning_rate": 0.02, "checkpoint_minutes": 0.0}
SPANS = {"span_ramp_start": 0, "span_ramp_end": 3, "step_ms": 10, "max_span": 3}
# file and parameters of each
NETWORKS = {
    "gru": ("gru.py", {"layers": 2, "learning_rate": 0.005}),
    "lmuformer": ("lmuformer.py", {}),
    "mlp": ("mlp.py", {}),
    "mom": ("mom.py", {"step_ms": 10, "learning_rate": 0.005}),
    "ndt": ("ndt.py", SPANS),
    "ndt, published": ("ndt.py", SPANS | {"width": 0, "count_columns": 2, "averaging": 0.0, "refit": False}),
    "stndt": ("ndt.py", SPANS | {"spatial": True, "contrast_weight": 0.1}),
}


def task(name: str, seed: int = 0, device: str = "cpu", **params) -> Task:
    file, own = NETWORKS[name]
    model = load_model(ROOT / "scripts/models" / file)
    given = {**model.DEFAULTS, **model.CHECK, **PARAMS, **own, "device": device, **params}
    return model.task(tiny_input(), given, seed)
