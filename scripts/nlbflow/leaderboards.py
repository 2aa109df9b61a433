"""The leaderboards: for each dataset, bin width and phase our models, and beside them what others published."""

import html
from dataclasses import dataclass

import pandas as pd

from nlbflow.metrics import METRICS
from nlbflow.tables import PLACE

LEGEND = (
    "Ranked by co-bps; in parentheses the ranks that the data allow, since models are told apart only where the paired "
    "difference over the evaluation trials is real. [low, high] is the 95 % interval over evaluation trials, ± the "
    "standard deviation over seeds. * marks the competitors that no other really beats. null: rates constant at the "
    "evaluated mean, the zero of bits per spike. (oracle): has seen the answers, never ranked. An empty cell means "
    "that the metric does not apply or was not predicted. Metrics are defined in docs/metrics.md."
)
GRADES = (
    "Scores that others report, not made here. Grade A: a paper's table; B: somebody's repository; C: self-reported, "
    "not checked."
)


@dataclass
class Table:
    """Cells as text; `aside` marks the rows of models that do not compete."""

    title: str
    header: list[str]
    rows: list[list[str]]
    aside: list[bool]


def boards(scores: pd.DataFrame, ranks: pd.DataFrame, published: pd.DataFrame) -> dict[tuple, list[Table]]:
    """The tables of each (dataset, bin_ms, phase): the benchmark's metrics, further metrics, published scores.

    Args:
        scores: as from `nlbflow.tables.score_table`.
        ranks: as from `nlbflow.tables.comparison_table`.
        published: dataset, bin_ms, phase, method, metric, value, grade, source.
    """
    found = {}
    for place, rows in scores.groupby(PLACE, sort=True):
        means = rows.groupby(["model", "kind", "metric"])["value"].agg(["mean", "std", "count"]).reset_index()
        placed = ranks[(ranks[PLACE] == list(place)).all(axis=1)]
        tables = [_benchmark_table(means, placed), _further_table(means), _published_table(published, *place)]
        found[place] = [table for table in tables if table.rows]
    return found


def _benchmark_table(means: pd.DataFrame, ranks: pd.DataFrame) -> Table:
    metrics = [m for m in METRICS if m in set(means["metric"])]
    mean = {(row.model, row.metric): row for row in means.itertuples()}
    rank = {(row.model, row.metric): row for row in ranks.itertuples()}
    models = _by_bits(means)
    competitors = [model for model, kind in models if kind == "competitor"]
    rows = []
    for model, kind in models:
        place = ""
        if kind == "competitor":
            place, known = str(1 + competitors.index(model)), rank[model, "co-bps"]
            if known.best_rank != known.worst_rank:
                place += f" ({known.best_rank:.0f}–{known.worst_rank:.0f})"
        seeds = max(row.count for row in mean.values() if row.model == model)
        cells = [_cell(mean.get((model, m)), rank.get((model, m)), len(competitors) > 1) for m in metrics]
        rows.append([place or "–", _name(model, kind), str(seeds), *cells])
    return Table("", ["rank", "model", "seeds", *metrics], rows, [kind != "competitor" for _, kind in models])


def _cell(mean, rank, compared: bool) -> str:
    """A score with its interval, its spread over seeds, and a star where no competitor really beats it."""
    if mean is None:
        return ""
    text = f"{mean.mean + 0.0:.4f}"
    if rank is not None and pd.notna(rank.low):
        text += f" [{rank.low:.3f}, {rank.high:.3f}]"
    if mean.count > 1:
        text += f" ± {mean.std:.4f}"
    unbeaten = compared and rank is not None and rank.kind == "competitor" and rank.best_rank == 1
    return text + (" *" if unbeaten else "")


def _further_table(means: pd.DataFrame) -> Table:
    """The metrics that the benchmark does not have, for the models that have any of them."""
    metrics = sorted(set(means["metric"]) - set(METRICS))
    cells = {(row.model, row.metric): _cell(row, None, False) for row in means.itertuples()}
    models = [(model, kind) for model, kind in _by_bits(means) if any((model, m) in cells for m in metrics)]
    rows = [[_name(model, kind), *(cells.get((model, m), "") for m in metrics)] for model, kind in models]
    return Table("Beyond the benchmark", ["model", *metrics], rows, [kind != "competitor" for _, kind in models])


