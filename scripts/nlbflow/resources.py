"""The tables and catalogues that come with nlbflow: in the project's folder, or inside an installed package."""

from pathlib import Path

LIBRARY = Path(__file__).resolve().parent


def resource(name: str) -> Path:
    """Where a file of resources/ lies."""
    beside = LIBRARY.parents[1] / "resources"
    # in a checkout; a wheel has its own copy
    return (beside if (LIBRARY.parents[1] / "Snakefile").is_file() else LIBRARY / "data") / name
