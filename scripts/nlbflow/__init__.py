"""nlbflow: the Neural Latents Benchmark.

`load`, `evaluate` and `save_submission` are for a notebook. The packages are what the workflow is made of;
docs/architecture.md shows how the data pass through them.
"""

from importlib import import_module

__version__ = "0.1.0"
# Of the scoring. A new one whenever the same rates get another score, with a line in CHANGELOG.md that says which.
METRICS_VERSION = "1"
__all__ = ["Data", "NlbflowError", "evaluate", "load", "save_submission"]
_HOME = {name: "nlbflow.errors" if name == "NlbflowError" else "nlbflow.api" for name in __all__}


def __getattr__(name: str) -> object:
    """Import a name when it is first asked for. A job needs few of them, and its stamp holds what the job imports.

    Type checkers read __init__.pyi.
    """
    if name not in _HOME:
        raise AttributeError(f"module 'nlbflow' has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)
