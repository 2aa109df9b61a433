"""The long tables: scores, costs, per-neuron scores, comparisons of models, notes on the data and their summaries."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from nlbflow.metrics.decoded_metric import benchmark_metrics

# In these columns an empty field is a missing number; elsewhere it is text, as is "null", the name of a model.
NUMBERS = (
    "value",
    "low",
    "high",
    "best_rank",
    "worst_rank",
    "difference",
    "parameters",
    "seconds",
    "peak_mb",
    "co-bps",
)
BENCHMARK_BIN_MS = 5
PLACE = ["dataset", "bin_ms", "phase"]
RUN = [*PLACE, "model", "seed"]
COMPARISONS = {
    "ranks": ["metric", "model", "kind", "seeds", "value", "low", "high", "best_rank", "worst_rank"],
    "differences": ["metric", "model", "other", "difference", "low", "high", "real"],
    "cross_decoding": ["model", "other", "R2"],
    "consistency": ["model", "seeds", "seed cross-decoding", "matched correlation", "sparse R2"],
}


def place_title(dataset: str, bin_ms: int, phase: str) -> str:
    """The name of a place, for reading."""
    return f"{dataset}, {bin_ms} ms bins, {phase} phase"


def with_bin_widths(published: pd.DataFrame) -> pd.DataFrame:
    """Published scores, each with a bin width: the benchmark's own if the source does not give one (`stated`).

    Args:
        published: dataset, bin_ms, phase, method, metric, value, grade, source.
    """
    return published.assign(
        stated=published["bin_ms"].notna(), bin_ms=published["bin_ms"].fillna(BENCHMARK_BIN_MS).astype(int)
    )


def read_table(path: str | Path) -> pd.DataFrame:
    """One of the long tables, read back from its CSV file."""
    return pd.read_csv(path, keep_default_na=False, na_values={name: [""] for name in NUMBERS})


def score_table(entries: list[dict]) -> pd.DataFrame:
    """One row per run and metric: dataset, bin_ms, phase, model, seed, metric, value, low, high, kind,
    metrics_version (`nlbflow.METRICS_VERSION` of the code that scored it).

    `low` and `high` are the 95 % interval over evaluation trials, missing where there is none.

    Args:
        entries: contents of scores.json files.
    """
    rows = []
    for entry in entries:
        first = benchmark_metrics(entry["scores"])
        for metric in first + sorted(entry["scores"].keys() - set(first)):
            low, high = entry["intervals"].get(metric) or (None, None)
            run = {key: entry[key] for key in RUN}
            value = entry["scores"][metric]
            said = {"kind": entry["kind"], "metrics_version": entry["metrics_version"]}
            rows.append({**run, "metric": metric, "value": value, "low": low, "high": high, **said})
    return pd.DataFrame(rows, columns=[*RUN, "metric", "value", "low", "high", "kind", "metrics_version"])


def neuron_table(entries: list[dict]) -> pd.DataFrame:
    """One row per run and held-out neuron: bits per spike, missing if it is silent. Neurons are numbered from 0 by
    ascending unit id.

    Their mean, weighted by the neurons' spikes, is the population's co-bps (Pei et al. 2021 score the population).
    """
    rows = [
        {**{key: entry[key] for key in RUN}, "neuron": neuron, "co-bps": bits}
        for entry in entries
        for neuron, bits in enumerate(entry["bits_per_neuron"])
    ]
    return pd.DataFrame(rows, columns=[*RUN, "neuron", "co-bps"])


def comparison_table(comparisons: list[dict], name: str) -> pd.DataFrame:
    """The rows of one table of every place's comparison.

    Args:
        comparisons: contents of comparison.json files.
        name: `ranks`, `differences`, `cross_decoding` or `consistency`.
    """
    rows = [{**{key: place[key] for key in PLACE}, **row} for place in comparisons for row in place[name]]
    table = pd.DataFrame(rows, columns=[*PLACE, *COMPARISONS[name]])
    return table.astype({key: "Int64" for key in ("best_rank", "worst_rank") if key in table})


def summary_table(datasets: list[dict]) -> pd.DataFrame:
    """One row per place and fact about its data: dataset, bin_ms, phase, label, text.

    Args:
        datasets: contents of dataset.json files.
    """
    rows = [[*(place[key] for key in PLACE), *fact] for place in datasets for fact in place["summary"]]
    return pd.DataFrame(rows, columns=[*PLACE, "label", "text"])


def note_table(sources: Iterable[dict]) -> pd.DataFrame:
    """One row per place and note: dataset, bin_ms, phase, note; a note that several sources have appears once.

    Args:
        sources: contents of dataset.json and scores.json files, whose `notes`, if any, are sentences.
    """
    rows = [(*(source[key] for key in PLACE), note) for source in sources for note in source.get("notes", [])]
    return pd.DataFrame([*dict.fromkeys(rows)], columns=[*PLACE, "note"])


def notes_by_place(notes: pd.DataFrame) -> dict[tuple, list[str]]:
    """The notes of each (dataset, bin_ms, phase) that has any."""
    return {place: [*rows["note"]] for place, rows in notes.groupby(PLACE, sort=False)}


def cost_table(entries: list[dict]) -> pd.DataFrame:
    """One row per prediction: seconds (its share, of seeds that were trained side by side) and memory it took, seconds
    of scoring, device, confinement, commit, date."""
    rows = []
    for entry in entries:
        made, scored = entry["provenance"]["prediction"] or {}, entry["provenance"]["score"]
        rows.append(
            {
                **{key: entry[key] for key in RUN},
                "parameters": entry["facts"].get("parameters"),
                "seconds": made.get("seconds"),
                "side_by_side": made.get("side_by_side", 1),
                "peak_mb": made.get("peak_mb"),
                "device": made.get("device"),
                "confined": made.get("confined"),
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
