"""AutoLFADS: LFADS whose hyperparameters are found by population-based training.

Keshtkaran et al. 2022, Nature Methods 19:1572, with the ranges of the benchmark's baseline (Pei et al. 2021,
arXiv:2109.04463; nlb_tools' examples). All members are trained as one batched program (nlbflow.methods.lfads).
Where this differs: a running mean of the weights is validated and predicts, and members are compared by the likelihood
of held-out neurons in the validation trials, which the encoders never see, instead of held-in ones; with `refit` the
best member's course of hyperparameters is followed once more on all trials; `read_in` and `step_ms` are as in lfads.

Assumes: as `lfads`: a trial is the course of one recurrent network from an initial state, pushed by a few inferred
  inputs. What regularises it best can be found by the likelihood of neurons that it does not see.
Latents: the factors of the best member, averaged over posterior samples, up to an invertible linear map: an axis means
  nothing by itself and is another for each seed.
Tells: how far dynamics explain single trials where no hyperparameter was chosen by hand; which ones survive, in the
  history that the learning curves are drawn from.
Cost: with the published settings and twenty members about 28 h on an H100 for all seven datasets (estimated; 5 ms, one
  seed, one phase), 7.8 GB of its memory at MC_Maze_Large's size; needs PyTorch.
Limits: all members share sizes, which are not searched. Dynamics and inputs can explain the same, and the inferred
  inputs are not kept with the prediction. It was never trained to its end on a GPU here.
Reference code: lfads-torch (https://github.com/arsedler9/lfads-torch), which is not open source (non-commercial
  research only, no derivative works); nothing of it is used. Sizes and ranges are those of nlb_tools' scripts
  (https://github.com/neurallatents/nlb_tools, MIT), no code of which is used.
"""

from nlbflow.methods.lfads.fit import predict as fit_and_predict
from nlbflow.methods.lfads.population import Range

DEFAULTS = {
    # Members; 1 is plain LFADS with hyperparameters drawn from the ranges.
    "population": 20,
    # Units of the encoder of the initial condition, in each direction.
    "ic_encoder": 100,
    # Units of the encoder for the controller, in each direction.
    "ci_encoder": 80,
    # Units of the controller.
    "controller": 80,
    # Dimension of the inferred inputs.
    "inferred_inputs": 4,
    # Dimension of the initial condition's distribution.
    "ic_dim": 100,
    # Units of the generator.
    "generator": 100,
    # Factors, between generator and log rates.
    "factors": 40,
    # Dimensions of a linear map of the counts that both encoders read, which then cannot learn small data by heart;
    # 0: the counts themselves.
    "read_in": 8,
    # Length of the network's time steps in ms; the bin's width if that is longer.
    "step_ms": 20,
    # Adam's rate at first, and its range.
    "learning_rate": 0.004,
    "learning_rate_range": [1e-5, 5e-3],
    # Range of the share of encodings and factors that is dropped.
    "dropout_range": [0.0, 0.6],
    # Coordinated dropout, the share of the input counts that is dropped and learnt from: at first, and its range.
    "cd_rate": 0.5,
    "cd_rate_range": [0.01, 0.7],
    # Ranges of the weights of the divergences of initial condition and inferred inputs, in nats per trial, beside the
    # likelihood per bin and neuron.
    "kl_ic_range": [1e-6, 1e-3],
    "kl_input_range": [1e-6, 1e-4],
    # Ranges of the weights of half the mean square of the recurrent weights.
    "l2_generator_range": [1e-4, 1.0],
    "l2_controller_range": [1e-4, 1.0],
    # Perturbations: the factor lies within 1 +- this, for learning rate and dropout, and for weights of penalties.
    "explore_rates": 0.3,
    "explore_penalties": 0.8,
    # Number of epochs over which divergences and L2 penalties grow from 0.
    "ramp_epochs": 80,
    # Number of epochs over which the learning rate falls to 0 along a cosine; 0: it stays.
    "decay_epochs": 0,
    # Decay per update of the running mean of the weights, which is validated and predicts; 0: the weights themselves.
    "averaging": 0.98,
    # Trials in a batch.
    "batch": 100,
    # Epochs at most, and in a generation, after which members compete; validation every so many epochs, averaged over
    # the generation.
    "max_epochs": 10000,
    "generation_epochs": 25,
    "validate_epochs": 5,
    # The training ends after this many generations without a better one.
    "patience": 20,
    # Train once more on all trials, those for validation too, along the course of the best member.
    "refit": True,
    # Posterior samples that are averaged into rates.
    "samples": 50,
    # auto: a GPU if there is one; cpu; cuda.
    "device": "auto",
    # CPU threads: this many processes train members side by side; more threads than members can change last digits.
    "threads": 1,
}
HISTORY = True
CHECK = {
    "population": 3,
    "ic_encoder": 6,
    "ci_encoder": 5,
    "controller": 5,
    "inferred_inputs": 2,
    "ic_dim": 4,
    "generator": 8,
    "factors": 3,
    "read_in": 2,
    "max_epochs": 4,
    "generation_epochs": 2,
    "validate_epochs": 1,
    "samples": 3,
    "threads": 1,
}


def predict(data, params: dict, seed: int) -> dict:
    """Rates in spikes per bin, (trials, time, neurons), with the forward window where there is one, and latents.

    Args:
        data: train_spikes_heldin, train_spikes_heldout, their _forward windows, and eval_spikes_heldin are used.
        params: see DEFAULTS.
        seed: the seed of everything random.

    Raises:
        NlbflowError: a parameter is out of range, there are too few trials, or training diverged.
    """
    return predict_seeds(data, params, [seed])[0]


def predict_seeds(data, params: dict, seeds) -> list[dict]:
    """What `predict` returns for each of several seeds, trained side by side."""
    rates, penalties = params["explore_rates"], params["explore_penalties"]
    ranges = {
        "learning_rate": Range(*params["learning_rate_range"], rates, params["learning_rate"]),
        "dropout": Range(*params["dropout_range"], rates),
        "cd_rate": Range(*params["cd_rate_range"], rates, params["cd_rate"]),
    }
    for name in ("kl_ic", "kl_input", "l2_generator", "l2_controller"):
        ranges[name] = Range(*params[f"{name}_range"], penalties)
    return fit_and_predict(data, params, ranges, seeds)
