"""Suites in a config: which standings a selection asks for, and what is said of a fault."""

import copy
import re

import pytest
import yaml

from nlbflow.errors import NlbflowError
from nlbflow.planning.selection import Selection
from workflow import ROOT

CONFIG = {
    **yaml.safe_load((ROOT / "resources/datasets.yaml").read_text()),
    **yaml.safe_load((ROOT / "config.yaml").read_text()),
}
MINE = yaml.safe_load(
    re.search(r"^```yaml\n# couplings.yaml\n(.*?)^```", (ROOT / "docs/benchmark.md").read_text(), re.M | re.S)[1]
)


def selection(run: dict | None = None, suites: dict | None = None) -> Selection:
    config = copy.deepcopy(CONFIG)
    config["run"] |= run or {}
    config["suites"] |= suites or {}
    return Selection.of(config, ROOT)


def names(chosen: Selection) -> list[str]:
    return [board["name"] for board in chosen.standings]


def test_the_benchmark_is_planned_where_its_datasets_are():
    run = yaml.safe_load((ROOT / "configs/nlb21.yaml").read_text())["run"]
    chosen = selection(run)
    assert names(chosen) == ["standings-nlb21_val", "standings-nlb21_test"]
    assert chosen.standings[1]["suite"]["unselected"] == [] and "results/tables/standings-nlb21_test.tex" in (
        chosen.wanted()
    )
    few = selection({**run, "datasets": ["mc_rtt", "dmfc_rsg"], "phases": ["test"]})
    assert names(few) == ["standings-nlb21_test"]
    assert "MC_Maze at 5 ms" in few.standings[0]["suite"]["unselected"]


def test_one_simulated_session_has_no_standings_and_all_of_them_have():
    assert names(selection()) == []
    every = {"datasets": ["simulated_maze", "simulated_clusters", "simulated_coupled"], "phases": ["val"]}
    assert names(selection(every)) == ["standings-truths_val"]


def test_a_suite_of_the_users_is_a_config():
    chosen = selection(MINE["run"], MINE["suites"])
    assert names(chosen) == ["standings-drives_val"]
    assert chosen.standings[0]["datasets"] == [
        ("simulated_maze", "Simulated maze"),
        ("simulated_coupled", "Simulated couplings"),
    ]


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("groups", [{"name": "one", "datasets": ["mc_raze"], "rank": "mean"}], "did you mean mc_maze?"),
        ("groups", [{"name": "one", "datasets": ["mc_maze"], "rank": "median"}], "'median' is not one of"),
        ("groups", [{"name": "one", "datasets": ["mc_maze"], "rank": "each"}] * 2, "give each group a name of its own"),
        ("groups", [], "suites.drives.groups is []"),
        ("metrics", ["co-bsp"], "config key suites.drives.metrics names 'co-bsp'; expected a metric of which one way"),
        ("metrics", ["latent dimension"], "names 'latent dimension'"),
        ("weights", [1, 2], "the config has an unknown key 'weights' under suites.drives"),
    ],
)
def test_faults_of_a_suite_are_told(key, value, told):
    suite = {**MINE["suites"]["drives"], key: value}
    with pytest.raises(NlbflowError, match=re.escape(told)):
        selection(MINE["run"], {"drives": suite})


@pytest.mark.parametrize("metric", ["co-bps", "32-shot co-bps", "emg R2", "tp corr", "coupling AUC"])
def test_any_metric_of_which_one_way_is_better_may_rank(metric):
    suite = {**MINE["suites"]["drives"], "metrics": [metric]}
    assert names(selection(MINE["run"], {"drives": suite})) == ["standings-drives_val"]
