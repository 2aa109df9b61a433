"""The figures: drawn from tables of scores, tensors and predictions; no model is run.

In: the long tables, input.h5, target.h5, prediction.h5. Out: svg, pdf and png, the same bytes each time. Begin with
`canvas` (pages, names, saving); each other module draws one kind of figure or reads the data for it.
"""

from collections.abc import Mapping
from pathlib import Path

FORMATS = ("svg", "pdf", "png")


def figure_name(figure: str, dataset: str, bin_ms: int | str, phase: str) -> str:
    """The name of a figure's files without the suffix; `dataset` may be a family of datasets."""
    return f"{dataset}_{bin_ms}ms_{phase}_{figure}"


def files_of(name: str, out: Mapping[str, Path]) -> dict[str, Path]:
    """A figure's files by format, out of all the files that a job writes."""
    return {form: out[f"{name}_{form}"] for form in FORMATS}
