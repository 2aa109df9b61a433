"""The leaderboard page: one HTML file that carries the scores, their provenance and the script that shows them.

Two blocks of JSON in it hold all data. `scores` is reproducible byte for byte; `runs` holds what is not: code digests,
commits, packages, devices, dates and seconds.
"""

import base64
import gzip
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nlbflow.boards.about_data import worth_of
from nlbflow.boards.cells import NO_SCORES, best_and_second, positions, unbeaten, why_missing
from nlbflow.boards.page_front import add_fronts
from nlbflow.boards.page_phases import add_gaps
from nlbflow.boards.page_runs import Shared, describe_run
from nlbflow.boards.phases import EXPLANATION
from nlbflow.boards.tables import PLACE, with_bin_widths
from nlbflow.metrics.decoded_metric import benchmark_metrics
from nlbflow.metrics.formulas import LOWER_IS_BETTER
from nlbflow.metrics.meanings import direction, meaning

RANKED, ASIDE, PUBLISHED, MISSING = range(4)
GROUPS = {"competitor": RANKED, "control": RANKED, "oracle": ASIDE, "null": ASIDE, "implausible": ASIDE}
# in the order in which they run: RowGroup needs what DataTables defines, and Plot what D3 does
SCRIPTS = ("vendor/dataTables.min.js", "vendor/dataTables.rowGroup.min.js", "vendor/d3.min.js",
           "vendor/plot.umd.min.js", "elements.js", "links.js", "hints.js", "details.js", "plot.js", "front.js",
           "phases.js", "page.js")  # fmt: skip
UNPACK = "vendor/fflate.min.js"
# of a page's data in bytes; more are packed, to about a seventh
MOST_PLAIN = 2_000_000
# of a score on the page; scores.csv has all
DIGITS = 6
# of which the page writes these
SHOWN_DIGITS = 4


def leaderboard_page(
    entries: list[dict],
    ranks: pd.DataFrame,
    differences: pd.DataFrame,
    consistency: pd.DataFrame,
    published: pd.DataFrame,
    datasets: dict[str, dict],
    absent: list[list],
    folder: Path,
    made: str,
    about_data: list[dict] | None = None,
    models: dict[str, dict] | None = None,
    sources: dict[str, list[str]] | None = None,
    introductions: dict[str, dict] | None = None,
    standings: list[tuple[str, str]] | None = None,
    gaps: pd.DataFrame | None = None,
) -> str:
    """The page as HTML.

    Args:
        entries: contents of scores.json files.
        ranks, differences, consistency: as from `nlbflow.boards.tables.comparison_table`.
        published: dataset, bin_ms, phase, method, metric, value, grade, source.
        datasets: title, citation and license by name, in the order in which they are offered.
        absent: rows (dataset, bin_ms, phase, model or "all models", reason) of what could not be had.
        folder: resources/page.
        made: from what the page is made, by what and when; this line and that of `runs` differ from run to run.
        about_data: of each place what its data are, as from `about_data.places_data`.
        models: by name what a model's file says of it: `about`, a sentence, `more`, paragraphs, and `card`, pairs
            (field, text).
        sources: grade and source of models that are not the workflow's own, as for `nlbflow.boards.boards.Results`.
        introductions: of each dataset what its stanza tells, as from `about_data.introduce`.
        standings: title and table, as HTML of `typesetting.to_html`, of each suite and phase.
        gaps: as from `phases.phase_gaps`.
    """
    about_data = about_data or []
    rows, runs = _our_rows(entries, ranks, differences)
    for row in rows:
        if row["model"] in (sources or {}):
            row["grade"], row["source"] = sources[row["model"]]
    axes, runs["axes"] = add_fronts(rows, entries, differences, consistency)
    if gaps is not None:
        add_gaps(rows, gaps)
    rows += _published_rows(published, {_place(entry) for entry in entries})
    rows += _missing_rows(entries, absent)
    said = [{key: value for key, value in place.items() if key != "figures"} for place in about_data]
    scores = {"metrics": _metrics(rows), "datasets": datasets, "rows": rows, "places": said, "models": models or {}}
    scores["axes"] = axes
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    blocks = {"scores": scores, "runs": runs}
    data = {name: _json(content) for name, content in blocks.items()}
    if packed := sum(map(len, data.values())) > MOST_PLAIN:
        data = {name: _packed(_json(as_shown(content))) for name, content in blocks.items()}
    scripts = [(folder / name).read_text() for name in ([UNPACK] if packed else []) + [*SCRIPTS]]
    style = (folder / "style.css").read_text()
    return environment.get_template("page.html").render(
        # only these scripts may run, and nothing may be fetched, whatever a name or a citation holds
        policy=f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"script-src {' '.join(map(_digest, scripts))}; style-src {_digest(style)}",
        scripts=scripts,
        style=style,
        data=data,
        packed=packed,
        made=made,
        start=_start(entries),
        metrics=scores["metrics"],
        axes=axes,
        datasets=datasets,
        places=about_data,
        introductions=introductions or {},
        standings=standings or [],
        # what stands in the rows of phase test is shown beside those of val
        gaps=EXPLANATION if any("gap" in row for row in rows) else "",
        worth=worth_of(rows),
        bins=sorted({row["bin_ms"] for row in rows + about_data}),
        phases=sorted({row["phase"] for row in rows + about_data}),
    )


