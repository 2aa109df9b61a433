"""Neuroformer: a transformer over single spikes, with a head that gives rates and one that generates spikes.

Antoniades et al. 2024, "Neuroformer: multimodal and multitask generative pretraining for brain data", ICLR,
arXiv:2311.00136. Spikes are tokens; those of a window are predicted one by one, neuron and time, from those before
them. That head is the paper's. Rates cannot be had from it: thousands of samples would be needed, and held-out spikes
are not known as it goes on. So the rate head is ours: each time step asks, by a query, the held-in spikes around it
(cross-attention through the same blocks and embeddings), and log rates are linear in what it finds. The network is
pretrained to generate spikes and then does both. `neuroformer_rates` leaves the generative part out: what
`neuroformer` has above it is due to that.

Ours too: probabilities of the generative head cover only sequences in order (`canonical`), so that they are a
distribution over counts; a learned preference for each offset in time; a token that is always there, since attention
averages and could not count.

Assumes: a neuron's rate follows from which held-in neurons fired how long before or after.
Latents: what log rates are read from linearly, up to an invertible linear map: an axis means nothing by itself and is
  another for each seed.
Tells: by its attention which neurons' spikes tell of a neuron's (`neuron_similarity`); by `generative_bits`, how well
  spikes can be told from those before them, in bits per spike above constant rates.
Cost: about 100 s of CPU and 1 GB on an excerpt of MC_Maze_Large (111 trials, 5 ms), without the generative part half
  of that; needs PyTorch. Bursts are dear: simulated_clusters, with up to 883 spikes in 40 ms, takes 4 s of CPU an epoch
  and 2 GB.
Limits: made for many more spikes than these sessions have: with a hundred trials the generative part costs the rates
  more than it gives. Rates of held-in neurons follow their own spikes, so condition averages are rough (psth R2 below
  0). What attention shows need not be a synapse, and in `simulated_coupled` it does not find those there are.
Reference code: https://github.com/a-antoniades/Neuroformer (MIT); nothing of it is used, this is written from a
  description.
"""

import numpy as np
import torch
from nlbflow.errors import NlbflowError
from nlbflow.methods.networks.common import (
    TimeSteps,
    log_mean_rates,
    poisson_loss,
    prediction,
    scored_entries,
    training_tensors,
    validation_facts,
)
from nlbflow.methods.networks.coordinated import unseen_loss
from nlbflow.methods.networks.device import prepare
from nlbflow.methods.networks.generative import (
    attention_map,
    generative_loss,
    log_likelihoods,
    log_shares,
    longest_sequence,
    poisson_log_likelihoods,
    windows_of,
)
from nlbflow.methods.networks.neuroformer import Neuroformer
from nlbflow.methods.networks.training import Settings, train

DEFAULTS = {
    # Width of all layers and heads of the attention (published: 256, 8).
    "width": 64,
    "heads": 2,
    # Blocks of queries and spikes, and layers of spikes alone before them (published: 6 of each kind).
    "blocks": 2,
    "generative_layers": 1,
    # Units of the feed-forward networks (published: 1024).
    "hidden": 128,
    "dropout": 0.2,
    # Dimensions of the layer from which rates are read out.
    "latents": 16,
    # Length of a time step, the window of spikes, in ms (published: 50).
    "step_ms": 40,
    # How far before and after itself a step may attend to spikes; negative: to all. The generative head looks back.
    "context_ms": 200,
    # Whether steps see no spikes after their own end. Rates are linear between the middles of steps, so they see up to
    # one more.
    "causal": False,
    # Whether sequences out of order have no probability; false: as published.
    "canonical": True,
    # Share of held-in entries (step and neuron) hidden at an update, and then predicted: drawn between these.
    "input_dropout_least": 0.1,
    "input_dropout_most": 0.7,
    # Weight of the generative loss beside that of rates, both per count; epochs in which it is the only one; and the
    # share of steps whose spikes are generated in an update.
    "generative_weight": 0.05,
    "pretrain_epochs": 0,
    "generative_share": 0.125,
    # Training; see nlbflow.methods.networks.training.Settings. `epochs` are those after pretraining.
    "epochs": 120,
    "batch": 16,
    "learning_rate": 0.008,
    "warmup_epochs": 5,
    "weight_decay": 0.01,
    "averaging": 0.95,
    "clip_norm": 1.0,
    "patience": 60,
    "refit": True,
    "device": "auto",
    "precision": "float32",
}
HISTORY = True
CHECK = {
    "width": 8,
    "hidden": 8,
    "latents": 3,
    "blocks": 1,
    "pretrain_epochs": 1,
    "epochs": 2,
    "step_ms": 10,
    "context_ms": 20,
    "device": "cpu",
}


