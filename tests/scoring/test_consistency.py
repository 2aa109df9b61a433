"""Consistency over seeds: what a permutation, a rotation and noise do to it."""

import numpy as np
import pytest

from nlbflow.scoring.consistency import consistency, consistency_table, matched_correlation, sparse_r2

RNG = np.random.default_rng(0)
DIMS = 6
LATENTS = {"train_latents": RNG.normal(size=(40, 30, DIMS)), "eval_latents": RNG.normal(size=(20, 30, DIMS))}
ROTATION = np.linalg.qr(RNG.normal(size=(DIMS, DIMS)))[0]


def changed(change):
    return {name: change(array).astype(np.float32) for name, array in LATENTS.items()}


def test_permuted_flipped_and_scaled_copies_agree_in_everything():
    order, scale = RNG.permutation(DIMS), RNG.choice([-1, 1], DIMS) * RNG.uniform(0.1, 10, DIMS)
    found = consistency([LATENTS, changed(lambda x: x[..., order] * scale + 3), changed(np.array)])
    assert all(value == pytest.approx(1, abs=1e-3) for value in found.values())


def test_a_rotated_copy_has_the_same_subspace_and_other_axes():
    found = consistency([LATENTS, changed(lambda x: x @ ROTATION)])
    assert found["seed cross-decoding"] == pytest.approx(1, abs=1e-3)
    assert found["matched correlation"] < 0.9 and found["sparse R2"] < 0.98


def test_independent_noise_agrees_in_nothing():
    found = consistency([LATENTS, changed(lambda x: RNG.normal(size=x.shape))])
    assert found["seed cross-decoding"] <= 0 and found["sparse R2"] <= 0
    assert found["matched correlation"] < 0.2


def test_each_from_at_most_three():
    train, test = LATENTS["train_latents"], LATENTS["eval_latents"]
    three, four = (np.repeat([1.0, 0.0], [n, DIMS - n])[:, None] / np.sqrt(n) for n in (3, 4))
    assert sparse_r2(train, test, train @ three, test @ three) == pytest.approx(1)
    assert sparse_r2(train, test, train @ four, test @ four) == pytest.approx(0.75, abs=0.05)


def test_constant_and_single_latents():
    still = {name: np.zeros_like(array) for name, array in LATENTS.items()}
    found = consistency([still, still])
    assert np.isnan(found["seed cross-decoding"]) and np.isnan(found["sparse R2"]) and found["matched correlation"] == 0
    one = {name: array[..., :1] for name, array in LATENTS.items()}
    assert all(value == pytest.approx(1, abs=1e-3) for value in consistency([one, one]).values())


def test_assignment_is_one_to_one():
    first = LATENTS["eval_latents"][..., [0, 0, 1]]
    second = LATENTS["eval_latents"][..., [0, 2, 3]]
    assert matched_correlation(first, second) == pytest.approx(1 / 3, abs=0.1)


def test_a_row_for_each_model_with_two_seeds():
    table = consistency_table({"alone": [LATENTS], "pair": [LATENTS, LATENTS]})
    assert [(row["model"], row["seeds"]) for row in table] == [("pair", 2)]
