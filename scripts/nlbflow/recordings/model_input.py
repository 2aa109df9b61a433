"""What a model sees of a recording: the arrays of input.h5, checked."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nlbflow.errors import NlbflowError


@dataclass
class ModelInput:
    """What a model sees: the arrays of input.h5, as numpy arrays in which the model may write.

    Attributes:
        bin_ms: int, the bin width in ms.
        train_spikes_heldin: float32 (training trials, bins, held-in neurons), spike counts.
        train_spikes_heldout: float32 (training trials, bins, held-out neurons), spike counts.
        eval_spikes_heldin: float32 (evaluation trials, bins, held-in neurons), spike counts.
        train_spikes_heldin_forward: float32 (training trials, forward bins, held-in neurons), spike counts of the
            window that follows. A bin that was not observed is NaN, as is, in tuning, one that lies in a trial to be
            predicted.
        train_spikes_heldout_forward: float32 (training trials, forward bins, held-out neurons), likewise.
        train_behavior: float64 (training trials, bins, channels) in the recording's unit, NaN where it is unknown; or
            (training trials, columns), for a dataset whose behaviour is columns of the table of trials.
        train_condition: int64 (training trials,), the number of each trial's condition; -1 for none.
        psth_kernel_ms: float, for oracles: the standard deviation of the Gaussian that smooths the PSTHs, in ms.
        answers: dict, for oracles: the arrays of target.h5; empty for every other model.
        work: pathlib.Path, a folder for the checkpoints of a long training. What lies there when a job starts was made
            with the same input, parameters, seed and code by a job that was killed. None in the check and in tuning.
    """

    bin_ms: int
    train_spikes_heldin: np.ndarray
    train_spikes_heldout: np.ndarray
    eval_spikes_heldin: np.ndarray
    train_spikes_heldin_forward: np.ndarray | None = None
    train_spikes_heldout_forward: np.ndarray | None = None
    train_behavior: np.ndarray | None = None
    train_condition: np.ndarray | None = None
    psth_kernel_ms: float | None = None
    answers: dict = field(default_factory=dict)
    work: Path | None = None

    def __post_init__(self):
        for name in ("train_spikes_heldin", "train_spikes_heldout", "eval_spikes_heldin"):
            spikes = np.asarray(getattr(self, name), np.float32)
            refuse_nan(name, spikes)
            setattr(self, name, spikes)
        for name in ("train_spikes_heldin_forward", "train_spikes_heldout_forward"):
            if getattr(self, name) is not None:
                setattr(self, name, np.asarray(getattr(self, name), np.float32))

    def shapes(self) -> dict[str, tuple[int, int, int]]:
        """The shape that each predicted array must have."""
        return expected_shapes(
            self.train_spikes_heldin,
            self.train_spikes_heldout,
            self.eval_spikes_heldin,
            self.train_spikes_heldin_forward,
        )


def expected_shapes(
    train_spikes_heldin: np.ndarray,
    train_spikes_heldout: np.ndarray,
    eval_spikes_heldin: np.ndarray,
    train_spikes_heldin_forward: np.ndarray | None = None,
) -> dict[str, tuple[int, int, int]]:
    """The shape (trials, bins, neurons) that each predicted array must have, by name."""
    heldin, heldout = train_spikes_heldin.shape[2], train_spikes_heldout.shape[2]
    train, evaluated = train_spikes_heldin.shape[:2], eval_spikes_heldin.shape[:2]
    shapes = {
        "train_rates_heldin": (*train, heldin),
        "train_rates_heldout": (*train, heldout),
        "eval_rates_heldin": (*evaluated, heldin),
        "eval_rates_heldout": (*evaluated, heldout),
    }
    if train_spikes_heldin_forward is not None:
        ahead = train_spikes_heldin_forward.shape[1]
        shapes["eval_rates_heldin_forward"] = (evaluated[0], ahead, heldin)
        shapes["eval_rates_heldout_forward"] = (evaluated[0], ahead, heldout)
    return shapes


def refuse_nan(name: str, spikes: np.ndarray) -> None:
    """Refuse counts that are not numbers, naming trials and bins.

    Raises:
        NlbflowError: a count is NaN or infinite.
    """
    bad = ~np.isfinite(spikes)
    if bad.any():
        trials, bins = (sorted(set(axis.tolist())) for axis in np.nonzero(bad.any(axis=2)))
        raise NlbflowError(
            f"{name} has {int(bad.sum()):,} counts that are NaN, in {len(trials)} trials (first {trials[:3]}) and "
            f"{len(bins)} bins (first {bins[:3]}); models need every bin observed: shorten the window (config key "
            "datasets.*.window_ms) or leave these trials out of the split."
        )