def predict(data, params: dict, seed: int) -> dict:
    """Rates in spikes per bin, (trials, time, neurons), latents, (trials, time, latents), and `neuron_similarity`, the
    generative head's mean attention (see `generative.attention_map`).

    Args:
        data: all spikes of it are used, and bin_ms.
        params: see DEFAULTS.
        seed: the seed of weights, order of trials, hidden entries and dropout.

    Raises:
        NlbflowError: a parameter is out of range, or there is no such device.
    """
    _check(params)
    generative = params["generative_weight"] > 0 or params["pretrain_epochs"] > 0
    settings = Settings.of({**params, "epochs": params["epochs"] + params["pretrain_epochs"]})
    device = prepare(seed, params["device"])
    trials = training_tensors(data, device)
    bins, heldin = data.train_spikes_heldin.shape[1:]
    total, neurons = trials["counts"].shape[1:]
    steps = TimeSteps(bins, total - bins, int(params["step_ms"] // data.bin_ms))
    if steps.length > bins:
        raise NlbflowError(
            f"neuroformer needs a step_ms within the observed window of {bins * data.bin_ms} ms, since the spikes of "
            f"whole steps are generated; found {params['step_ms']}."
        )
    net = Neuroformer(steps, neurons, data.bin_ms, params)
    net.readout.rates.bias.data = log_mean_rates(trials["counts"].cpu())
    net.to(device)
    mean_rates = net.readout.rates.bias.data.clone()
    windows = windows_of(trials["counts"], steps)
    net.next_neuron.bias.data = log_shares(windows.tokens, neurons)
    longest = longest_sequence(windows)
    cut = int((windows.tokens.before[:, -1] > longest).sum())
    least, most = params["input_dropout_least"], params["input_dropout_most"]
    # The loss of rates is a mean over counts, of which few are spikes. A loss per spike that is as large would leave it
    # no weight, and Adam's averages, from pretraining, no pace.
    spikes_per_count = trials["counts"].nanmean().item()

    def rates_loss(net, batch):
        share = least + (most - least) * torch.rand(()).item()
        hidden = torch.rand(len(batch["heldin"]), steps.steps, heldin, device=device) < share
        hidden = hidden.repeat_interleave(steps.length, dim=1)[:, :bins]
        log_rates, _ = net(batch["heldin"] * ~hidden, share)
        return poisson_loss(log_rates, batch["counts"], scored_entries(batch["counts"], hidden))

    def spikes_loss(net, batch):
        windows = windows_of(batch["counts"], steps)
        some = torch.randperm(len(windows.at[0]))[: round(params["generative_share"] * len(windows.at[0])) or 1]
        return spikes_per_count * generative_loss(net, batch["heldin"], windows.select(some.to(device)), longest)

    def training_loss(net, batch, epoch):
        if epoch < params["pretrain_epochs"]:
            return spikes_loss(net, batch)
        loss = rates_loss(net, batch)
        return loss + params["generative_weight"] * spikes_loss(net, batch) if params["generative_weight"] else loss

    def told_of_validation(net, batch):
        found = validation_facts(net, batch)
        return found | _told_bits(net, batch, steps, mean_rates) if generative else found

    facts, history = train(net, trials, training_loss, unseen_loss, told_of_validation, settings, data.work)
    predicted = prediction(net, data, facts | ({"cut_steps": cut} if generative else {}), history)
    if generative:
        predicted["neuron_similarity"] = attention_map(net, trials["heldin"], windows).cpu().numpy()
    return predicted


def _told_bits(net: Neuroformer, batch: dict, steps: TimeSteps, log_rates: torch.Tensor) -> dict[str, float]:
    """By how many bits per spike a step's spikes are more likely, given those before, than at constant rates."""
    windows = windows_of(batch["counts"], steps)
    told = log_likelihoods(net, batch["heldin"], windows)
    constant = poisson_log_likelihoods(log_rates, windows, batch["counts"].nan_to_num(), steps)
    spikes = windows.tokens.before[:, -1].sum().clamp(min=1)
    return {"generative_bits": float((told - constant).double().sum() / spikes / np.log(2))}


def _check(params: dict) -> None:
    least, most = params["input_dropout_least"], params["input_dropout_most"]
    if not 0 < least <= most < 1:
        raise NlbflowError(
            "neuroformer needs 0 < input_dropout_least <= input_dropout_most < 1, since only hidden entries teach it "
            f"held-in rates; found {least} and {most}."
        )
    if params["heads"] < 1 or params["width"] % params["heads"] or params["width"] < 2:
        raise NlbflowError(
            f"neuroformer needs a width of at least 2 that its heads divide; found {params['width']} and "
            f"{params['heads']}."
        )
    if params["pretrain_epochs"] < 0 or params["generative_weight"] < 0 or not 0 < params["generative_share"] <= 1:
        raise NlbflowError(
            "neuroformer needs pretrain_epochs and generative_weight of at least 0 and a generative_share above 0 and "
            f"at most 1; found {params['pretrain_epochs']}, {params['generative_weight']} and "
            f"{params['generative_share']}."
        )
    if params["patience"] <= params["pretrain_epochs"]:
        raise NlbflowError(
            "neuroformer needs a patience of more than pretrain_epochs, in which the loss of rates need not fall: "
            f"training would end before they are fitted; found {params['patience']} and {params['pretrain_epochs']}."
        )