def _json(content: dict) -> str:
    """JSON that no HTML parser takes for a tag or an end of its block."""
    text = json.dumps(content, separators=(",", ":"), sort_keys=True, allow_nan=False, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def as_shown(content):
    """JSON with its numbers rounded to the digits that the page shows, which pack into two thirds."""
    if isinstance(content, dict):
        return {key: as_shown(value) for key, value in content.items()}
    if isinstance(content, list):
        return [as_shown(value) for value in content]
    return round(content, SHOWN_DIGITS) + 0.0 if isinstance(content, float) else content


def _packed(text: str) -> str:
    """Text packed by gzip, the same bytes whenever it is, in base64."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _start(entries: list[dict]) -> dict:
    """The place that is shown first: the first, in the phase that the benchmark ranks by if that was scored."""
    if not entries:
        return dict.fromkeys(PLACE, "")
    first = {key: entries[0][key] for key in PLACE}
    tested = first | {"phase": "test"}
    return tested if tuple(tested.values()) in {_place(entry) for entry in entries} else first


def _place(entry: dict) -> tuple:
    return tuple(entry[key] for key in PLACE)


def _metrics(rows: list[dict]) -> list[dict]:
    """The metrics that any row has: the benchmark's in its order, then the others."""
    found = {name for row in rows for name in row["cells"]}
    first = benchmark_metrics(found)
    return [
        {
            "name": name,
            "benchmark": name in first,
            "lower": name in LOWER_IS_BETTER | {"latent dimension"},
            "about": f"{meaning(name)} {direction(name)}".strip(),
        }
        for name in first + sorted(found - set(first))
    ]


def _our_rows(entries: list[dict], ranks: pd.DataFrame, differences: pd.DataFrame) -> tuple[list[dict], dict]:
    """A row per place and model that was scored, and, of the same rows, the runs behind them."""
    by_model: dict[tuple, list[dict]] = {}
    for entry in entries:
        by_model.setdefault((*_place(entry), entry["model"]), []).append(entry)
    ranks = ranks.assign(position=positions(ranks), unbeaten=unbeaten(ranks))
    compared = {(*(getattr(row, key) for key in PLACE), row.model, row.metric): row for row in ranks.itertuples()}
    marks = best_and_second(ranks, differences)
    rows, shared = [], Shared()
    for key, seeds in by_model.items():
        *place, model = key
        seeds = sorted(seeds, key=lambda entry: entry["seed"])
        names = dict.fromkeys(metric for entry in seeds for metric in entry["scores"])
        kinds = [entry["kind"] for entry in seeds]
        kind = "implausible" if "implausible" in kinds else kinds[0]
        rows.append(
            {
                **dict(zip([*PLACE, "model"], key, strict=True)),
                "group": GROUPS[kind],
                "kind": kind,
                "seeds": [entry["seed"] for entry in seeds],
                "cells": {
                    metric: _cell(metric, seeds, compared.get((*key, metric)), marks.get((*place, metric, model)))
                    for metric in names
                },
                "runs": [describe_run(entry, shared) for entry in seeds],
            }
        )
        bits = compared.get((*key, "co-bps"))
        if bits is not None and pd.notna(bits.position):
            rows[-1]["rank"] = int(bits.position)
    rows.sort(key=_by_bits)
    _add_reasons(rows, entries)
    runs = {"of": [row.pop("runs") for row in rows], "shared": shared.items}
    return rows, runs


def _cell(metric: str, seeds: list[dict], compared, mark: str | None) -> dict:
    """Mean over seeds, its interval, spread and ranks; `seeds` is [value, low, high] of each."""
    values = pd.Series([entry["scores"].get(metric) for entry in seeds], dtype=float)
    cell = {"value": _rounded(values.mean())} | ({"mark": mark} if mark else {})
    if compared is not None:
        if pd.notna(compared.low):
            cell |= {"low": _rounded(compared.low), "high": _rounded(compared.high)}
        if pd.notna(compared.best_rank):
            cell["ranks"] = [int(compared.best_rank), int(compared.worst_rank)]
        if compared.unbeaten:
            cell["unbeaten"] = True
    if len(seeds) > 1:
        cell["spread"] = _rounded(values.std()) if values.count() > 1 else None
        cell["seeds"] = [
            [_rounded(entry["scores"].get(metric)), *map(_rounded, entry["intervals"].get(metric) or [])]
            for entry in seeds
        ]
    return cell


def _rounded(value: float | None) -> float | None:
    # adding 0.0 makes -0.0 a zero
    return None if value is None or pd.isna(value) else round(float(value), DIGITS) + 0.0


def _by_bits(row: dict) -> tuple[float, str]:
    """A key that puts the best co-bps first."""
    return -row["cells"].get("co-bps", {"value": float("-inf")})["value"], row["model"]


def _add_reasons(rows: list[dict], entries: list[dict]) -> None:
    """Why a metric is missing in a row, for every metric that any row has."""
    absent = {_place(entry): entry["absent"] for entry in entries}
    everywhere = {metric for row in rows for metric in row["cells"]}
    here: dict[tuple, set] = {}
    for row in rows:
        here.setdefault(_place(row), set()).update(row["cells"])
    for row in rows:
        place = _place(row)
        for metric in sorted(everywhere - set(row["cells"])):
            reason = why_missing(metric, row["kind"], row["cells"], here[place], absent[place])
            row.setdefault("reasons", {})[metric] = reason


def _published_rows(published: pd.DataFrame, places: set[tuple]) -> list[dict]:
    """A row per place, method, grade and source."""
    rows = []
    for key, group in with_bin_widths(published).groupby([*PLACE, "method", "grade", "source"], sort=True):
        place, (method, grade, source) = key[:3], key[3:]
        if place in places:
            cells = {row.metric: {"value": _rounded(row.value)} for row in group.itertuples()}
            rows.append(
                {
                    **dict(zip(PLACE, place, strict=True)),
                    "model": method,
                    "group": PUBLISHED,
                    "cells": cells,
                    "grade": grade,
                    "source": source,
                    "bin_stated": bool(group["stated"].all()),
                }
            )
    return sorted(rows, key=_by_bits)


def _missing_rows(entries: Iterable[dict], absent: list[list]) -> list[dict]:
    """A row per place and model without scores, with the reason."""
    reasons = {(*place, model): reason for *place, model, reason in absent}
    places = dict.fromkeys(_place(entry) for entry in entries)
    models = dict.fromkeys(entry["model"] for entry in entries)
    scored = {(*_place(entry), entry["model"]) for entry in entries}
    for key in ((*place, model) for place in places for model in models):
        if key not in scored:
            reasons.setdefault(key, NO_SCORES)
    return [
        {**dict(zip([*PLACE, "model"], key, strict=True)), "group": MISSING, "cells": {}, "reason": reason}
        for key, reason in reasons.items()
    ]
