"""The boards: scores as data, from which Markdown, LaTeX, HTML, CSV and Parquet are all written.

A board has our models and, apart but in the same columns, published methods. A missing score is a cell that has a
reason in place of a value.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean

import pandas as pd

from nlbflow.boards.cells import best_and_second, positions, unbeaten, why_missing
from nlbflow.boards.tables import PLACE, notes_by_place, place_title, with_bin_widths
from nlbflow.metrics.decoded_metric import benchmark_metrics
from nlbflow.metrics.formulas import LOWER_IS_BETTER
from nlbflow.metrics.kinds import RANKED

WHOLE = "all models"
NONE = float("inf")


@dataclass(frozen=True)
class Cell:
    """A score with its 95 % interval, its standard deviation over seeds, its mark (`best`, `second` or none), and
    whether its model is a competitor that no other really beats; or the reason why the score is missing."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    sd: float | None = None
    mark: str = ""
    unbeaten: bool = False
    missing: str = ""


@dataclass(frozen=True)
class Row:
    """A model (kind competitor, control, oracle or null) or a published method (kind published), and its cells by
    column. On a board of several datasets, `rank` is the mean rank of a model with a score on each (`complete`)."""

    name: str
    kind: str
    cells: dict[str, Cell]
    rank: float | None = None
    best_rank: int | None = None
    worst_rank: int | None = None
    seeds: int | None = None
    complete: bool = True
    grade: str = ""
    source: str = ""


@dataclass(frozen=True)
class Group:
    """The rows under one metric; the title is empty where a board has one group."""

    title: str
    rows: list[Row]


@dataclass(frozen=True)
class Board:
    """The columns' labels by name, the groups of rows, the datasets behind them, the metrics that the benchmark lacks
    (`further`), the reason if nothing could be scored (`missing`), and the notes on the data."""

    title: str
    columns: dict[str, str]
    groups: list[Group]
    datasets: list[str]
    further: list[str] = field(default_factory=list)
    missing: str = ""
    notes: list[str] = field(default_factory=list)


