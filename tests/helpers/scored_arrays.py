"""Targets and predictions of each of the benchmark's layouts, drawn at random."""

import numpy as np

TRAIN, EVAL, BINS, AHEAD, HELDIN, HELDOUT = 24, 17, 20, 5, 6, 4
LAYOUTS = ("mc_maze", "mc_rtt", "area2_bump", "dmfc_rsg", "mc_maze_small")


def make(layout, seed=0):
    """A target and a prediction of one of the benchmark's layouts."""
    rng = np.random.default_rng(seed)
    neurons = HELDIN + HELDOUT
    rates = {
        f"{part}_rates_{group}{suffix}": rng.gamma(2.0, 0.1, (trials, bins, units))
        for part, trials in (("train", TRAIN), ("eval", EVAL))
        for group, units in (("heldin", HELDIN), ("heldout", HELDOUT))
        for suffix, bins in (("", BINS), ("_forward", AHEAD))
        if part == "eval" or not suffix
    }
    counts = {name: rng.poisson(r * rng.gamma(2.0, 0.5, r.shape)).astype(float) for name, r in rates.items()}
    target = {
        "eval_spikes_heldout": counts["eval_rates_heldout"],
        "eval_spikes_heldin_forward": counts["eval_rates_heldin_forward"],
        "eval_spikes_heldout_forward": counts["eval_rates_heldout_forward"],
    }
    if layout == "dmfc_rsg":
        target |= dmfc_parts(rng, target["eval_spikes_heldout"])
        target["train_behavior"] = target["eval_behavior"]
    else:
        mixing = rng.standard_normal((neurons, 2))
        for part in ("train", "eval"):
            both = np.concatenate([rates[f"{part}_rates_heldin"], rates[f"{part}_rates_heldout"]], axis=2)
            target[f"{part}_behavior"] = 40 * both @ mixing + 10 * rng.standard_normal((*both.shape[:2], 2))
            target[f"{part}_behavior"][1, :3] = np.nan
    if layout == "area2_bump":
        for part, trials in (("train", TRAIN), ("eval", EVAL)):
            active = rng.random(trials) < 0.5
            target[f"{part}_decode_mask"] = np.stack([active, ~active], axis=1)
    if layout != "mc_rtt":
        target["psth"] = rng.gamma(2.0, 0.1, (4, BINS, neurons))
        target["psth"][1, -3:] = np.nan
        if layout == "dmfc_rsg":
            target["psth"][:, :4] = np.nan
        condition = rng.integers(0, 3, EVAL)
        target["eval_cond_idx"] = [np.flatnonzero(condition == c) for c in range(4)]
    return target, rates


def dmfc_parts(rng, spikes):
    """Jitter, the Set-Go pattern of NaN in the spikes, and behaviour with rows of NaN for outliers."""
    jitter = rng.integers(0, 4, EVAL)
    for trial, shift in enumerate(jitter):
        between = np.zeros(BINS, bool)
        between[BINS - shift - rng.integers(6, 14) : BINS - shift] = True
        spikes[trial, ~between] = np.nan
    eye = np.arange(EVAL) % 2
    behavior = np.stack([eye, np.zeros(EVAL), eye, rng.choice([640, 800], EVAL), rng.normal(800, 90, EVAL)], axis=1)
    behavior[3] = np.nan
    return {"eval_jitter": jitter, "eval_behavior": behavior}


def reference(nlb_tools, layout, target, prediction):
    """nlb_tools' own evaluation; it changes arrays in place, so it gets copies."""
    prediction = {name: rates.copy() for name, rates in prediction.items()}
    if "eval_cond_idx" in target:
        vectors = np.empty(len(target["eval_cond_idx"]), object)
        vectors[:] = target["eval_cond_idx"]
        target = target | {"eval_cond_idx": vectors}
    (result,) = nlb_tools.evaluation.evaluate({layout: target}, {layout: prediction})
    (scores,) = result.values()
    return {name.removeprefix("[100] "): value for name, value in scores.items()}
