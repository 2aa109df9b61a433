"""The leaderboards: for each dataset, bin width and phase our models, and beside them what others published."""

from nlbflow import markup
from nlbflow.boards import Results, place_board
from nlbflow.sheets import LEGEND, Sheet, board_sheets
from nlbflow.tables import place_title


def leaderboards(results: Results, about: dict[str, dict]) -> list[Sheet]:
    """The sheets of every place that was scored."""
    return [sheet for place in sorted(results.metrics) for sheet in board_sheets(place_board(results, place), about)]


def to_markdown(sheets: list[Sheet], absent: list[list], notes: dict[tuple, list[str]] | None = None) -> str:
    """The leaderboards in Markdown; `absent` rows (dataset, bin_ms, phase, what, reason) follow, and the notes on the
    data of places that have no table."""
    lines = ["# Leaderboards", "", LEGEND, "", *(markup.to_markdown(sheet) for sheet in sheets)]
    if absent:
        lines += ["## Not scored", "", *(f"- {_absence(row)}" for row in absent), ""]
    if notes:
        said = [f"{place_title(*place)}: {note}" for place, found in notes.items() for note in found]
        lines += ["## Notes on the data", "", *(f"- {markup.markdown_text(line)}" for line in said), ""]
    return "\n".join(lines)


def _absence(row: list) -> str:
    return markup.markdown_text(f"{place_title(*row[:3])}: {row[3]}: {row[4]}")
