"""The leaderboards for programs: `results/leaderboard.json`, written and read back.

`schemas/leaderboard.schema.json` describes every key. Everything but `made` is reproducible; `made` holds what differs
between two runs: commits, packages, devices, dates, seconds and the digests of the files.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from nlbflow.boards.boards import Cell, Results, Row, place_board
from nlbflow.boards.tables import PLACE, RUN
from nlbflow.errors import NlbflowError

SCHEMA_VERSION = 1
# What `read_leaderboard` can read. A layout that was released stays here for good.
READABLE = (1,)
# What programs of ours look at in a file that they read; ANY stands for every key.
ANY, ABSENT = "*", object()
NUMBER, TEXT = (int, float, type(None)), (str, type(None))
AT = {"dataset": str, "bin_ms": int, "phase": str}
SCORE = {"value": NUMBER, "low": NUMBER, "high": NUMBER, "rank": NUMBER, "best_rank": NUMBER, "worst_rank": NUMBER}
ROW = {"model": str, "kind": str, "metrics_version": str, "seeds": [int], "scores": {ANY: SCORE}}
PUBLISHED = {"method": str, "grade": str, "source": str, "scores": {ANY: NUMBER}}
MADE = {"code_digest": str, "dataset_version": str, "packages": {ANY: str}}
LAYOUT = {
    "origin": {"config": [str], "selection": str},
    "places": [{**AT, "rows": [ROW], "published": [PUBLISHED], "absent": [{"model": TEXT, "reason": str}]}],
    "made": {
        "nlbflow": str,
        "commit": str,
        "date": str,
        "answers": [{**AT, "made": MADE}],
        "runs": [{**AT, "model": str, "seed": int, "params": dict, "prediction": (MADE, type(None)), "score": MADE}],
    },
}


def leaderboard_json(
    results: Results,
    entries: Sequence[Mapping],
    places: Sequence[Sequence],
    datasets: Mapping[str, Mapping],
    origin: Mapping,
    made: Mapping,
) -> str:
    """The leaderboards of a selection as JSON.

    Args:
        results: what boards are made from.
        entries: contents of scores.json files.
        places: [dataset, bin_ms, phase] of all selected places, those without scores too.
        datasets: title, citation, license and version by name.
        origin: as from `nlbflow.planning.origin.origin_of`.
        made: the version and commit of the code, and the date.
    """
    content = {
        "schema_version": SCHEMA_VERSION,
        "origin": origin,
        "datasets": datasets,
        "places": [_place(results, entries, tuple(place)) for place in places],
        "made": {**made, **_provenance(entries)},
    }
    return json.dumps(_finite(content), indent=1, allow_nan=False) + "\n"


def read_leaderboard(path: str | Path) -> dict:
    """A file that any released version of nlbflow wrote, in today's layout.

    Raises:
        NlbflowError: it cannot be read, is none of ours, or is of a later nlbflow.
    """
    try:
        content = json.loads(Path(path).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise NlbflowError(f"{path} cannot be read as JSON ({error}); expected a leaderboard.json.") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise NlbflowError(f"{path} has no schema_version; expected a leaderboard.json that nlbflow made.")
    if version not in READABLE:
        known = ", ".join(map(str, READABLE))
        raise NlbflowError(
            f"{path} is of schema_version {version}, and this nlbflow reads {known}; use the nlbflow that made it."
        )
    _check(content, LAYOUT, "")
    return content


def _check(content: object, layout: object, where: str) -> None:
    """Refuse a content that lacks what programs of ours look at, or has it in another type."""
    if isinstance(layout, tuple) and isinstance(layout[0], dict):
        layout = layout[content is None]
    if isinstance(layout, dict) and isinstance(content, dict):
        for key, inner in layout.items():
            for name in content if key == ANY else [key]:
                _check(content.get(name, ABSENT), inner, f"{where}.{name}" if where else name)
    elif isinstance(layout, list) and isinstance(content, list):
        for i, item in enumerate(content):
            _check(item, layout[0], f"{where}[{i}]")
    elif isinstance(layout, dict | list) or not isinstance(content, layout):
        found = "is missing" if content is ABSENT else f"is {content!r:.60}"
        raise NlbflowError(
            f"{where} {found}, which is not the layout of a leaderboard.json (schemas/leaderboard.schema.json); it was "
            "changed after nlbflow made it, so make it anew."
        )


def _place(results: Results, entries: Sequence[Mapping], place: tuple) -> dict:
    board = place_board(results, place)
    seeds: dict[str, list[Mapping]] = {}
    for entry in sorted(entries, key=lambda entry: entry["seed"]):
        if tuple(entry[key] for key in PLACE) == place:
            seeds.setdefault(entry["model"], []).append(entry)
    rows = [row for group in board.groups for row in group.rows if row.kind != "published"]
    lacking = [row for row in rows if row.name not in seeds]
    absent = [] if board.groups else [{"model": None, "reason": board.missing}]
    absent += [{"model": row.name, "reason": next(iter(row.cells.values())).missing} for row in lacking]
    return {
        **dict(zip(PLACE, place, strict=True)),
        "rows": [_row(results, place, row, seeds[row.name]) for row in rows if row.name in seeds],
        "published": _published(results, place) if seeds else [],
        "absent": absent,
        "notes": board.notes,
    }


def _row(results: Results, place: tuple, row: Row, seeds: list[Mapping]) -> dict:
    return {
        "model": row.name,
        "kind": row.kind,
        "grade": row.grade or None,
        "source": row.source or None,
        "metrics_version": seeds[0]["metrics_version"],
        "seeds": [entry["seed"] for entry in seeds],
        "scores": {
            metric: _score(cell, results.ranks.get((*place, metric, row.name)), metric, seeds)
            for metric, cell in row.cells.items()
            if not cell.missing
        },
        "missing": {metric: cell.missing for metric, cell in row.cells.items() if cell.missing},
    }


def _score(cell: Cell, compared, metric: str, seeds: list[Mapping]) -> dict:
    ranked = compared is not None and pd.notna(compared.best_rank)
    return {
        "value": cell.value,
        "low": cell.low,
        "high": cell.high,
        "sd": cell.sd,
        "rank": int(compared.position) if ranked else None,
        "best_rank": int(compared.best_rank) if ranked else None,
        "worst_rank": int(compared.worst_rank) if ranked else None,
        "unbeaten": cell.unbeaten,
        "mark": cell.mark or None,
        "by_seed": [
            dict(zip(("value", "low", "high"), (entry["scores"].get(metric), *_interval(entry, metric)), strict=True))
            for entry in seeds
        ],
    }


def _interval(entry: Mapping, metric: str) -> Sequence:
    return entry["intervals"].get(metric) or (None, None)


def _published(results: Results, place: tuple) -> list[dict]:
    here = results.published_at([place[0]], *place[1:])
    return [
        {
            **dict(zip(("method", "grade", "source"), key, strict=True)),
            "bin_stated": bool(rows["stated"].all()),
            "scores": dict(zip(rows["metric"], rows["value"], strict=True)),
        }
        for key, rows in here.groupby(["method", "grade", "source"])
    ]


def _provenance(entries: Sequence[Mapping]) -> dict:
    """What made each run, and the answers of each place once."""
    answers = {tuple(entry[key] for key in PLACE): entry["provenance"]["target"] for entry in entries}
    return {
        "answers": [{**dict(zip(PLACE, place, strict=True)), "made": record} for place, record in answers.items()],
        "runs": [
            {
                **{key: entry[key] for key in (*RUN, "params", "facts", "prediction_sha256")},
                **{stage: entry["provenance"][stage] for stage in ("prediction", "score")},
            }
            for entry in entries
        ],
    }


def _finite(content: object) -> object:
    """The same with null for NaN and infinity, which JSON does not have."""
    if isinstance(content, Mapping):
        return {str(key): _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [*map(_finite, content)]
    if isinstance(content, float):
        return float(content) if math.isfinite(content) else None
    return content
