"""Scores of another metrics version are refused by the files' names."""

import pytest

from nlbflow import METRICS_VERSION
from nlbflow.errors import NlbflowError
from nlbflow.scoring.versions import refuse_other_versions

OURS = {"metrics_version": METRICS_VERSION}


def test_one_version_passes():
    refuse_other_versions({"a/scores.json": OURS, "b/scores.json": OURS})


def test_another_version_and_none_are_named_with_what_to_do():
    mixed = {"a/scores.json": OURS, "b/scores.json": {"metrics_version": "0"}, "c/scores.json": {}}
    with pytest.raises(NlbflowError) as told:
        refuse_other_versions(mixed)
    assert str(told.value).startswith("b/scores.json (version 0), c/scores.json (version unknown) cannot stand beside")
    assert "--forcerun score" in str(told.value) and "a/scores.json" not in str(told.value)


def test_many_files_make_no_long_sentence():
    with pytest.raises(NlbflowError, match=r"2/scores.json \(version 0\) and 997 more cannot"):
        refuse_other_versions({f"{i}/scores.json": {"metrics_version": "0"} for i in range(1000)})
