"""The data for the figures of one place (dataset, bin width, phase): the answers and the best models' rates."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import LinearSegmentedColormap, to_hex

from nlbflow.boards.tables import place_title
from nlbflow.metrics.decoded_metric import series_of
from nlbflow.metrics.kinds import RANKED
from nlbflow.running.files import open_h5, read_arrays, read_attributes, read_json

PARTS = ("heldin", "heldout")
# Okabe and Ito's colours in a ring, for directions.
RING = LinearSegmentedColormap.from_list(
    "directions", ["#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#0072B2"]
)


@dataclass
class Place:
    """The answers of a place, and the paths of its input and predictions.

    `predictions` has the first seed of every competitor, best co-bps first; `runs` has every (model, seed, path);
    `series` is the name of the decoded series of behaviour, `unit` its unit as the recording has it.
    """

    title: str
    bin_ms: int
    start_ms: int
    input: Path
    target: dict
    predictions: dict[str, Path]
    runs: list[tuple[str, int, Path]]
    series: str | None = None
    unit: str = ""

    @property
    def times(self) -> np.ndarray:
        """(bins,) the middle of each bin, in ms from the event that trials are aligned to."""
        bins = self.target["eval_spikes_heldout"].shape[1]
        return self.start_ms + (np.arange(bins) + 0.5) * self.bin_ms

    def best(self, number: int) -> dict[str, Path]:
        """The predictions of the `number` best models."""
        return dict(list(self.predictions.items())[:number])

    def groups(self, most: int | None = None) -> list[np.ndarray]:
        """Evaluation trials of each condition, of at most `most` evenly spread ones; [] without conditions."""
        found = [trials for trials in self.target.get("eval_cond_idx", []) if len(trials)]
        return evenly(found, most) if most else found


def read_place(smk) -> Place:
    """The place of a job, from its inputs."""
    asked = read_json(smk.input.stamp)["parameters"]
    runs = [(run[3], run[4], Path(path)) for run, path in zip(asked["runs"], smk.input.predictions, strict=True)]
    ranks = [
        row for row in read_json(smk.input.comparison)["ranks"] if row["metric"] == "co-bps" and row["kind"] in RANKED
    ]
    first = {model: path for model, _, path in reversed(runs)}
    order = [row["model"] for row in sorted(ranks, key=lambda row: (-row["value"], row["model"]))]
    target, about = read_arrays(smk.input.target)
    bin_ms = int(about["bin_ms"])
    return Place(
        place_title(asked["title"], bin_ms, about["phase"]),
        bin_ms,
        asked["start_ms"],
        Path(smk.input.input),
        target,
        {model: first[model] for model in order},
        runs,
        series_of(about["definition"]),
        read_attributes(smk.input.input).get("behavior_unit", ""),
    )


def evenly(items: list, most: int) -> list:
    """At most `most` items of a list, evenly spread over it."""
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, most).round().astype(int))]


def rates(path: Path, part: str, trials: np.ndarray | slice = slice(None)) -> np.ndarray:
    """(trials, bins, neurons) expected spikes per bin, held-in neurons first; `part` is train or eval."""
    with open_h5(path) as file:
        return np.concatenate([file[f"{part}_rates_{neurons}"][trials] for neurons in PARTS], axis=2)


def latents(path: Path) -> np.ndarray | None:
    """(evaluation trials, bins, dimensions), or None if the prediction has no latents."""
    with open_h5(path) as file:
        return file["eval_latents"][()] if "eval_latents" in file else None


def arrays_of(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The arrays of these names, as far as a prediction has them."""
    with open_h5(path) as file:
        return {name: file[name][()] for name in names if name in file}


def columns(path: Path, group: str) -> dict[str, np.ndarray] | None:
    """A prediction's group of columns of equal length, or None if it has no such group."""
    with open_h5(path) as file:
        return {name: column[()] for name, column in file[group].items()} if group in file else None


def group_colors(target: Mapping, groups: list[np.ndarray]) -> list[str]:
    """A colour for each group of trials. Groups are ordered by the direction of their mean behaviour if it has two
    channels, by its first principal component if it has another number, or by the mean produced interval.

    Args:
        target: arrays of target.h5.
        groups: the evaluation trials of each group.
    """
    behavior = target.get("eval_behavior")
    if behavior is not None and behavior.ndim == 3:
        means = np.array([_mean(behavior[trials].reshape(-1, behavior.shape[2])) for trials in groups])
        if behavior.shape[2] == 2:
            return [to_hex(color) for color in RING(_ranks(np.arctan2(means[:, 1], means[:, 0])) / len(groups))]
        values = _along_main_axis(means)
    else:
        values = [_mean(behavior[trials, -1:])[0] for trials in groups] if behavior is not None else range(len(groups))
    return [to_hex(color) for color in colormaps["viridis"](0.92 * _ranks(values) / max(len(groups) - 1, 1))]


def color_meaning(target: Mapping) -> str:
    """What a line stands for (a condition or a trial), and its colour as from `group_colors`."""
    each = "a condition" if target.get("eval_cond_idx") is not None else "a trial"
    behavior = target.get("eval_behavior")
    if behavior is None:
        return f"each line is {each}"
    by = (
        "produced interval"
        if behavior.ndim != 3
        else "direction of movement"
        if behavior.shape[2] == 2
        else "behaviour"
    )
    return f"each line is {each}, coloured by mean {by}"


def _along_main_axis(means: np.ndarray) -> np.ndarray:
    """(groups,) the first principal component of (groups, channels), its largest weight positive."""
    axis = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)[2][0]
    return means @ axis * np.sign(axis[np.argmax(np.abs(axis))])


def _ranks(values: Iterable[float]) -> np.ndarray:
    """The ranks of values, from 0 for the smallest."""
    return np.argsort(np.argsort([*values], kind="stable"), kind="stable")


def _mean(rows: np.ndarray) -> np.ndarray:
    """The mean of the known rows; 0 if there are none."""
    known = rows[~np.isnan(rows).any(axis=1)]
    return known.mean(axis=0) if len(known) else np.zeros(rows.shape[1])
