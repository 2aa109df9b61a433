"""Oracle: the rates that simulated spikes were drawn from; on average no prediction has more bits per spike.

Only simulated data (`nlbflow.recordings.simulator.session`) has them.

Assumes: nothing: spikes were drawn from these rates.
Latents: none, the simulator's states are not shown.
Tells: the ceiling of co-bps on simulated data.
Cost: none, the rates are read from the answers.
Limits: recorded data have no true rates. It is no ceiling of psth R2, which compares rates with averages of a few
  recorded trials, noise included.
Reference code: none; the rates are the simulator's.
"""

from nlbflow.errors import NlbflowError

DEFAULTS = {}
SEEDED = False
ORACLE = True
NEEDS = ["true_rates"]

NAMES = ("train_rates_heldin", "train_rates_heldout", "eval_rates_heldin", "eval_rates_heldout")
FORWARD = ("eval_rates_heldin_forward", "eval_rates_heldout_forward")


def predict(data, params: dict, seed: int) -> dict:
    """The true rates in spikes per bin, (trials, time, neurons).

    Raises:
        NlbflowError: the dataset has no true rates.
    """
    if "true_rates" not in data.answers:
        raise NlbflowError(
            "true_rates expects a simulated dataset, but found none of its arrays among the answers; take true_rates "
            "out of the models that run on recorded data."
        )
    rates = data.answers["true_rates"]
    names = NAMES + (FORWARD if data.train_spikes_heldin_forward is not None else ())
    return {name: rates[name] for name in names} | {"facts": {"parameters": 0}}
