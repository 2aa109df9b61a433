"""Scores of different metrics versions do not stand in one ranking."""

from collections.abc import Mapping

from nlbflow import METRICS_VERSION
from nlbflow.errors import NlbflowError

NAMED = 3


def refuse_other_versions(scores: Mapping[str, Mapping]) -> None:
    """Refuse scores that another version of the metrics has made.

    A changed metric changes the stamp of scoring, so the workflow scores everything anew. Scores that are copied into
    its results later count as newer than that stamp.

    Args:
        scores: contents of scores.json files by what to call them.

    Raises:
        NlbflowError: a file holds scores of another version, or of none.
    """
    others = {path: content.get("metrics_version") for path, content in scores.items()}
    others = {path: version for path, version in others.items() if version != METRICS_VERSION}
    if others:
        named = ", ".join(f"{path} (version {version or 'unknown'})" for path, version in [*others.items()][:NAMED])
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        raise NlbflowError(
            f"{named}{more} cannot stand beside scores of metrics version {METRICS_VERSION}, which this code makes; "
            "run again with --forcerun score, which scores anew and trains nothing."
        )
