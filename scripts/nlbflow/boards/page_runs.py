"""What made each run on the leaderboard page: parameters, facts and provenance, what many runs share held once."""

import json
import math


class Shared:
    """What many runs have in common, each held once."""

    def __init__(self) -> None:
        self.items: list[dict] = []
        self._places: dict[str, int] = {}

    def place(self, item: dict) -> int:
        """Where in `items` it is."""
        key = json.dumps(item, sort_keys=True)
        if key not in self._places:
            self._places[key] = len(self.items)
            self.items.append(item)
        return self._places[key]


def _plain(item):
    """The same with words for NaN and infinity, which a fact or a parameter may be and JSON does not have."""
    if isinstance(item, dict):
        return {key: _plain(value) for key, value in item.items()}
    if isinstance(item, list):
        return [*map(_plain, item)]
    return str(item) if isinstance(item, float) and not math.isfinite(item) else item


def describe_run(entry: dict, shared: Shared) -> dict:
    """Parameters, facts and, of answers, prediction and score, what made them."""
    run = {key: shared.place(_plain(entry[key])) for key in ("params", "facts")}
    for stage in ("target", "prediction", "score"):
        record = entry["provenance"][stage]
        if record:
            same = ("packages", "machine", "device", "confined", "commit", "dataset_version")
            own = {key: value for key, value in record.items() if key not in same}
            run[stage] = [shared.place({key: record[key] for key in same if key in record}), own]
    # the answers of a place are those of all its models
    if "target" in run:
        run["target"] = shared.place(shared.items[run["target"][0]] | run["target"][1])
    return run
