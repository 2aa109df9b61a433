"""Standings: the competitors of a suite of datasets, by ranks that models share where the data do not tell them apart.

A suite consists of contests: a dataset, or the mean rank over a group of datasets, at one bin width by one metric.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

import pandas as pd

from nlbflow.errors import NlbflowError
from nlbflow.boards.boards import Cell, Results
from nlbflow.boards.sheets import Sheet, citations, data_note
from nlbflow.metrics.formulas import LOWER_IS_BETTER
from nlbflow.metrics.kinds import CONTROL, RANKED
from nlbflow.metrics.meanings import MEANINGS, NEITHER, direction, meaning

SHARED = (
    "A rank is the middle of the ranks that the data allow, which stand in parentheses, among all competitors with a "
    "score there. So models share it that paired differences over the evaluation trials do not tell apart, and tell "
    "from equally many others: what the data leave open decides nothing. Scores without an interval are ranked as they "
    "are. The parentheses of a mean hold the means of both ends; where they overlap, the order is no finding."
)


@dataclass(frozen=True)
class SharedRank:
    """The best and the worst rank that the data allow a model, or the means of several; 1 is the best."""

    best: float
    worst: float

    @property
    def middle(self) -> float:
        """The rank that models share which are not told apart: over all models it sums up as plain ranks do."""
        return (self.best + self.worst) / 2


@dataclass(frozen=True)
class Column:
    """A column of standings: one place, or several of which the mean rank is taken; `contest` says that it counts."""

    name: str
    title: str
    places: list[tuple]
    metric: str
    contest: bool


@dataclass(frozen=True)
class Standing:
    """A competitor: its rank, or the reason why it has none, by column; `mean` over the contests if it has them all."""

    model: str
    kind: str
    ranks: dict[str, SharedRank | str]
    mean: SharedRank | None


def check_suite(name: str, suite: Mapping) -> None:
    """Check the groups and metrics of a config's suite.

    Raises:
        NlbflowError: two groups have one name, or a metric is none, or no way of it is better.
    """
    groups = [group["name"] for group in suite["groups"]]
    if len({*groups}) < len(groups):
        raise NlbflowError(
            f"config key suites.{name}.groups has the names {groups}; give each group a name of its own."
        )
    for metric in suite["metrics"]:
        if not meaning(metric) or metric in NEITHER:
            known = ", ".join(name for name in MEANINGS if name not in NEITHER)
            raise NlbflowError(
                f"config key suites.{name}.metrics names {metric!r}; expected a metric of which one way is better: "
                f"{known}, k-shot co-bps such as '32-shot co-bps', or the R2 of behaviour such as 'emg R2'."
            )


def columns_of(suite: Mapping, phase: str) -> list[Column]:
    """The columns of a suite's standings, as far as its datasets are selected.

    Args:
        suite: as in `nlbflow.boards.contents.planned_standings`.
    """
    selected, found = {tuple(pair) for pair in suite["selected"]}, []
    for group in suite["groups"]:
        for metric in suite["metrics"]:
            for bin_ms in suite["bin_ms"]:
                further = [metric] if len(suite["metrics"]) > 1 else []
                further += [f"{bin_ms} ms"] if len(suite["bin_ms"]) > 1 else []
                places = {(dataset, bin_ms, phase): title for dataset, title in group["datasets"]}
                together = group["rank"] == "mean" and len(places) > 1
                if together and all(place[:2] in selected for place in places):
                    name = ", ".join([f"mean of {group['name']}", *further])
                    found.append(Column(name, name, [*places], metric, True))
                found += [
                    Column(", ".join([place[0], *further]), ", ".join([title, *further]), [place], metric, not together)
                    for place, title in places.items()
                    if place[:2] in selected
                ]
    return found


def standings(results: Results, suite: Mapping, phase: str) -> list[Standing]:
    """The competitors, best mean rank first; then those that lack a rank, the fewest missing first."""
    columns, found = columns_of(suite, phase), []
    at = {column.name: {p: shared_ranks(results, p, column.metric) for p in column.places} for column in columns}
    for model in sorted(model for model, kind in results.kinds.items() if kind in RANKED):
        ranks = {column.name: _rank(results, column, at[column.name], model) for column in columns}
        complete = not suite["unselected"] and all(isinstance(rank, SharedRank) for rank in ranks.values())
        counted = [ranks[column.name] for column in columns if column.contest]
        found.append(Standing(model, results.kinds[model], ranks, _mean(counted) if complete else None))
    return sorted(found, key=_order)


def shared_ranks(results: Results, place: tuple, metric: str) -> dict[str, SharedRank]:
    """The ranks that the data allow each competitor with a score at a place.

    By a metric without comparisons it is the rank of the score, which equal scores share.
    """
    sign = 1 if metric in LOWER_IS_BETTER else -1
    competing = [model for model in results.ordered(place, metric) if results.kinds[model] in RANKED]
    scores = {model: sign * results.means[*place, metric, model].mean for model in competing}
    ordered, found = sorted(scores.values()), {}
    for model, score in scores.items():
        compared = results.ranks.get((*place, metric, model))
        if compared is not None and pd.notna(compared.best_rank):
            found[model] = SharedRank(float(compared.best_rank), float(compared.worst_rank))
        else:
            found[model] = SharedRank(1.0 + bisect_left(ordered, score), float(bisect_right(ordered, score)))
    return found


def _rank(results: Results, column: Column, at: Mapping[tuple, Mapping], model: str) -> SharedRank | str:
    if all(model in ranks for ranks in at.values()):
        return _mean(ranks[model] for ranks in at.values())
    if len(at) > 1:
        return "it lacks a rank of this mean"
    return results.cell(*at, column.metric, model).missing


def _mean(ranks: Iterable[SharedRank]) -> SharedRank:
    ranks = [*ranks]
    return SharedRank(fmean(rank.best for rank in ranks), fmean(rank.worst for rank in ranks))


def _order(standing: Standing) -> tuple:
    has = [rank.middle for rank in standing.ranks.values() if isinstance(rank, SharedRank)]
    ahead = standing.mean.middle if standing.mean else fmean(has) if has else 0.0
    return standing.mean is None, len(standing.ranks) - len(has), ahead, standing.model


def standings_of(results: Results, wanted: Mapping, about: dict[str, dict]) -> tuple[pd.DataFrame, Sheet]:
    """The standings of a suite as a data frame and for reading.

    Args:
        wanted: as from `nlbflow.boards.contents.planned_standings`.
        about: title, citation and license of each selected dataset, by name.
    """
    suite, phase = wanted["suite"], wanted["phase"]
    found, noted = standings(results, suite, phase), {place[0] for place in results.notes if place[2] == phase}
    titles = [title for dataset, title in wanted["datasets"] if dataset in noted]
    notes = [f"see the notes under the tables of {', '.join(titles)}."] if titles else []
    return standings_table(found, columns_of(suite, phase)), standings_sheet(found, wanted, about, notes)


def standings_table(found: list[Standing], columns: list[Column]) -> pd.DataFrame:
    """The standings as a data frame: mean_rank, and for each column the rank, with `best` and `worst`; what a model
    `lacks`."""
    rows = []
    for standing in found:
        missing = {name: why for name, why in standing.ranks.items() if isinstance(why, str)}
        row = {"model": standing.model, "kind": standing.kind, **_parts("mean_rank", standing.mean)}
        for column in columns:
            row |= _parts(column.name, None if column.name in missing else standing.ranks[column.name])
        rows.append({**row, "lacks": "; ".join(f"{name}: {why}" for name, why in missing.items())})
    numbers = [part for name in ("mean_rank", *(column.name for column in columns)) for part in _parts(name, None)]
    types = {"model": str, "kind": str, **dict.fromkeys(numbers, float), "lacks": str}
    return pd.DataFrame(rows, columns=[*types]).astype(types)


def _parts(name: str, rank: SharedRank | None) -> dict[str, float | None]:
    values = (rank.middle, rank.best, rank.worst) if rank else (None, None, None)
    return dict(zip((name, f"{name} best", f"{name} worst"), values, strict=True))


def standings_sheet(found: list[Standing], wanted: Mapping, about: dict[str, dict], notes: list[str]) -> Sheet:
    """The standings for reading.

    Args:
        wanted: title, phase and suite, as from `nlbflow.boards.contents.planned_standings`.
        about: title, citation and license of each selected dataset, by name.
        notes: on the data.
    """
    suite, columns = wanted["suite"], columns_of(wanted["suite"], wanted["phase"])
    # where there is one contest, its mean is the first column
    contests = [column for column in columns if column.contest]
    shown = [column for column in columns if len(contests) > 1 or len(column.places) == 1]
    groups = []
    for title, complete in (("", True), ("incomplete", False)):
        rows = [standing for standing in found if (standing.mean is not None) == complete]
        lines = [
            [
                _written(standing.mean) if standing.mean else "–",
                f"{standing.model} ({CONTROL})" if standing.kind == CONTROL else standing.model,
                *(_cell(standing.ranks[column.name]) for column in shown),
            ]
            for standing in rows
        ]
        groups += [(title, lines)] if lines else []
    header = ["mean rank", "model", *(column.title for column in shown)]
    said = [suite["theme"], rule_in_words(suite), SHARED]
    if suite["unselected"]:
        said.insert(0, f"Not selected, so that nobody is complete: {', '.join(suite['unselected'])}.")
    said += [f"{metric}: {meaning(metric)} {direction(metric)}" for metric in suite["metrics"]]
    said += [citations([dataset for dataset, _ in wanted["datasets"]], about), *map(data_note, notes)]
    aside = [[False] * len(rows) for _, rows in groups]
    return Sheet(f"Standings: {wanted['title']}, {wanted['phase']} phase", header, groups, aside, said)


def rule_in_words(suite: Mapping) -> str:
    """What decides a suite's standings, as a reader is told."""
    bins = " and ".join(f"{bin_ms} ms" for bin_ms in suite["bin_ms"])
    said = [f"Ranked by {' and by '.join(suite['metrics'])}, at {bins}."]
    for group in suite["groups"]:
        titles = ", ".join(title for _, title in group["datasets"])
        how = "their mean rank is one contest" if group["rank"] == "mean" else "each is a contest of its own"
        said.append(f"{group['name'][:1].upper()}{group['name'][1:]} ({titles}): {how}.")
    if len(suite["metrics"]) * len(suite["bin_ms"]) > 1:
        said.append("Each metric and bin width has contests of its own.")
    return " ".join([*said, "The first column is the mean over the contests; a model needs them all."])


def _cell(rank: SharedRank | str) -> str | Cell:
    return Cell(missing=rank) if isinstance(rank, str) else _written(rank)


def _written(rank: SharedRank) -> str:
    middle, best, worst = (f"{value:.2f}".rstrip("0").rstrip(".") for value in (rank.middle, rank.best, rank.worst))
    return middle if best == worst else f"{middle} ({best}–{worst})"
