"""What a person should know of a dataset before its scores: a summary at a glance, and notes on what is suspicious.

`summarise` says both of a job's arrays, the rule `tensors` writes them to dataset.json, the rule `tables` gathers them,
and tables, page, paper and the figure of the dataset show them.
"""

import numpy as np

from nlbflow.datasets import window_ranges


def summarise(arrays: dict[str, np.ndarray], absent: dict[str, str], asked: dict) -> tuple[list[list[str]], list[str]]:
    """What a place's tensors are.

    Args:
        arrays: of input.h5.
        absent: what is absent, with the reason.
        asked: what the job was asked for: dataset, version, definition, bin_ms, phase.

    Returns:
        summary: [label, text] of each fact.
        notes: a sentence for each thing that is suspicious.
    """
    bin_ms = asked["bin_ms"]
    observed, forward = window_ranges(asked["definition"], bin_ms)
    trials = {"train": "for training", "eval": "for evaluation"}
    counts = [f"{_length(arrays, f'{part}_spikes_heldin', 0)} {words}" for part, words in trials.items()]
    seen = "train" if "train_spikes_heldin" in arrays else "eval"
    units = [f"{_length(arrays, f'{seen}_spikes_{part}', 2)} held-{part[4:]}" for part in ("heldin", "heldout")]
    bins = [(end - start) // bin_ms for start, end in (observed, forward)]
    summary = [
        ["trials", ", ".join(counts)],
        ["units", ", ".join(units)],
        ["bins", f"{bins[0]} of {bin_ms} ms, {bins[1]} more to forecast"],
        ["version", asked["version"]],
    ]
    return summary + [[f"{name} is absent", reason] for name, reason in absent.items()], []


def _length(arrays: dict[str, np.ndarray], name: str, axis: int) -> int:
    return arrays[name].shape[axis] if name in arrays else 0
