"""LFADS: a recurrent generator of dynamics, inferred trial by trial with a variational autoencoder.

Sussillo et al. 2016, arXiv:1608.06315; Pandarinath et al. 2018, Nature Methods 15:805; with coordinated dropout
(Keshtkaran & Pandarinath 2019, arXiv:1908.07896). Sizes and optimiser are those of the benchmark's AutoLFADS (Pei et
al. 2021, arXiv:2109.04463); what AutoLFADS searches has a fixed value here. Where this differs: a running mean of the
weights is validated and predicts, and the best ones are chosen by the likelihood of held-out neurons in the validation
trials, which the encoders never see. With `read_in` 0, `step_ms` 0 and `refit` false the rest is as published. Small
data want encoders that read through a few numbers, and all trials: the DEFAULTS.

Assumes: a trial is the course of one recurrent network from an initial state, pushed by a few inferred inputs; log
  rates are linear in its factors, counts are Poisson.
Latents: the factors, averaged over posterior samples, up to an invertible linear map: an axis means nothing by itself
  and is another for each seed.
Tells: how far dynamics from an initial state, helped by inferred inputs, explain single trials.
Cost: 60 s on one CPU core on the simulated session; with the published settings about 22 h on an H100 for all seven
  datasets (estimated; 5 ms, one seed, one phase). Needs PyTorch.
Limits: the score hangs on hyperparameters that have fixed values here. Dynamics and inputs can explain the same, and
  the inferred inputs are not kept with the prediction. It was never trained to its end on a GPU here.
Reference code: lfads-torch (https://github.com/arsedler9/lfads-torch), which is not open source (non-commercial
  research only, no derivative works); nothing of it is used. Sizes are those of nlb_tools' scripts
  (https://github.com/neurallatents/nlb_tools, MIT), no code of which is used.
"""

from nlbflow.methods.lfads.fit import predict as fit_and_predict
from nlbflow.methods.lfads.population import Range

DEFAULTS = {
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
    # Adam's rate.
    "learning_rate": 0.004,
    # Share of encodings and factors that is dropped.
    "dropout": 0.3,
    # Coordinated dropout: share of the input counts that is dropped, and learnt from.
    "cd_rate": 0.5,
    # Weights of the divergences of initial condition and inferred inputs, in nats per trial; the likelihood is per bin
    # and neuron, so 1 / (bins x neurons) is the evidence lower bound's.
    "kl_ic": 1e-5,
    "kl_input": 1e-5,
    # Weights of half the mean square of the recurrent weights.
    "l2_generator": 0.01,
    "l2_controller": 0.01,
    # Number of epochs over which divergences and L2 penalties grow from 0.
    "ramp_epochs": 80,
    # Number of epochs over which the learning rate falls to 0 along a cosine; 0: it stays.
    "decay_epochs": 0,
    # Decay per update of the running mean of the weights, which is validated and predicts; 0: the weights themselves.
    "averaging": 0.98,
    # Trials in a batch.
    "batch": 100,
    # Epochs at most, and in a generation, after which weights are compared with the best so far and a checkpoint is
    # written; validation every so many epochs, averaged over the generation.
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
    names = "learning_rate", "dropout", "cd_rate", "kl_ic", "kl_input", "l2_generator", "l2_controller"
    fixed = {name: Range(params[name], params[name], start=params[name]) for name in names}
    return fit_and_predict(data, {**params, "population": 1}, fixed, seeds)
