"""The Python face: tensors, scores and submissions in a notebook, without Snakemake. `import nlbflow` offers it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import yaml

from nlbflow.archive.linking import files_below, find_pinned
from nlbflow.archive.pins import read_pins
from nlbflow.errors import NlbflowError
from nlbflow.metrics.decoded_metric import renamed, series_of
from nlbflow.models.contract import check_prediction
from nlbflow.models.submission_writing import add_to_submission
from nlbflow.models.submissions import needed_arrays
from nlbflow.recordings.datasets import SIMULATED, dataset_version
from nlbflow.recordings.model_input import expected_shapes
from nlbflow.recordings.notes import summarise
from nlbflow.recordings.published_answers import read_published
from nlbflow.recordings.targets import make_target
from nlbflow.recordings.tensors import cut_input
from nlbflow.resources import resource
from nlbflow.scoring.scores import benchmark_scores
from nlbflow.scoring.structure import structure_scores

ARCHIVE = "https://api.dandiarchive.org/api"
PUBLISHED_ANSWERS = "eval_data_test.h5"
_log = logging.getLogger("nlbflow").info


@dataclass(frozen=True)
class Data:
    """A dataset at one bin width and phase, as a model may see it.

    Spikes are float32 counts, spikes per bin, (trials, bins, neurons). `train_behavior` is (trials, bins, channels) in
    the unit of the recording (mm/s for the benchmark's hand velocities), or (trials, columns); `train_condition`
    (trials,) numbers the conditions, -1 for none. An array that the dataset lacks is None; `absent` gives the reason.

    Attributes:
        summary: what was found in the recordings, by name.
        notes: what a reader of the scores must know.
    """

    dataset: str
    bin_ms: int
    phase: str
    train_spikes_heldin: np.ndarray | None
    train_spikes_heldout: np.ndarray | None
    eval_spikes_heldin: np.ndarray | None
    train_spikes_heldin_forward: np.ndarray | None
    train_spikes_heldout_forward: np.ndarray | None
    train_behavior: np.ndarray | None
    train_condition: np.ndarray | None
    absent: Mapping[str, str]
    summary: Mapping[str, str]
    notes: list[str]
    definition: Mapping = field(repr=False)
    parts: Mapping[str, Path] = field(repr=False)
    version: str = ""

    @cached_property
    def answers(self) -> dict[str, np.ndarray]:
        """What predictions are scored against: counts of held-out neurons, behavior, PSTHs of evaluation trials.

        They are read only when you ask for them. Models should not; `evaluate` reads them itself.

        Raises:
            NlbflowError: the answers of this phase are not among the files.
        """
        if "answers" in self.parts:
            found = {name: array for name, array in self.arrays().items() if array is not None}
            return read_published(self.parts["answers"], self.dataset, self.bin_ms, found, self.version)[0]
        if self.phase == "test" and not self.parts.keys() & {"truth", "whole"}:
            raise NlbflowError(
                f"the answers of {self.dataset} in phase test are not here: put {PUBLISHED_ANSWERS}, which the "
                "benchmark published (config.yaml has its address), into the folder, or load phase val."
            )
        return make_target(dict(self.parts), dict(self.definition), self.bin_ms, self.phase)[0]

    def shapes(self) -> dict[str, tuple[int, int, int]]:
        """The shape (trials, bins, neurons) of each array that `evaluate` takes, by name.

        Raises:
            NlbflowError: there are no training or no evaluation trials.
        """
        for part in ("train", "eval"):
            if getattr(self, f"{part}_spikes_heldin") is None:
                raise NlbflowError(f"{self.dataset} has no {part}_spikes_heldin: {self.absent[part]}.")
        return expected_shapes(
            self.train_spikes_heldin,
            self.train_spikes_heldout,
            self.eval_spikes_heldin,
            self.train_spikes_heldin_forward,
        )

    def torch(self, device: str = "cpu") -> SimpleNamespace:
        """The dataset's arrays as torch tensors on a device, float32 except `train_condition` (int64)."""
        import torch

        found = {name: array for name, array in self.arrays().items() if array is not None}
        return SimpleNamespace(
            **{
                name: torch.as_tensor(array if name == "train_condition" else array.astype(np.float32)).to(device)
                for name, array in found.items()
            }
        )

    def arrays(self) -> dict[str, np.ndarray | None]:
        """All arrays by name, (trials, bins, neurons) for spikes; None for those that the dataset lacks."""
        names = [name for name in self.__dataclass_fields__ if name.startswith(("train_", "eval_"))]
        return {name: getattr(self, name) for name in names}


def load(
    dataset: str | Path | Mapping[str, str | Path],
    bin_ms: int = 5,
    phase: str = "val",
    folder: str | Path = "nwb",
    *,
    fetch: bool = False,
    stanza: Mapping | None = None,
) -> Data:
    """A dataset's tensors, exactly those of the workflow's input.h5.

    Args:
        dataset: a name of the benchmark (mc_maze, mc_rtt, area2_bump, dmfc_rsg, mc_maze_large, mc_maze_medium,
            mc_maze_small), a simulated one (simulated_maze, simulated_clusters, simulated_coupled), or with `stanza`
            your own: the path of one NWB file with all trials, or paths by part (train, test, truth).
        bin_ms: bin width in ms; the benchmark uses 5 and 20.
        phase: val (train on split `train`, evaluate on `val`) or test (train on `train` and `val`, evaluate on `test`).
        folder: the files may lie anywhere below it; each must have its pinned size and SHA-256.
        fetch: download missing files from the DANDI archive into `folder` (`pip install '.[fetch]'` in a checkout).
        stanza: for a recording of your own, the keys that docs/datasets.md describes: align, window_ms, behavior, ...

    Raises:
        NlbflowError: the name is unknown; or a file is missing, is not the pinned one, or cannot be read as the stanza
            says.
    """
    if phase not in ("val", "test"):
        raise NlbflowError(f"phase is {phase!r}; expected val or test.")
    if stanza is not None:
        parts = (
            {"whole": Path(dataset)} if isinstance(dataset, str | Path) else {k: Path(p) for k, p in dataset.items()}
        )
        name, definition, version = Path(next(iter(parts.values()))).stem, dict(stanza), "own"
    else:
        catalogue = yaml.safe_load(resource("datasets.yaml").read_text())["datasets"]
        if dataset not in catalogue:
            raise NlbflowError(
                f"the dataset {str(dataset)!r} is none of {', '.join(catalogue)}; for a recording of your own give its "
                "file and stanza=."
            )
        name, definition = str(dataset), catalogue[dataset]
        pins = read_pins(resource("datasets.tsv"))
        version = dataset_version(name, definition, pins)
        if definition["source"] == "simulator":
            parts = _simulated(name, definition, Path(folder))
        else:
            parts = _pinned(name, definition, pins[name], Path(folder), fetch)
            published = next(files_below(Path(folder), PUBLISHED_ANSWERS), None)
            if phase == "test" and definition.get("answers") == "published" and published:
                parts["answers"] = published
    seen = {part: path for part, path in parts.items() if part in ("train", "test", "whole")}
    arrays, absent, facts = cut_input(seen, definition, bin_ms, phase)
    asked = {"dataset": name, "definition": definition, "bin_ms": bin_ms, "phase": phase, "version": version}
    summary, notes = summarise(arrays, absent, asked, facts)
    spikes = {key: a.astype(np.float32) if "spikes" in key else a for key, a in arrays.items()}
    fields = [key for key in Data.__dataclass_fields__ if key.startswith(("train_", "eval_"))]
    return Data(
        dataset=name,
        bin_ms=bin_ms,
        phase=phase,
        **{key: spikes.get(key) for key in fields},
        absent=absent,
        summary=dict(summary),
        notes=notes,
        definition=definition,
        # in phase val the test recording is read for the answers too: the benchmark's clock starts with it
        parts={part: path for part, path in parts.items() if phase == "test" or part != "truth"},
        version=version,
    )


def _pinned(name: str, definition: Mapping, pins: Mapping, folder: Path, fetch: bool) -> dict[str, Path]:
    """The pinned files of a dataset below a folder, downloaded if asked for."""
    parts = {}
    for part in definition.get("parts", ["train", "test"]):
        pin = pins[part]
        found, fault = find_pinned(pin, folder, _log) if folder.is_dir() else (None, f"There is no folder {folder}")
        if found is None and fetch:
            from nlbflow.archive.fetch import fetch_from_dandi

            found = folder / pin.dandiset / pin.version / pin.path
            found.parent.mkdir(parents=True, exist_ok=True)
            fetch_from_dandi(pin, found, ARCHIVE, _log)
        if found is None:
            raise NlbflowError(
                f"{fault}; put the pinned file ({pin.bytes / 1e6:.0f} MB) there, or load with fetch=True."
            )
        parts[part] = found
    return parts


def _simulated(name: str, definition: Mapping, folder: Path) -> dict[str, Path]:
    """The files of a simulated session, written below a folder if they are not there."""
    parts = {part: folder / name / file for part, file in SIMULATED.items()}
    if not all(path.is_file() for path in parts.values()):
        try:
            from nlbflow.recordings.simulator.nwb import write_session
        except ModuleNotFoundError as error:
            raise NlbflowError(
                f"the session {name} is not in {folder} and cannot be simulated without {error.name}; "
                "pip install '.[simulate]' in a checkout."
            ) from error
        from nlbflow.recordings.simulator.kinds import simulate

        (folder / name).mkdir(parents=True, exist_ok=True)
        unfinished = {part: path.with_name(f".{path.name}") for part, path in parts.items()}
        write_session(simulate(definition["simulator"]), unfinished)
        for part, path in parts.items():
            unfinished[part].rename(path)
    return parts


def evaluate(
    rates: Mapping[str, np.ndarray], data: Data, *, intervals: bool = False, draws: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """The benchmark's metrics of a prediction (Pei et al. 2021, arXiv:2109.04463), as the workflow's tables have them.

    On simulated data with a known structure also the metrics of neuron_labels, neuron_similarity, and train_states and
    eval_states where they are among the arrays (docs/metrics.md).

    Args:
        rates: expected spikes per bin (trials, bins, neurons), float32 or float64, by name: eval_rates_heldin and
            eval_rates_heldout; train_rates_heldin and train_rates_heldout for the decoder of behavior; both or none
            of eval_rates_heldin_forward and eval_rates_heldout_forward for fp-bps. `data.shapes()` has their shapes.
        data: from `load`; the answers are read here.
        intervals: whether to add the 95 % interval over evaluation trials.
        draws: how many times the trials are resampled for the intervals.
        seed: seed of the resampling.

    Returns:
        a row for each metric with the column `value` and, with intervals, `low` and `high`.

    Raises:
        NlbflowError: an array is missing, has another shape, or does not hold rates in spikes per bin.
    """
    needed = needed_arrays(data.train_behavior)
    given = {name: np.asarray(array) for name, array in rates.items()}
    mean = float(data.train_spikes_heldin.mean()) if data.train_spikes_heldin is not None else 0.0
    check_prediction(given, data.shapes(), "of evaluate", needed, spikes_mean=mean, bin_ms=data.bin_ms)
    block, answers = data.definition.get("bootstrap_block", 1), data.answers
    scores, bootstraps = benchmark_scores(answers, given, draws if intervals else 0, seed, block)
    scores |= structure_scores(answers, given)
    series = series_of(data.definition)
    table = pd.DataFrame({"value": pd.Series(renamed(scores, series), dtype=float)})
    if intervals:
        found = {name: one.interval() or (np.nan, np.nan) for name, one in renamed(bootstraps, series).items()}
        table["low"] = pd.Series({name: low for name, (low, _) in found.items()}, dtype=float)
        table["high"] = pd.Series({name: high for name, (_, high) in found.items()}, dtype=float)
    return table.rename_axis("metric")


def save_submission(rates: Mapping[str, np.ndarray], path: str | Path, data: Data) -> None:
    """Write rates in the benchmark's submission layout, whole or not at all.

    Args:
        rates: as for `evaluate`.
        path: the file. If it exists, this dataset is added to it and replaces an older one of the same bin width.
        data: from `load`; the layout names its groups after the dataset and bin width.

    Raises:
        NlbflowError: an array is missing, has another shape, or does not hold rates in spikes per bin.
    """
    mean = float(data.train_spikes_heldin.mean()) if data.train_spikes_heldin is not None else 0.0
    given = {name: np.asarray(array) for name, array in rates.items()}
    needed = needed_arrays(data.train_behavior)
    arrays, _ = check_prediction(given, data.shapes(), "to save", needed, spikes_mean=mean, bin_ms=data.bin_ms)
    add_to_submission(Path(path), data.dataset, data.bin_ms, arrays)
