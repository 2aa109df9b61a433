"""Made-up results in the form that the leaderboard page is built of."""

import hashlib
import json
import re

import numpy as np
import pandas as pd
import yaml

from fake_results import DATASETS, fake_place, roster
from nlbflow.boards.about_data import introduce
from nlbflow.boards.tables import comparison_table
from workflow import ROOT

FOLDER = ROOT / "resources/page"
PUBLISHED = pd.read_csv(ROOT / "resources/published.csv")
ABSENT = [["mc_rtt", 5, "val", "condition_psth", "the dataset's definition names no conditions"]]


def complete(entry: dict) -> dict:
    """A made-up entry with the keys of scores.json that tables do not read."""
    made = {"packages": {"python": "3.11.7", "numpy": "2.4.6"}, "machine": "Linux x86_64", "peak_mb": 160.5}
    stages = entry["provenance"]
    made |= {key: stages["score"][key] for key in ("commit", "dataset_version")}
    return {
        **entry,
        "prediction_sha256": None if entry["kind"] == "null" else hashlib.sha256(str(entry).encode()).hexdigest(),
        "params": {} if entry["kind"] == "null" else {"width": 64, "rates": [0.1, 0.2]},
        "absent": {"psth": "the dataset's definition names no conditions"} if entry["dataset"] == "mc_rtt" else {},
        "provenance": {
            name: record and record | made
            for name, record in {"target": stages["score"], "prediction": None, **stages}.items()
        },
    }


def parts(models: int = 40, bins: tuple = (5, 20), seeds: int = 5, phases: tuple = ("val",)) -> dict:
    """The arguments of `leaderboard_page` for made-up results."""
    chosen = roster(models, np.random.default_rng(0))
    places = [fake_place(dataset, b, phase, chosen, seeds, 0) for dataset in DATASETS for b in bins for phase in phases]
    catalogue = yaml.safe_load((ROOT / "resources/datasets.yaml").read_text())["datasets"]
    comparisons = [comparison for _, comparison in places]
    return {
        "entries": [complete(entry) for entries, _ in places for entry in entries],
        "ranks": comparison_table(comparisons, "ranks"),
        "differences": comparison_table(comparisons, "differences"),
        "consistency": comparison_table(comparisons, "consistency"),
        "published": PUBLISHED,
        "datasets": {
            name: {key: catalogue[name][key] for key in ("title", "citation", "license")} for name in DATASETS
        },
        "absent": ABSENT,
        "introductions": {name: introduce(catalogue[name]) for name in DATASETS},
        "folder": FOLDER,
        "made": "from fake.yaml, selection 0123456789ab, by nlbflow",
    }


def with_outlier(made: dict) -> dict:
    """The arguments with one score that is far below all others, as of rates in another unit."""
    place, metric, found = ("mc_maze", "flat_forecast"), "psth R2", (-590646.7532, -700000.0, -500000.0)
    for entry in made["entries"]:
        if (entry["dataset"], entry["model"]) == place:
            entry["scores"][metric], entry["intervals"][metric] = found[0], found[1:]
    ranks = made["ranks"].set_index(["dataset", "model", "metric"])
    ranks.loc[(*place, metric), ["value", "low", "high"]] = found
    return made | {"ranks": ranks.reset_index()}


def block(html: str, name: str) -> dict:
    """A block of data in the page."""
    return json.loads(re.search(rf'<script type="application/json" id="{name}">(.*)</script>', html)[1])
