"""Whether the seeds of a model find the same latents, and whether single latents have a meaning (Li et al. 2016, ICLR,
"Convergent learning", arXiv:1511.07543). docs/metrics.md says how to read the three numbers.
"""

import warnings
from collections.abc import Mapping, Sequence
from itertools import combinations, permutations

import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.scoring.latents import cross_decoding_r2, pooled_r2, standardised

# The most latents of another seed that may make up one latent.
FEW = 3


def consistency_table(latents: Mapping[str, Sequence[Mapping]]) -> list[dict]:
    """A row per model: the means over pairs of its seeds.

    Args:
        latents: by model, train_latents and eval_latents (trials, time, dims) of each seed; a model with fewer than two
            seeds has no row.
    """
    return [{"model": model, "seeds": len(seeds), **consistency(seeds)} for model, seeds in latents.items()
            if len(seeds) > 1]  # fmt: skip


def consistency(seeds: Sequence[Mapping]) -> dict[str, float]:
    """The agreement of a model's seeds, on evaluation trials; every latent has the same weight.

    Args:
        seeds: train_latents and eval_latents (trials, time, dims) of two or more seeds.

    Returns:
        `seed cross-decoding`, R2 of one seed's latents decoded linearly from another's; `matched correlation`, the mean
        absolute correlation of latents that are paired one to one; `sparse R2`, R2 of each latent from at most three
        of another seed's. Means over (ordered) pairs of seeds; NaN if a seed's latents are constant.

    Raises:
        NlbflowError: latents do not fit, or scikit-learn is not installed.
    """
    pairs = [standardised(seed["train_latents"], seed["eval_latents"]) for seed in seeds]
    ordered = [(*source, *wanted) for source, wanted in permutations(pairs, 2)]
    return {
        "seed cross-decoding": float(np.mean([cross_decoding_r2(a, c, b, d) for a, b, c, d in ordered])),
        "matched correlation": float(np.mean([matched_correlation(a[1], b[1]) for a, b in combinations(pairs, 2)])),
        "sparse R2": float(np.mean([sparse_r2(*arrays) for arrays in ordered])),
    }


def matched_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Mean |correlation| of latents (trials, time, dims) under the one-to-one assignment that maximises it."""
    # half a second, which most scores need not wait for
    from scipy.optimize import linear_sum_assignment

    one, other = (array.reshape(-1, array.shape[2]) for array in (first, second))
    one, other = ((rows - rows.mean(axis=0)) for rows in (one, other))
    norms = np.outer(np.linalg.norm(one, axis=0), np.linalg.norm(other, axis=0))
    correlation = np.abs(np.divide(one.T @ other, norms, out=np.zeros_like(norms), where=norms > 0))
    return float(correlation[linear_sum_assignment(correlation, maximize=True)].mean())


def sparse_r2(train_from: np.ndarray, eval_from: np.ndarray, train_to: np.ndarray, eval_to: np.ndarray) -> float:
    """R2 on evaluation trials of standardised latents, each from at most three of another seed's, which scikit-learn's
    orthogonal matching pursuit (Pati et al. 1993) chooses on training trials."""
    try:
        from sklearn.linear_model import orthogonal_mp_gram
    except ModuleNotFoundError as error:
        raise NlbflowError(
            "the consistency over seeds needs scikit-learn, which is not installed; pip install scikit-learn."
        ) from error
    x, y = (array.reshape(-1, array.shape[2]) for array in (train_from, train_to))
    varies = np.flatnonzero(x.any(axis=0))
    x, few = x[:, varies], min(FEW, len(varies))
    if not few:
        return float("nan")
    with warnings.catch_warnings():
        # it warns if fewer than three latents make up one exactly
        warnings.simplefilter("ignore", RuntimeWarning)
        weights = orthogonal_mp_gram(x.T @ x, x.T @ y, n_nonzero_coefs=few)
    predicted = eval_from[..., varies].reshape(-1, len(varies)) @ weights.reshape(len(varies), -1)
    return pooled_r2(eval_to.reshape(len(predicted), -1), predicted)
