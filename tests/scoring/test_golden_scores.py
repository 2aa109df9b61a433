"""No score moves without a new version of the metrics and a word in the changelog."""

import json
import re

import pytest

from golden_scores import PATH, ROOT, golden_scores
from nlbflow import METRICS_VERSION

# Linear algebra of another machine differs in the last digits; a score that people compare shows four.
TOLERANCE = 1e-7


def test_scores_are_those_of_their_version():
    golden, now = json.loads(PATH.read_text()), golden_scores()
    told = f"; if that is meant, raise METRICS_VERSION and run {PATH.parents[1].name}/helpers/golden_scores.py"
    assert golden["metrics_version"] == METRICS_VERSION, f"golden_scores.json is of another version{told}"
    assert now["scores"].keys() == golden["scores"].keys()
    for layout, scores in golden["scores"].items():
        assert now["scores"][layout].keys() == scores.keys(), f"{layout} has other metrics{told}"
        for metric, numbers in scores.items():
            expected = pytest.approx(numbers, rel=TOLERANCE, abs=TOLERANCE)
            assert now["scores"][layout][metric] == expected, f"{metric} of {layout} has moved{told}"


def test_every_metric_is_held():
    scores = json.loads(PATH.read_text())["scores"]
    held = {metric for layout in scores.values() for metric in layout}
    assert {"co-bps", "vel R2", "psth R2", "fp-bps", "tp corr", "Poisson D2", "rate R2", "state R2"} <= held
    assert {"8-shot co-bps", "latent dimension", "neuron ARI", "coupling AUC", "state ARI", "state accuracy"} <= held
    assert {"seed cross-decoding", "matched correlation", "sparse R2"} <= held
    # with their intervals
    assert all(len(scores["mc_maze"][metric]) == 3 for metric in ("co-bps", "vel R2", "psth R2", "fp-bps"))


def test_the_changelog_names_the_version():
    """In the section on what can move a number, which says what was another score before."""
    changelog = (ROOT / "CHANGELOG.md").read_text()
    sections = re.findall(r"### Changes that can move a reported number\n(.*?)(?=\n##|\Z)", changelog, re.DOTALL)
    assert any(f"Metrics version {METRICS_VERSION}" in section for section in sections)
