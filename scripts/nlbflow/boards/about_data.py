"""What the page says of the data: of each dataset, of each place, and of what scores mean there."""

import base64
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from nlbflow.boards.tables import PLACE, notes_by_place

# The keys of a dataset's stanza that only tell a reader something, and are shown on the page alone.
TOLD = ("task", "area", "subject", "links")


def introduce(definition: Mapping) -> dict[str, list]:
    """What a dataset's stanza tells a reader: `facts`, pairs (what, text), and `links`, pairs (text, address).

    Pairs, since a stamp does not keep the order of a dict.
    """
    facts = [(name, definition.get(name, "")) for name in ("task", "area", "subject")]
    facts += [("aligned to", _window(definition)), ("behaviour", _behavior(definition))]
    if "conditions" in definition:
        words = f"{_listed(definition['conditions'])}; PSTHs smoothed with {definition['psth_kernel_ms']:g} ms"
        facts.append(("conditions", words))
    facts += [("please cite", definition["citation"]), ("licence", definition["license"])]
    links = [list(link) for link in definition.get("links", {}).items()]
    return {"facts": [[what, text] for what, text in facts if text], "links": links}


def _window(definition: Mapping) -> str:
    start, end = definition["window_ms"]
    words = f"{definition['align']}, observed from {_number(start)} to {_number(end)} ms"
    if "jitter" in definition:
        words += f", shifted by up to {definition['jitter']['max_ms']:g} ms at random"
    if "scored" in definition:
        words += f", scored from {definition['scored']['from']} to {definition['scored']['to']}"
    return f"{words}; {definition['forward_ms']} ms more to forecast"


def _behavior(definition: Mapping) -> str:
    behavior = definition.get("behavior", {})
    if "columns" in behavior:
        return f"{_listed(behavior['columns'])} of the table of trials"
    if "series" not in behavior:
        return ""
    lag, decoders = behavior["lag_ms"], definition.get("decoders")
    words = f"{behavior['series']}, {abs(lag)} ms {'before' if lag < 0 else 'after'} the spikes"
    return words + (f", a decoder for each value of {decoders['column']}" if decoders else "")


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def places_data(
    places: list[list], summaries: pd.DataFrame, notes: pd.DataFrame, figures: dict[tuple, Path]
) -> list[dict]:
    """What the data of each place are: dataset, bin_ms, phase, summary [label, text], notes, and figures by kind.

    Args:
        places: [dataset, bin_ms, phase] of each.
        summaries, notes: as from `nlbflow.boards.tables.summary_table` and `note_table`.
        figures: PNGs by (kind, dataset, bin_ms, phase); kinds are dataset and, where models show it, structure.
    """
    facts = {place: rows[["label", "text"]].values.tolist() for place, rows in summaries.groupby(PLACE, sort=False)}
    noted = notes_by_place(notes)
    return [
        {
            **dict(zip(PLACE, place, strict=True)),
            "summary": facts.get(tuple(place), []),
            "notes": noted.get(tuple(place), []),
            "figures": {
                kind: base64.b64encode(Path(path).read_bytes()).decode()
                for (kind, *where), path in figures.items()
                if where == list(place)
            },
        }
        for place in places
    ]


def worth_of(rows: list[dict], metric: str = "co-bps") -> dict[tuple, list[list[str]]]:
    """By (dataset, bin_ms, phase), what a score by one metric is worth there: pairs (what, score and whose).

    Of published scores it is the best of each grade, where it is higher than those of better grades; one whose source
    does not state the bin width is left out.

    Args:
        rows: of the page.
        metric: one of which higher values are better.
    """
    at: dict[tuple, list[dict]] = {}
    for row in sorted((row for row in rows if metric in row["cells"]), key=lambda row: -row["cells"][metric]["value"]):
        at.setdefault(tuple(row[key] for key in PLACE), []).append(row)
    return {
        place: [[what, f"{_number(row['cells'][metric]['value'], '.4f')} ({row['model']})"] for what, row in marks]
        for place, marks in ((place, _marks(here, metric)) for place, here in at.items())
    }


def _marks(here: list[dict], metric: str) -> list[tuple[str, dict]]:
    """The rows of one place, the best first, that give its scores a meaning, each with what it is."""
    found = [("null model", row) for row in here if row.get("kind") == "null"]
    found += [("best competitor", row) for row in here if row.get("rank") == 1]
    highest = float("-inf")
    theirs = [row for row in here if row.get("bin_stated") and not row["model"].startswith("oracle")]
    for grade in sorted({row["grade"] for row in theirs}):
        best = next(row for row in theirs if row["grade"] == grade)
        if best["cells"][metric]["value"] > highest:
            highest = best["cells"][metric]["value"]
            found.append((f"best published, grade {grade}", best))
    return found + [("oracle", row) for row in here if row.get("kind") == "oracle"]


def _number(value: float, form: str = "g") -> str:
    return f"{value:{form}}".replace("-", "−")