class Results:
    """What boards are made from, by place (dataset, bin_ms, phase), metric and model.

    Args:
        scores: as from `nlbflow.boards.tables.score_table`.
        ranks, differences: as from `nlbflow.boards.tables.comparison_table`.
        published: dataset, bin_ms, phase, method, metric, value, grade, source.
        absent: [dataset, bin_ms, phase, model, reason] of each selected model that has no result; the model
            `all models` stands for the whole place.
        notes: as from `nlbflow.boards.tables.note_table`, if there are any.
        kinds: of the selected models, as far as known; it tells that of models without any score.
        sources: grade of evidence and source of models that are not the workflow's own: rates that others made (S),
            or a model that others entered (R).
    """

    def __init__(
        self,
        scores: pd.DataFrame,
        ranks: pd.DataFrame,
        differences: pd.DataFrame,
        published: pd.DataFrame,
        absent: list[list],
        notes: pd.DataFrame | None = None,
        kinds: Mapping[str, str] | None = None,
        sources: Mapping[str, list[str]] | None = None,
    ):
        key = [*PLACE, "metric", "model"]
        means = scores.groupby(key)["value"].agg(["mean", "std", "count"]).reset_index()
        self.means = {tuple(row[:5]): row for row in means.itertuples(index=False)}
        ranks = ranks.assign(position=positions(ranks), unbeaten=unbeaten(ranks))
        self.ranks = {tuple(getattr(row, name) for name in key): row for row in ranks.itertuples(index=False)}
        self.marks = best_and_second(ranks, differences)
        self.absent = {tuple(row[:4]): row[4] for row in absent}
        self.kinds = {model: (kinds or {}).get(model, "competitor") for *_, model in self.absent if model != WHOLE}
        self.kinds |= dict(zip(scores["model"], scores["kind"], strict=True))
        # a model that is implausible at one place is marked in every table
        self.kinds |= dict.fromkeys(scores.loc[scores["kind"] == "implausible", "model"], "implausible")
        self.metrics: dict[tuple, set[str]] = {}
        self.models: dict[tuple, dict[str, set[str]]] = {}
        for *place, metric, model in self.means:
            self.metrics.setdefault(tuple(place), set()).add(metric)
            self.models.setdefault(tuple(place), {}).setdefault(model, set()).add(metric)
        self.sources = sources or {}
        self.notes = {} if notes is None else notes_by_place(notes)
        self._published = with_bin_widths(published)

    @classmethod
    def of_job(
        cls,
        scores: pd.DataFrame,
        ranks: pd.DataFrame,
        differences: pd.DataFrame,
        published: pd.DataFrame,
        notes: pd.DataFrame,
        asked: Mapping,
    ) -> "Results":
        """With what the parameters of a job's stamp say beside the scores."""
        return cls(scores, ranks, differences, published, asked["absent"], notes, asked["kinds"], asked["sources"])

    def published_at(self, datasets: list[str], bin_ms: int, phase: str) -> pd.DataFrame:
        """The published scores on these datasets; `stated` tells whether the source gives the bin width."""
        rows = self._published
        return rows[rows["dataset"].isin(datasets) & (rows["bin_ms"] == bin_ms) & (rows["phase"] == phase)]

    def ordered(self, place: tuple, metric: str = "co-bps") -> list[str]:
        """The models that have a score by this metric, the best first."""
        sign = 1 if metric in LOWER_IS_BETTER else -1
        means = {
            m: self.means[key].mean for m in self.models.get(place, ()) if (key := (*place, metric, m)) in self.means
        }
        return sorted(means, key=lambda model: (sign * means[model], model))

    def mean_ranks(self, places: list[tuple], metric: str, models: Collection[str]) -> dict[str, float]:
        """The mean over places of each competitor's rank among `models`, which have a score at each; ties share one."""
        sign = 1 if metric in LOWER_IS_BETTER else -1
        competing = [model for model in models if self.kinds[model] in RANKED]
        values = [{m: sign * self.means[*place, metric, m].mean for m in competing} for place in places]
        return {m: fmean(1 + sum(v < at[m] for v in at.values()) for at in values) for m in competing}

    def evidence(self, model: str) -> dict[str, str]:
        """Grade and source of a model's row, if it is not the workflow's own."""
        return dict(zip(("grade", "source"), self.sources.get(model, ()), strict=False))

    def cell(self, place: tuple, metric: str, model: str) -> Cell:
        mean = self.means.get((*place, metric, model))
        if mean is None:
            return Cell(missing=self._reason(place, metric, model))
        rank = self.ranks.get((*place, metric, model))
        known = rank is not None and pd.notna(rank.low)
        return Cell(
            value=mean.mean + 0.0,  # turns -0 into 0
            low=rank.low if known else None,
            high=rank.high if known else None,
            sd=mean.std if mean.count > 1 else None,
            mark=self.marks.get((*place, metric, model), ""),
            unbeaten=rank is not None and bool(rank.unbeaten),
        )

    def _reason(self, place: tuple, metric: str, model: str) -> str:
        if reason := self.absent.get((*place, WHOLE)) or self.absent.get((*place, model)):
            return reason
        own = self.models.get(place, {}).get(model, set())
        return why_missing(metric, self.kinds[model], own, self.metrics.get(place, {metric}))


def place_board(results: Results, place: tuple) -> Board:
    """The board of one place (dataset, bin_ms, phase), ranked by co-bps; models without a result there come last."""
    scored = results.metrics.get(place, set())
    metrics = benchmark_metrics(scored)
    further = sorted(scored - set(metrics))
    columns = {metric: metric for metric in metrics + further}
    order = results.ordered(place)
    lacking = sorted(set(results.kinds) - set(order)) if scored else []
    rows = [_place_row(results, place, model, columns) for model in order + lacking]
    if scored:
        here = results.published_at([place[0]], *place[1:])
        rows += _published_rows(here.assign(column=here["metric"]), metrics)
    missing = "" if rows else results.absent.get((*place, WHOLE), "no model has a result there")
    groups, notes = [Group("", rows)] if rows else [], results.notes.get(place, [])
    return Board(place_title(*place), columns, groups, [place[0]], further, missing, notes)


def _place_row(results: Results, place: tuple, model: str, columns: Iterable[str]) -> Row:
    compared = results.ranks.get((*place, "co-bps", model))
    kind = results.kinds[model] if compared is None else compared.kind
    rank = compared if kind in RANKED else None
    cells = {metric: results.cell(place, metric, model) for metric in columns}
    counts = [results.means[*place, metric, model].count for metric, cell in cells.items() if cell.value is not None]
    return Row(
        model,
        kind,
        cells,
        rank=rank.position if rank else None,
        best_rank=int(rank.best_rank) if rank else None,
        worst_rank=int(rank.worst_rank) if rank else None,
        seeds=max(counts, default=None),
        **results.evidence(model),
    )


