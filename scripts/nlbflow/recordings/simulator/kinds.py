"""The kinds of simulated sessions, by the setting `kind`."""

from collections.abc import Mapping
from typing import Any

from nlbflow.errors import NlbflowError
from nlbflow.recordings.simulator.clusters import simulate_clusters
from nlbflow.recordings.simulator.coupled import simulate_coupled
from nlbflow.recordings.simulator.session import Session
from nlbflow.recordings.simulator.session import simulate as simulate_maze

KINDS = {"maze": simulate_maze, "clusters": simulate_clusters, "coupled": simulate_coupled}


def simulate(settings: Mapping[str, Any]) -> Session:
    """Draw a session of a kind: a maze unless the settings say otherwise.

    Raises:
        NlbflowError: there is no such kind, or a setting is missing or out of range.
    """
    kind = settings.get("kind", "maze")
    if kind not in KINDS:
        raise NlbflowError(
            f"the simulator's setting kind is {kind!r}; expected one of {', '.join(KINDS)}: correct the stanza."
        )
    return KINDS[kind](settings)
