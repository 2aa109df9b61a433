"""The long tables of scores and costs, and the leaderboards made from them."""

import html

import pandas as pd

PLACE = ["dataset", "bin_ms", "phase"]
RUN = [*PLACE, "model", "seed"]
# in the order of the benchmark's leaderboard
METRICS = ["co-bps", "vel R2", "psth R2", "tp corr", "fp-bps"]
MARKS = {"null": "", "oracle": "(oracle)", "competitor": ""}


def score_table(entries: list[dict]) -> pd.DataFrame:
    """One row per run and metric: dataset, bin_ms, phase, model, seed, metric, value, kind.

    Args:
        entries: contents of scores.json files.
    """
    rows = [
        {**{key: entry[key] for key in RUN}, "metric": metric, "value": entry["scores"][metric], "kind": entry["kind"]}
        for entry in entries
        for metric in METRICS
        if metric in entry["scores"]
    ]
    return pd.DataFrame(rows, columns=[*RUN, "metric", "value", "kind"])


def cost_table(entries: list[dict]) -> pd.DataFrame:
    """One row per prediction: seconds and memory of making it and of scoring it, device, commit, versions, date."""
    rows = []
    for entry in entries:
        made, scored = entry["provenance"]["prediction"] or {}, entry["provenance"]["score"]
        rows.append(
            {
                **{key: entry[key] for key in RUN},
                "parameters": entry["facts"].get("parameters"),
                "seconds": made.get("seconds"),
                "peak_mb": made.get("peak_mb"),
                "device": made.get("device"),
                "score_seconds": scored["seconds"],
                "code_digest": made.get("code_digest"),
                "score_code_digest": scored["code_digest"],
                "dataset_version": scored["dataset_version"],
                "commit": scored["commit"],
                "date": made.get("date", scored["date"]),
            }
        )
    columns = list(rows[0]) if rows else RUN
    return pd.DataFrame(rows, columns=columns)


def leaderboards(scores: pd.DataFrame) -> dict[tuple, pd.DataFrame]:
    """A table per (dataset, bin_ms, phase): one row per model, seeds aggregated, the best co-bps first.

    Columns: rank (competitors only), model, kind, seeds, and for each metric its mean over seeds and `spread`, the
    standard deviation over seeds (absent for one seed). A metric that does not apply is missing, never zero.
    """
    boards = {}
    for place, rows in scores.groupby(PLACE, sort=True):
        cells = rows.groupby(["model", "kind", "metric"])["value"].agg(["mean", "std", "count"]).reset_index()
        metrics = [m for m in METRICS if m in set(cells["metric"])]
        board = []
        for (model, kind), group in cells.groupby(["model", "kind"], sort=True):
            by_metric = group.set_index("metric")
            line = {"model": model, "kind": kind, "seeds": int(group["count"].max())}
            for metric in metrics:
                known = metric in by_metric.index
                line[metric] = by_metric.loc[metric, "mean"] if known else float("nan")
                line[f"{metric} spread"] = by_metric.loc[metric, "std"] if known else float("nan")
            board.append(line)
        table = pd.DataFrame(board).sort_values(metrics[0], ascending=False, kind="stable").reset_index(drop=True)
        competing = table["kind"] == "competitor"
        table.insert(0, "rank", competing.cumsum().where(competing).astype("Int64"))
        boards[place] = table
    return boards


def _display(board: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and cells as text; best competitor in each metric gets a star."""
    metrics = [m for m in METRICS if m in board]
    best = {m: board.loc[board["kind"] == "competitor", m].max() for m in metrics}
    rows = []
    for _, line in board.iterrows():
        cells = ["–" if pd.isna(line["rank"]) else str(line["rank"]), f"{line['model']} {MARKS[line['kind']]}".strip()]
        cells.append(str(line["seeds"]))
        for m in metrics:
            if pd.isna(line[m]):
                cells.append("")
                continue
            text = f"{line[m] + 0.0:.4f}"
            if not pd.isna(line[f"{m} spread"]):
                text += f" ± {line[f'{m} spread']:.4f}"
            star = line["kind"] == "competitor" and line[m] == best[m] and (board["kind"] == "competitor").sum() > 1
            cells.append(text + (" *" if star else ""))
        rows.append(cells)
    return ["rank", "model", "seeds", *metrics], rows


def _title(place: tuple) -> str:
    return f"{place[0]}, {place[1]} ms bins, {place[2]} phase"


LEGEND = (
    "Ranked by co-bps. null: rates constant at the evaluated mean, the zero of bits per spike. (oracle): has seen "
    "the answers, never ranked. ± is the standard deviation over seeds; * marks the best competitor; an empty cell "
    "means that the metric does not apply or was not predicted."
)


def to_markdown(boards: dict[tuple, pd.DataFrame], absent: list[list]) -> str:
    """The leaderboards as aligned Markdown tables; `absent` rows (dataset, bin_ms, phase, what, reason) follow."""
    lines = ["# Leaderboards", "", LEGEND, ""]
    for place, board in boards.items():
        header, rows = _display(board)
        widths = [max(len(r[i]) for r in [header, *rows]) for i in range(len(header))]
        lines += [f"## {_title(place)}", ""]
        lines.append("| " + " | ".join(h.ljust(w) for h, w in zip(header, widths, strict=True)) + " |")
        lines.append("|" + "|".join("-" * (w + 2) for w in widths) + "|")
        lines += ["| " + " | ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) + " |" for r in rows]
        lines.append("")
    if absent:
        lines += ["## Not scored", ""]
        lines += [f"- {_title(tuple(row[:3]))}: {row[3]}: {row[4]}" for row in absent]
        lines.append("")
    return "\n".join(lines)


STYLE = """body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}
body{color:#1a1a1a;background:#fff}
table{border-collapse:collapse;margin:.5rem 0 2rem}caption{text-align:left;font-weight:600;padding:.3rem 0}
th,td{padding:.3rem .8rem;border-bottom:1px solid #ccc;text-align:right;font-variant-numeric:tabular-nums}
th:nth-child(2),td:nth-child(2){text-align:left}td{white-space:nowrap}div{overflow-x:auto}tr.aside{color:#666;font-style:italic}
@media(prefers-color-scheme:dark){body{background:#161616;color:#eee}tr.aside{color:#aaa}th,td{border-color:#444}}"""


def to_html(boards: dict[tuple, pd.DataFrame], absent: list[list]) -> str:
    """The leaderboards as one self-contained page."""
    out = ["<!doctype html><html lang='en'><meta charset='utf-8'>"]
    out.append("<meta name='viewport' content='width=device-width'><title>nlbflow leaderboards</title>")
    out.append(f"<style>{STYLE}</style><h1>Leaderboards</h1><p>{html.escape(LEGEND)}</p>")
    for place, board in boards.items():
        header, rows = _display(board)
        out.append(f"<div><table><caption>{html.escape(_title(place))}</caption><thead><tr>")
        out += [f"<th scope='col'>{html.escape(h)}</th>" for h in header]
        out.append("</tr></thead><tbody>")
        for kind, row in zip(board["kind"], rows, strict=True):
            out.append("<tr>" if kind == "competitor" else "<tr class='aside'>")
            out += [f"<td>{html.escape(cell)}</td>" for cell in row]
            out.append("</tr>")
        out.append("</tbody></table></div>")
    if absent:
        out.append("<h2>Not scored</h2><ul>")
        out += [f"<li>{html.escape(f'{_title(tuple(row[:3]))}: {row[3]}: {row[4]}')}</li>" for row in absent]
        out.append("</ul>")
    return "\n".join(out) + "</html>\n"
