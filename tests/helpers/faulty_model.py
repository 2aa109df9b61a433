"""A model file with a place for a fault."""

MODEL = '''"""A model for a test."""
import numpy as np

DEFAULTS = {{}}
SEEDED = False


def predict(data, params, seed):
    rates = {{
        "train_rates_heldin": np.ones(data.train_spikes_heldin.shape),
        "train_rates_heldout": np.ones(data.train_spikes_heldout.shape),
        "eval_rates_heldin": np.ones(data.eval_spikes_heldin.shape),
        "eval_rates_heldout": np.ones((*data.eval_spikes_heldin.shape[:2], data.train_spikes_heldout.shape[2])),
    }}
    {fault}
    return rates
'''
