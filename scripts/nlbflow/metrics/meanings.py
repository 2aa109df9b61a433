"""What each metric means, in a sentence or two, and which way is better: for a page's headers and a paper's reader.

docs/metrics.md has the definitions with sources and ranges.
"""

import re

from nlbflow.metrics.decoded_metric import VELOCITY_R2, is_decoded
from nlbflow.metrics.formulas import LOWER_IS_BETTER

FEW_SHOTS = re.compile(r"(\d+)-shot co-bps")
MEANINGS = {
    "co-bps": "Bits per spike by which the predicted rates of held-out neurons beat each neuron's mean count. 0: the "
    "null model.",
    VELOCITY_R2: "R2 of the hand's or finger's velocity, decoded linearly from the rates of all neurons. 0: its mean.",
    "psth R2": "R2 of the predicted rates, averaged over each condition's evaluation trials, with the recorded PSTHs. "
    "0: each neuron's mean. It is lower with fewer trials, whose averages are noisier.",
    "tp corr": "Correlation of neural speed with the interval that the monkey produced; fast dynamics go with short "
    "intervals. 0: none.",
    "fp-bps": "Bits per spike, as co-bps, of all neurons in the 200 ms after the observed window. 0: the null model.",
    "latent dimension": "Participation ratio of the latents' covariance: how many dimensions they fill.",
    "rate R2": "R2 of the predicted rates with those that the spikes were drawn from. 0: each neuron's mean.",
    "Poisson D2": "Share of the Poisson deviance about its mean count that the rates of a held-out neuron explain; "
    "each neuron counts alike. 0: the mean count.",
    "neuron ARI": "Adjusted Rand index of the model's labels of neurons with the true clusters. 0: labels at random.",
    "state ARI": "Adjusted Rand index of the model's states with the simulator's, over bins. 0: states at random.",
    "state accuracy": "Share of bins whose state is the true one, names matched one to one.",
    "coupling AUC": "Area under the ROC curve as true couplings are told from other pairs of neurons. 0.5: by chance.",
    "state R2": "R2 of the simulator's states, decoded linearly from the latents. 0: their mean.",
}
NEITHER = {"latent dimension": "Neither way is better in itself; at equal co-bps fewer is."}


def meaning(metric: str) -> str:
    """What a metric is and what its zero stands for; empty for one that is not known."""
    if found := FEW_SHOTS.fullmatch(metric):
        return (
            f"co-bps of held-out neurons that are regressed on the latents of only {found[1]} training trials. 0: the "
            "null model."
        )
    if metric not in MEANINGS and is_decoded(metric):
        return (
            "R2 of recorded behaviour, decoded linearly from the rates of all neurons; mean over channels. 0: its mean."
        )
    return MEANINGS.get(metric, "")


def direction(metric: str) -> str:
    """Which way of a metric is better."""
    return NEITHER.get(metric, "More negative is better." if metric in LOWER_IS_BETTER else "Higher is better.")
