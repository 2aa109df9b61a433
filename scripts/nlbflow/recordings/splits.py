"""Splits drawn at random."""

import numpy as np

from nlbflow.errors import NlbflowError


def draw_split(rule: dict, start_time: np.ndarray) -> np.ndarray:
    """(trials,) train, val or test at random, if asked for in whole blocks of successive trials.

    Raises:
        NlbflowError: there are fewer blocks than the shares need.
    """
    trials = len(start_time)
    rng = np.random.default_rng(rule["seed"])
    if "blocks" not in rule:
        order = rng.permutation(trials)
        drawn = [np.array([trial]) for trial in order]
    else:
        in_time = np.argsort(start_time, kind="stable")
        blocks = np.array_split(in_time, rule["blocks"])
        drawn = [blocks[i] for i in rng.permutation(len(blocks))]
    val, test = (round(rule[part] * len(drawn)) for part in ("val", "test"))
    if "blocks" in rule and (rule["blocks"] > trials or any(
        rule[part] > 0 and not n for part, n in (("val", val), ("test", test))
    )):  # fmt: skip
        raise NlbflowError(
            f"`split.blocks: {rule['blocks']}` of the stanza cannot be drawn from {trials} trials so that val "
            f"({rule['val']:g}) and test ({rule['test']:g}) get a block each; choose another number of blocks."
        )
    split = np.full(trials, "train", object)
    for name, chosen in (("val", drawn[:val]), ("test", drawn[val : val + test])):
        for block in chosen:
            split[block] = name
    return split