def across_board(results: Results, title: str, datasets: dict[str, str], bin_ms: int, phase: str) -> Board:
    """Datasets side by side: a column for each, a group of rows for each of the benchmark's metrics.

    Only datasets that have the metric count. Models with a score on each of these are ranked among themselves and
    ordered by their mean rank. Models that lack a score have no mean rank and follow, ordered by their mean position
    among all models on the datasets where they have one. A published method is shown if it has scores on two datasets.

    Args:
        title: what the datasets have in common.
        datasets: the labels of the columns by dataset.
    """
    places = {dataset: (dataset, bin_ms, phase) for dataset in datasets}
    here, groups = results.published_at([*datasets], bin_ms, phase), []
    for metric in benchmark_metrics(set().union(*(results.metrics.get(place, ()) for place in places.values()))):
        scored = [place for place in places.values() if metric in results.metrics.get(place, ())]
        orders = [results.ordered(place, metric) for place in scored]
        complete = set.intersection(*map(set, orders))
        ranks = results.mean_ranks(scored, metric, complete)
        whole = _mean_positions([[model for model in order if model in complete] for order in orders])
        partly = {model: at for model, at in _mean_positions(orders).items() if model not in complete}
        rows = [
            Row(
                model,
                results.kinds[model],
                {dataset: results.cell(place, metric, model) for dataset, place in places.items()},
                rank=ranks.get(model),
                complete=model in complete,
                **results.evidence(model),
            )
            for found in (whole, partly)
            for model in sorted(found, key=lambda model: (found[model], model))
        ]
        shown = here[here["metric"] == metric]
        rows += _published_rows(shown.assign(column=shown["dataset"]), [*datasets], least=2)
        groups.append(Group(metric, rows))
    missing = "" if groups else "no model has a result there"
    noted = [label for dataset, label in datasets.items() if places[dataset] in results.notes]
    notes = [f"see the notes under the tables of {', '.join(noted)}."] if noted else []
    return Board(place_title(title, bin_ms, phase), datasets, groups, [*datasets], missing=missing, notes=notes)


def _mean_positions(orders: list[list[str]]) -> dict[str, float]:
    """The mean position of every model, over the orders that contain it."""
    found: dict[str, list[int]] = {}
    for order in orders:
        for i, model in enumerate(order):
            found.setdefault(model, []).append(1 + i)
    return {model: fmean(positions) for model, positions in found.items()}


def _published_rows(published: pd.DataFrame, columns: list[str], least: int = 1) -> list[Row]:
    """The published methods with scores in at least `least` columns, the highest score in the first column first."""
    rows = []
    for (method, grade, source), found in published.groupby(["method", "grade", "source"]):
        values = dict(zip(found["column"], found["value"], strict=True))
        cells = {c: Cell(values[c]) if c in values else Cell(missing="not published") for c in columns}
        name = method if found["stated"].all() else f"{method} (bin width not stated)"
        if len(values.keys() & set(columns)) >= least:
            rows.append(Row(name, "published", cells, grade=grade, source=source))
    return sorted(rows, key=lambda row: -NONE if row.cells[columns[0]].missing else row.cells[columns[0]].value)[::-1]


PARTS = ("low", "high", "sd", "mark", "missing")


def board_table(board: Board) -> pd.DataFrame:
    """The board as a data frame with the same rows: for each column the score, `low` and `high` of its interval, `sd`
    over seeds, `mark`, and why it is `missing`."""
    rows = []
    for group in board.groups:
        for row in group.rows:
            line = {**vars(row), "metric": group.title}
            for column in board.columns:
                cell = row.cells.get(column, Cell(missing="not published"))
                line |= {column: cell.value, **{f"{column} {part}": getattr(cell, part) for part in PARTS}}
            rows.append(line)
    types = {"metric": str, "name": str, "kind": str, "rank": float}
    types |= dict.fromkeys(("best_rank", "worst_rank", "seeds"), "Int64")
    for column in board.columns:
        types |= {
            column: float,
            **{f"{column} {part}": str if part in ("mark", "missing") else float for part in PARTS},
        }
    types |= {"grade": str, "source": str}
    return pd.DataFrame(rows, columns=[*types]).astype(types)
