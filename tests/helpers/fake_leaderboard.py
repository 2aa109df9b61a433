"""leaderboard.json of made-up results."""

from nlbflow.boards.boards import Results
from nlbflow.boards.leaderboard_json import leaderboard_json
from nlbflow.boards.tables import note_table, score_table

ORIGIN = {"config": ["fake.yaml"], "selection": "0123456789ab"}
MADE = {"nlbflow": "0.1.0", "commit": "0123456789ab", "date": "2026-01-31T12:45:00Z"}
NOTES = [{"dataset": "mc_rtt", "bin_ms": 5, "phase": "val", "notes": ["3 of 5 trials <b>"]}]


def written(made: dict, **about) -> str:
    """The file of made-up results."""
    entries = made["entries"]
    tables = made["ranks"], made["differences"], made["published"], made["absent"]
    results = Results(score_table(entries), *tables, note_table(NOTES), sources={"gru": ["S", "of others, 2026-01-31"]})
    places = [[dataset, 5, "val"] for dataset in (*made["datasets"], "nowhere")]
    datasets = {name: {**said, "version": "DANDI 000128/0.220113.0400"} for name, said in made["datasets"].items()}
    return leaderboard_json(results, entries, places, datasets, ORIGIN, {**MADE, **about})


def at(content: dict, dataset: str) -> dict:
    return next(place for place in content["places"] if place["dataset"] == dataset)
