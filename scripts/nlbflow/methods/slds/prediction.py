"""From the counts of a dataset to what a fit takes, and from a fit to what a model returns."""

import logging

import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.methods.slds.fit import Slds, infer
from nlbflow.methods.slds.forecast import forecast
from nlbflow.methods.steps import Steps, bins_per_step

# A share of the bins above which one state is as good as a model with one.
ALONE = 0.99

log = logging.getLogger("nlbflow")


class Windows:
    """The observed window of a dataset and the one to be forecast, if there is one, in steps of about `step_ms`.

    `counts` (trials, steps, held-in and held-out neurons) are those of the training trials in both, NaN where missing;
    `step_ms` is how long a step is, or most of them where they cannot be even. All windows have steps of one length,
    that of the shortest window at most.

    Args:
        data: what a model's `predict` is given.
        step_ms: as asked for; a bin at least.
    """

    def __init__(self, data, step_ms: float) -> None:
        self.data = data
        names = ["", "_forward"] if data.train_spikes_heldin_forward is not None else [""]
        found = [
            np.concatenate([getattr(data, f"train_spikes_{group}{name}") for group in ("heldin", "heldout")], axis=2)
            for name in names
        ]
        length = min(bins_per_step(step_ms, data.bin_ms), *(window.shape[1] for window in found))
        self.steps = {name: Steps(window.shape[1], length) for name, window in zip(names, found, strict=True)}
        summed = [steps.sums(window) for steps, window in zip(self.steps.values(), found, strict=True)]
        self.counts, self.step_ms = np.concatenate(summed, axis=1), length * data.bin_ms

    def predict(self, model: Slds, iterations: int) -> dict[str, np.ndarray]:
        """Rates in spikes per bin, mean latents and likeliest states of each bin, by held-in counts alone.

        Args:
            model: fitted to `counts`.
            iterations: updates of the posterior, at most.
        """
        prediction = {}
        for part in ("train", "eval"):
            posterior = infer(model, self.seen(part), iterations)[0]
            rates = {"": model.emission.rates(posterior.latents)}
            if part == "eval" and self.ahead:
                rates["_forward"] = forecast(model, posterior, self.ahead)
            prediction |= self.shown(part, rates, posterior.latents.mean, posterior.states)
        return prediction

    @property
    def ahead(self) -> int:
        """Steps of the window to be forecast, 0 if there is none."""
        return self.steps["_forward"].count if "_forward" in self.steps else 0

    def seen(self, part: str) -> np.ndarray:
        """The counts of a part's observed window as `counts`, NaN for held-out neurons."""
        seen = self.steps[""].sums(getattr(self.data, f"{part}_spikes_heldin"))
        unseen = np.full((*seen.shape[:2], self.counts.shape[2] - seen.shape[2]), np.nan)
        return np.concatenate([seen, unseen], axis=2)

    def shown(
        self, part: str, rates: dict[str, np.ndarray], latents: np.ndarray, states: np.ndarray
    ) -> dict[str, np.ndarray]:
        """What a model returns of a part, from values of each step: rates by window, latents, chances of states."""
        found, heldin = {}, self.data.train_spikes_heldin.shape[2]
        for name, values in rates.items():
            values = self.steps[name].rates(np.log(np.maximum(values, np.finfo(float).tiny))).astype(np.float32)
            found[f"{part}_rates_heldin{name}"] = values[:, :, :heldin]
            found[f"{part}_rates_heldout{name}"] = values[:, :, heldin:]
        found[f"{part}_latents"] = self.steps[""].values(latents).astype(np.float32)
        found[f"{part}_states"] = self.steps[""].held(states.argmax(axis=2))
        return found


def occupancy(states: np.ndarray) -> str:
    """Each state's share of the bins of a fit, the largest first, from chances (trials, bins, states); with a warning
    if one holds nearly all."""
    shares = np.sort(states.mean(axis=(0, 1)))[::-1]
    if len(shares) > 1 and shares[0] > ALONE:
        log.warning(
            f"One of {len(shares)} states holds {100 * shares[0]:.1f} % of the bins, so the dynamics do not switch: a "
            "smaller l2_A may tell states apart; where it does not, states: 1 is the same model for less."
        )
    return ", ".join(f"{share:.3f}" for share in shares)


def check_params(model: str, params: dict, numbers: tuple[str, ...]) -> None:
    """Refuse parameters that no fit can use; `fit` itself checks the rest.

    Args:
        model: its name, for the error.
        params: of a model that calls `fit` and `Windows`.
        numbers: names of those that must be whole, beside the iterations.

    Raises:
        NlbflowError: which one, and what was found.
    """
    for name in (*numbers, "iterations", "start_iterations", "inference_iterations"):
        if not isinstance(params[name], int):
            raise NlbflowError(f"{model} needs a whole number as {name}; found {params[name]}.")
    if params["inference_iterations"] < 1 or not 0 < params["step_ms"] < np.inf:
        raise NlbflowError(
            f"{model} needs inference_iterations >= 1 and a finite step_ms > 0; found "
            f"{params['inference_iterations']} and {params['step_ms']}."
        )
