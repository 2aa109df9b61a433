"""Boards laid out for reading: a header, groups of rows and notes, the same for every markup."""

from dataclasses import dataclass, replace

from nlbflow.boards.boards import Board, Cell, Group, Results, Row, place_board
from nlbflow.metrics.meanings import direction, meaning

LEGEND = (
    "Ranked by co-bps. Parentheses give the ranks that the data allow: models are told apart only where their paired "
    "difference over the evaluation trials is real. [low, high] is the 95 % interval over evaluation trials, ± the "
    "standard deviation over seeds. * marks competitors that no other really beats, at a level that holds for all "
    "pairs of a model at once. The best is bold if it really beats every other competitor, pair by pair; then the "
    "second is underlined if it really beats all behind it. null: rates constant at the evaluated mean, the zero of "
    "bits per spike. (control): a simple statistical model, ranked with the others. (oracle): has seen the answers, "
    "never ranked. (implausible): has a score that only the answers can give, not ranked. – is a missing score, never "
    "zero; its letter gives the reason. The letter of a source is a grade of evidence: R, run here, a model that "
    "others entered; S, scored here, rates that others made; and, of published scores: A, a paper's table; B, "
    "somebody's repository; C, self-reported, not checked. Rows without a source were run here."
)
OF_AVERAGES = (
    "psth R2 is lower where it averages over fewer evaluation trials, so compare it on one dataset and phase only; "
    "a model that predicts all trials of a condition alike has no spread over trials."
)
MEAN_RANK = (
    "mean rank: the mean over datasets of a competitor's rank among the models that have a score on every dataset. "
    "Models that lack a score have no mean rank and stand below, ordered by their mean position where they have scores."
)
# the kinds that are shown beside a model's name
TOLD = ("oracle", "implausible", "control")
# with more columns of intervals a table is too wide for a page
MOST_WITH_INTERVALS = 5


@dataclass(frozen=True)
class Sheet:
    """Rows of text and cells, by the title of their group; `aside` marks the rows of models that do not compete."""

    title: str
    header: list[str]
    groups: list[tuple[str, list[list[str | Cell]]]]
    aside: list[list[bool]]
    notes: list[str]


def board_sheets(board: Board, about: dict[str, dict]) -> list[Sheet]:
    """A sheet of the benchmark's metrics, with published scores, and one of the further metrics if there are any.

    Args:
        about: title, citation and license of each dataset, by name.
    """
    main = {name: label for name, label in board.columns.items() if name not in board.further}
    groups, notes = board.groups, [citations(board.datasets, about), *map(data_note, board.notes)]
    several = len(board.datasets) > 1
    if "psth R2" in (*main, *(group.title for group in groups)):
        notes.insert(0, OF_AVERAGES)
    if several and groups:
        notes.insert(0, MEAN_RANK)
    if board.missing:
        notes.insert(0, f"Not scored: {board.missing}.")
    elif len(board.datasets) > MOST_WITH_INTERVALS:
        groups = [Group(group.title, [_without_intervals(row) for row in group.rows]) for group in groups]
        notes.insert(0, "The tables of single datasets give the intervals.")
    sheets = [_sheet(board.title, groups, main, "mean rank" if several else "rank", notes)]
    if board.further:
        rows = [row for row in board.groups[0].rows if any(_valued(row, name) for name in board.further)]
        columns = {name: board.columns[name] for name in board.further}
        sheets.append(_sheet(f"{board.title}: beyond the benchmark", [Group("", rows)], columns, "", []))
    return sheets


def definitions(sheets: list[Sheet]) -> list[str]:
    """A line for each metric in the sheets: what it means and which way is better."""
    names = [name for sheet in sheets for name in (*sheet.header, *(title.split(", ")[0] for title, _ in sheet.groups))]
    return [f"{name}: {meaning(name)} {direction(name)}" for name in dict.fromkeys(names) if meaning(name)]


def citations(datasets: list[str], about: dict[str, dict]) -> str:
    """How to cite the data, and their licence."""
    return "Data: " + "; ".join("{title}, {citation}, {license}".format(**about[d]) for d in datasets) + "."


def data_note(note: str) -> str:
    """A note on the data, as tables print it."""
    return f"Note: {note}"


def _without_intervals(row: Row) -> Row:
    return replace(row, cells={name: replace(cell, low=None, high=None) for name, cell in row.cells.items()})


def _valued(row: Row, column: str) -> bool:
    return column in row.cells and row.cells[column].value is not None


def _sheet(title: str, groups: list[Group], columns: dict[str, str], rank: str, notes: list[str]) -> Sheet:
    seeds = rank == "rank"
    sources: dict[tuple, str] = {}
    header = [*([rank] if rank else []), "model", *(["seeds"] if seeds else []), *columns.values()]
    header += ["source"] if any(row.source for group in groups for row in group.rows) else []
    parts, aside = [], []
    for group in groups:
        for part in ("", "not scored on every dataset", "published"):
            rows = [row for row in group.rows if _part(row) == part]
            if not rows:
                continue
            name = ", ".join(filter(None, [group.title, part]))
            lines = []
            for row in rows:
                line: list[str | Cell] = [_rank(row)] if rank else []
                line.append(f"{row.name} ({row.kind})" if row.kind in TOLD else row.name)
                line += [str(row.seeds or "")] if seeds else []
                line += [row.cells[column] for column in columns]
                if row.source:
                    line.append(sources.setdefault((row.grade, row.source), f"{row.grade}{len(sources) + 1}"))
                lines.append(line + [""] * (len(header) - len(line)))
            parts.append((name, lines))
            aside.append([row.kind in ("oracle", "null", "implausible") for row in rows])
    listed = [f"{key}: {source}" for (_, source), key in sources.items()]
    return Sheet(title, header, parts, aside, notes + listed)


def _part(row: Row) -> str:
    if row.kind == "published":
        return "published"
    return "" if row.complete else "not scored on every dataset"


def _rank(row: Row) -> str:
    if row.rank is None:
        return "" if row.kind == "published" else "–"
    if row.best_rank is None:
        return f"{row.rank:.1f}"
    place = f"{row.rank:.0f}"
    return place if row.best_rank == row.worst_rank else f"{place} ({row.best_rank}–{row.worst_rank})"


def reasons(sheet: Sheet) -> dict[str, str]:
    """The letter that stands for each reason why a score is missing."""
    found = dict.fromkeys(
        cell.missing for _, rows in sheet.groups for row in rows for cell in row if isinstance(cell, Cell)
    )
    return {reason: _letter(i) for i, reason in enumerate(filter(None, found))}


def _letter(i: int) -> str:
    return chr(ord("a") + i) if i < 26 else _letter(i // 26 - 1) + _letter(i % 26)


def leaderboard_sheets(results: Results, about: dict[str, dict]) -> list[Sheet]:
    """The sheets of each scored dataset, bin width and phase: our models and, beside them, published scores."""
    return [sheet for place in sorted(results.metrics) for sheet in board_sheets(place_board(results, place), about)]
