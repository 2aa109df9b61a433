# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A first model
#
# Held-in spikes go in, rates of all neurons come out, and `nlbflow.evaluate` scores them. The session is simulated, so
# it needs no download and its true rates are known: they score 0.331 bits per spike, which no model can beat.
# `load("mc_maze_small", folder="nwb", fetch=True)` takes a real session instead.

# %%
import matplotlib.pyplot as plt
import numpy as np

import nlbflow
from nlbflow.methods.glm import fit_poisson
from nlbflow.methods.smoothing import gaussian_kernel, smoothing_matrix

data = nlbflow.load("simulated_maze", bin_ms=5, phase="val", folder="nwb")
for label, text in data.summary.items():
    print(f"{label}: {text}")

# %% [markdown]
# ## The data
#
# Spikes of two evaluation trials. A model sees the held-in neurons (black) and has to infer what the held-out neurons
# do; in training trials it sees both.

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
time = data.definition["window_ms"][0] + data.bin_ms * np.arange(data.eval_spikes_heldin.shape[1])
for trial, ax in enumerate(axes):
    bins, neurons = np.nonzero(data.eval_spikes_heldin[trial])
    ax.plot(time[bins], neurons, "|", color="black", markersize=2)
    ax.set(xlabel="time from movement onset (ms)", title=f"evaluation trial {trial}")
axes[0].set_ylabel("held-in neuron")

# %% [markdown]
# ## A model in a dozen lines
#
# Smooth the held-in spikes, keep their first principal components, and let a Poisson regression find the rate of every
# neuron from these latents. Bins of training and evaluation trials go through the same steps.

# %%
LATENTS, KERNEL_MS, ALPHA = 12, 40, 1e-3


def my_model(data):
    kernel = gaussian_kernel(6 * KERNEL_MS // data.bin_ms, KERNEL_MS // data.bin_ms)
    smooth = smoothing_matrix(kernel, data.train_spikes_heldin.shape[1])
    train, evaluated = (np.sqrt(smooth @ spikes) for spikes in (data.train_spikes_heldin, data.eval_spikes_heldin))
    mean = train.mean(axis=(0, 1))
    axes = np.linalg.svd((train - mean).reshape(-1, len(mean)), full_matrices=False)[2][:LATENTS].T
    latents = {"train": (train - mean) @ axes, "eval": (evaluated - mean) @ axes}
    rates = {}
    for group in ("heldin", "heldout"):
        counts = getattr(data, f"train_spikes_{group}")
        features = latents["train"].reshape(-1, LATENTS)
        weights, bias = fit_poisson(features, counts.reshape(-1, counts.shape[2]), ALPHA)
        for part, x in latents.items():
            rates[f"{part}_rates_{group}"] = np.exp(x @ weights + bias)
    return rates


rates = my_model(data)
scores = nlbflow.evaluate(rates, data, intervals=True)
scores.round(4)

# %% [markdown]
# ## A prediction
#
# The spikes of one held-out neuron, and the rate that the model infers without having seen them. The answers are read
# here only to be drawn; `evaluate` reads them itself, and a model never should.

# %%
counts = data.answers["eval_spikes_heldout"]
neuron = int(np.argmax(counts.sum(axis=(0, 1))))
figure, axes = plt.subplots(2, 1, figsize=(9, 4), sharex=True, height_ratios=[1, 2])
trials, bins = np.nonzero(counts[:, :, neuron])
axes[0].plot(time[bins], trials, "|", color="black", markersize=4)
axes[0].set(ylabel="evaluation trial", title=f"held-out neuron {neuron}: spikes, and inferred rates of all trials")
axes[1].plot(time, rates["eval_rates_heldout"][:, :, neuron].T * 1000 / data.bin_ms, color="tab:blue", alpha=0.4, lw=1)
axes[1].set(xlabel="time from movement onset (ms)", ylabel="rate (spikes/s)")

# %% [markdown]
# ## Beside the board
#
# The scores of the README's table are of the same session, bin width and phase (`make demo`). Bars are 95 % intervals
# over the evaluation trials.

# %%
board = {
    "true_rates (oracle)": (0.3311, 0.270, 0.427),
    "slds": (0.2976, 0.237, 0.393),
    "gpfa": (0.2565, 0.204, 0.351),
    "mint": (0.2467, 0.198, 0.332),
    "smoothing": (0.1313, 0.082, 0.208),
    "my model": tuple(scores.loc["co-bps", ["value", "low", "high"]]),
}
names = sorted(board, key=lambda name: board[name][0])
value, low, high = np.array([board[name] for name in names]).T
figure, ax = plt.subplots(figsize=(7, 3))
colors = ["tab:orange" if name == "my model" else "black" for name in names]
ax.hlines(names, low, high, color=colors)
ax.scatter(value, names, color=colors, zorder=2)
ax.set(xlabel="co-bps (bits per spike)", xlim=(0, None))
figure.tight_layout()

# %% [markdown]
# ## Hand it on
#
# The file has the benchmark's submission layout. `nlbflow score my_model.h5` scores it, and a stanza of the workflow
# puts it on a leaderboard (docs/submissions.md). With `predict` in a file of its own, the workflow can train the model,
# tune it and run it with several seeds (docs/models.md).

# %%
nlbflow.save_submission(rates, "my_model.h5", data)