def _published_table(published: pd.DataFrame, dataset: str, bin_ms: int, phase: str) -> Table:
    # where a source does not state the bin width, the benchmark's own is meant
    widths = published["bin_ms"].fillna(5)
    chosen = published[(published["dataset"] == dataset) & (published["phase"] == phase) & (widths == bin_ms)]
    metrics = [m for m in METRICS if m in set(chosen["metric"])]
    rows = []
    for (method, grade, source), group in chosen.groupby(["method", "grade", "source"], sort=True):
        values = dict(zip(group["metric"], group["value"], strict=True))
        unstated = " (bin width not stated)" if group["bin_ms"].isna().any() else ""
        cells = [f"{values[m]:.4f}" if m in values else "" for m in metrics]
        rows.append((-values.get("co-bps", float("-inf")), [method + unstated, *cells, grade, source]))
    rows = [cells for _, cells in sorted(rows)]
    return Table("Published", ["method", *metrics, "grade", "source"], rows, [False] * len(rows))


def _by_bits(means: pd.DataFrame) -> list[tuple[str, str]]:
    """(model, kind), the best co-bps first."""
    bits = means[means["metric"] == "co-bps"].sort_values("mean", ascending=False, kind="stable")
    return list(zip(bits["model"], bits["kind"], strict=True))


def _name(model: str, kind: str) -> str:
    return f"{model} (oracle)" if kind == "oracle" else model


def _title(place: tuple) -> str:
    return f"{place[0]}, {place[1]} ms bins, {place[2]} phase"


def to_markdown(tables: dict[tuple, list[Table]], absent: list[list]) -> str:
    """The leaderboards as aligned Markdown tables; `absent` rows (dataset, bin_ms, phase, what, reason) follow."""
    lines = ["# Leaderboards", "", LEGEND, ""]
    for place, parts in tables.items():
        lines += [f"## {_title(place)}", ""]
        for table in parts:
            lines += [f"### {table.title}", ""] if table.title else []
            lines += [GRADES, ""] if table.title == "Published" else []
            widths = [max(len(row[i]) for row in [table.header, *table.rows]) for i in range(len(table.header))]
            ruled = [table.header, ["-" * width for width in widths], *table.rows]
            lines += ["| " + " | ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) + " |" for r in ruled]
            lines.append("")
    if absent:
        lines += ["## Not scored", ""]
        lines += [f"- {_title(tuple(row[:3]))}: {row[3]}: {row[4]}" for row in absent]
        lines.append("")
    return "\n".join(lines)


STYLE = """body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:90rem;padding:0 1rem}
body{color:#1a1a1a;background:#fff}p{max-width:60rem}
table{border-collapse:collapse;margin:.5rem 0 2rem}caption{text-align:left;font-weight:600;padding:.3rem 0}
th,td{padding:.3rem .8rem;border-bottom:1px solid #ccc;text-align:left;font-variant-numeric:tabular-nums}
td{white-space:nowrap}div{overflow-x:auto}tr.aside{color:#666;font-style:italic}
@media(prefers-color-scheme:dark){body{background:#161616;color:#eee}tr.aside{color:#aaa}th,td{border-color:#444}}"""


def to_html(tables: dict[tuple, list[Table]], absent: list[list]) -> str:
    """The leaderboards as one self-contained page."""
    out = ["<!doctype html><html lang='en'><meta charset='utf-8'>"]
    out.append("<meta name='viewport' content='width=device-width'><title>nlbflow leaderboards</title>")
    out.append(f"<style>{STYLE}</style><h1>Leaderboards</h1><p>{html.escape(LEGEND)}</p>")
    for place, parts in tables.items():
        out.append(f"<h2>{html.escape(_title(place))}</h2>")
        for table in parts:
            out += [f"<p>{html.escape(GRADES)}</p>"] if table.title == "Published" else []
            out.append(f"<div><table><caption>{html.escape(table.title)}</caption><thead><tr>")
            out += [f"<th scope='col'>{html.escape(h)}</th>" for h in table.header]
            out.append("</tr></thead><tbody>")
            for aside, row in zip(table.aside, table.rows, strict=True):
                out.append("<tr class='aside'>" if aside else "<tr>")
                out += [f"<td>{html.escape(cell)}</td>" for cell in row]
                out.append("</tr>")
            out.append("</tbody></table></div>")
    if absent:
        out.append("<h2>Not scored</h2><ul>")
        out += [f"<li>{html.escape(f'{_title(tuple(row[:3]))}: {row[3]}: {row[4]}')}</li>" for row in absent]
        out.append("</ul>")
    return "\n".join(out) + "</html>\n"
