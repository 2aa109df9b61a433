"""Made-up histories of training, as a prediction's group `history` holds them."""

import numpy as np


def fake_curves(epochs: int = 60, seed: int = 0) -> dict[str, np.ndarray]:
    """Of the training loop: validated every fifth epoch, then fitted again to all trials."""
    rng = np.random.default_rng(seed)
    epoch = np.concatenate([np.arange(1, epochs + 1), np.arange(1, epochs // 2 + 1)])
    refitting = (np.arange(len(epoch)) >= epochs).astype(int)
    loss = 0.4 + 0.3 * np.exp(-epoch / 12) + 0.004 * rng.normal(size=len(epoch))
    validation = np.where((epoch % 5 == 0) & (refitting == 0), loss + 0.02, np.nan)
    return {
        "refitting": refitting,
        "epoch": epoch,
        "training_loss": loss,
        "validation_loss": validation,
        "learning_rate": 0.01 * 0.97**epoch,
    }


TRAITS = ("learning_rate", "dropout", "cd_rate", "kl_ic", "kl_input", "l2_generator", "l2_controller")


def fake_population(members: int = 8, generations: int = 15, seed: int = 0) -> dict[str, np.ndarray]:
    """Of population-based training; with one member, of LFADS alone."""
    rng = np.random.default_rng(seed)
    traits, rows = np.exp(rng.normal(size=(members, len(TRAITS))) - 4), []
    for generation in range(generations):
        losses = 0.4 + 0.3 * np.exp(-generation / 4) + 0.02 * rng.random(members)
        opponents = (np.arange(members) + 1 + rng.integers(max(1, members - 1), size=members)) % members
        parents = np.where(losses[opponents] < losses, opponents, np.arange(members))
        rows += [(generation, m, *traits[m], losses[m], parents[m]) for m in range(members)]
        traits = traits[parents] * np.where(parents == np.arange(members), 1, rng.uniform(0.8, 1.2, members))[:, None]
    names = ("generation", "member", *TRAITS, "validation_loss", "parent")
    return {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
