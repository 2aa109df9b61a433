"""NDT, the Neural Data Transformer, and STNDT, which attends between neurons too: encoders that predict masked counts.

Ye & Pandarinath 2021, "Representation learning for neural population activity with Neural Data Transformers",
doi:10.51628/001c.27358, with the recipe of the benchmark's baseline (Pei et al. 2021, arXiv:2109.04463): held-in counts
with zeros for held-out neurons and the forward window go in, log rates of all come out; masked held-in counts are
predicted, held-out and forward ones always. With `width` 0 and `step_ms` 0 it is that network, with two differences:
the readout's bias starts at the neurons' log mean rates instead of 0, which saves thousands of updates, and an odd
width, which the heads do not divide, gets a column of zeros. Small data on a CPU wants a narrow network with steps
longer than a bin: the DEFAULTS.

With `spatial` it is STNDT, the Spatiotemporal Neural Data Transformer (Le & Shlizerman 2022, NeurIPS,
arXiv:2206.04727): in each layer attention over time makes features of each step, attention between neurons (each a
token that holds its values over the trial) makes weights, and these mix the features. Its contrastive loss draws the
latents of two differently masked views of a trial together (Chen et al. 2020, arXiv:2002.05709); it is of their means
over time here.

Assumes: counts that are hidden can be told from those of other steps within the context; with `spatial` also from how
  neurons go together.
Latents: what log rates are read from linearly, up to an invertible linear map: an axis means nothing by itself and is
  another for each seed.
Tells: what attention to other moments is worth without dynamics; with `spatial`, what attention between neurons adds.
Cost: `ndt` 76 s on one CPU core on the simulated session, with the defaults (0.5 GB); with the published settings about
  4.4 h on an H100 for all seven datasets (estimated; 5 ms, one seed, one phase). Needs PyTorch.
Limits: no state goes on after the window: forward bins are filled in as hidden ones are. At the published size it needs
  a GPU, on which it was never trained to its end here.
Reference code: NDT's (https://github.com/snel-repo/neural-data-transformers, Unlicense), no code of which is used.
  STNDT's: not checked; nothing of it is used.
"""

from nlbflow.methods.networks.ndt import task_of as task
from nlbflow.methods.networks.training import predict_side_by_side

DEFAULTS = {
    # Width of the encoder, a linear map of the counts; 0: the counts themselves, one column for each neuron.
    "width": 48,
    # Dimensions of that map, which is of two factors, and of a layer before the readout; 0: no such limit.
    "factors": 8,
    "latents": 16,
    # At `width` 0: columns learned for each neuron and count, as published for area2_bump (2); 0: the count itself.
    "count_columns": 0,
    # Length of a time step in ms; the bin's width if that is longer.
    "step_ms": 40,
    "layers": 3,
    # Attention between neurons besides (columns of the encoder, where it has a width of its own): STNDT.
    "spatial": False,
    # Weight of STNDT's contrastive loss; 0: without it, at half the time.
    "contrast_weight": 0.0,
    "heads": 2,
    # Units of the feed-forward networks.
    "hidden": 128,
    # Time steps that a step may attend to, before and after itself; negative: all.
    "context_backward": 4,
    "context_forward": 4,
    # Dropout: within layers, of the encoder's output, of its input.
    "dropout": 0.2,
    "dropout_rates": 0.2,
    "dropout_embedding": 0.1,
    # Share of time steps masked at each update; of these the share set to 0; of the rest the share made random.
    "mask_ratio": 0.1,
    "mask_zero_ratio": 0.8,
    "mask_random_ratio": 0.8,
    # Share of single held-in entries hidden besides, and then predicted, by coordinated dropout.
    "input_dropout": 0.5,
    # Longest span of masked steps, and the epochs between which spans come into use.
    "max_span": 3,
    "span_ramp_start": 50,
    "span_ramp_end": 100,
    # Training; see nlbflow.methods.networks.training.Settings. float32, tf32 or bfloat16; auto, cpu or cuda.
    "epochs": 300,
    "batch": 32,
    "learning_rate": 0.008,
    "warmup_epochs": 20,
    "weight_decay": 0.01,
    "averaging": 0.95,
    "clip_norm": 200.0,
    "validate_every": 2,
    "patience": 150,
    "refit": True,
    "device": "auto",
    "precision": "float32",
}
HISTORY = True
CHECK = {"width": 6, "count_columns": 0, "layers": 2, "hidden": 8, "epochs": 2, "device": "cpu"}


def predict(data, params: dict, seed: int) -> dict:
    """Rates in spikes per bin, (trials, time, neurons), and latents, (trials, time, width).

    Args:
        data: all spikes of it are used, and bin_ms.
        params: see DEFAULTS.
        seed: the seed of weights, order of trials, masks and dropout.

    Raises:
        NlbflowError: a parameter is out of range, or there is no such device.
    """
    return task(data, params, seed).predict(data)


def predict_seeds(data, params: dict, seeds) -> list[dict]:
    """What `predict` returns for each of several seeds, trained side by side."""
    return predict_side_by_side(task, data, params, seeds)
