"""What changed between two builds of the leaderboards, and why, from their leaderboard.json files."""

import hashlib
import html
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nlbflow.boards.contents import origin_sentence
from nlbflow.boards.feed import add_entry
from nlbflow.boards.leaderboard_json import read_leaderboard
from nlbflow.boards.sheets import Sheet
from nlbflow.boards.tables import PLACE, place_title
from nlbflow.boards.typesetting import markdown_text, to_html, to_markdown

UNKNOWN = "nothing that is recorded: the model is not deterministic, or another file that it is made of changed"
NOT_SELECTED = "no longer selected"
# decimals of two numbers that are printed side by side: as few as tell them apart
DECIMALS = (4, 6, 9, 12, 17)
# of a table in a feed, whose readers fetch all of it each time; a new metrics_version changes every number
MOST_ROWS = 30
# versions that stand under `packages` and are told elsewhere
OWN = ("metrics",)
TABLES = {
    "digits": ("Changed numbers", ["place", "model", "number", "before", "now", "why"]),
    "ranks": ("Changed ranks", ["place", "metric", "models"]),
    "new": ("New rows", ["place", "model", "co-bps", "rank"]),
    "gone": ("Rows that are gone", ["place", "model", "why"]),
    "published": ("Published scores", ["place", "model", "number", "before", "now", "source"]),
}


@dataclass(frozen=True)
class Changes:
    """Rows of text for each table of TABLES."""

    digits: list[list[str]]
    ranks: list[list[str]]
    new: list[list[str]]
    gone: list[list[str]]
    published: list[list[str]]

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in TABLES)

    def summary(self) -> str:
        """How much of each kind changed, in a line."""
        nouns = {
            "digits": ("changed number", "changed numbers"),
            "new": ("new row", "new rows"),
            "gone": ("row gone", "rows gone"),
            "ranks": ("ranking changed", "rankings changed"),
            "published": ("published score changed", "published scores changed"),
        }
        found = {name: len(getattr(self, name)) for name in nouns}
        told = [f"{n} {nouns[name][n > 1]}" for name, n in found.items() if n]
        return ", ".join(told) or "nothing changed"


def compare_builds(before: Path, now: Path, feed: Path | None = None) -> str:
    """What changed between two leaderboard.json files, as Markdown; a change is also added to an Atom feed, if named.

    Raises:
        NlbflowError: a file is no leaderboard.json, or the feed is none.
    """
    old, new = read_leaderboard(before), read_leaderboard(now)
    found = changes_between(old, new)
    text = changes_markdown(found, old, new)
    if feed and found:
        about = f"{content_digest(old)} {content_digest(new)}"
        shown = changes_html(found, old, new)
        add_entry(feed, new["origin"]["selection"], about, found.summary(), shown, new["made"]["date"])
    return text


def changes_between(old: Mapping, new: Mapping) -> Changes:
    """What changed from one leaderboard.json to another.

    Args:
        old, new: as from `nlbflow.boards.leaderboard_json.read_leaderboard`.
    """
    rows, now = _rows(old), _rows(new)
    runs, runs_now = _provenance(old), _provenance(new)
    absent = {(*_at(place), row["model"]): row["reason"] for place in new["places"] for row in place["absent"]}
    digits = []
    for key in now.keys() & rows.keys():
        differing = _differing(rows[key], now[key])
        why = _why(rows[key], now[key], runs[key], runs_now[key]) if differing else ""
        digits += [[place_title(*key[:3]), key[3], *line, why] for line in differing]
    gone = [(key, absent.get(key) or absent.get((*key[:3], None)) or NOT_SELECTED) for key in rows.keys() - now.keys()]
    return Changes(
        sorted(digits),
        _changed_ranks(rows, now),
        sorted([place_title(*key[:3]), key[3], *_bits(now[key])] for key in now.keys() - rows.keys()),
        sorted([place_title(*key[:3]), key[3], why] for key, why in gone),
        _changed_published(old, new),
    )


def changes_markdown(changes: Changes, old: Mapping, new: Mapping) -> str:
    """The changes for reading."""
    lines = ["# Changes of the leaderboards", ""]
    lines += [part for line in _about(changes, old, new) for part in (markdown_text(line), "")]
    return "\n".join([*lines, *map(to_markdown, _sheets(changes))])


def changes_html(changes: Changes, old: Mapping, new: Mapping) -> str:
    """The changes for a feed: of each table the first rows, and how many more there are."""
    lines = [f"<p>{html.escape(line)}</p>" for line in _about(changes, old, new)]
    return "\n".join([*lines, *map(to_html, _sheets(changes, MOST_ROWS))])


def _about(changes: Changes, old: Mapping, new: Mapping) -> list[str]:
    return [f"Before: {_whose(old)}.", f"Now: {_whose(new)}.", f"In short: {changes.summary()}."]


def _sheets(changes: Changes, most: int | None = None) -> list[Sheet]:
    """A sheet of each table that has rows, of each at most so many."""
    sheets = []
    for name, (title, header) in TABLES.items():
        if found := getattr(changes, name):
            rows, left = found[:most], len(found[most:]) if most else 0
            more = [f"And {left:,} more, which `nlbflow changes` prints."] if left else []
            sheets.append(Sheet(title, header, [("", rows)], [[False] * len(rows)], more))
    return sheets


def content_digest(board: Mapping) -> str:
    """A digest of what is reproducible in a leaderboard.json: the same for two builds with the same content."""
    kept = {key: value for key, value in board.items() if key != "made"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _whose(board: Mapping) -> str:
    made = board["made"]
    at = f", commit {made['commit']}" if made["commit"] else ""
    return f"from {origin_sentence(board['origin'])}, by nlbflow {made['nlbflow']}{at}, on {made['date']}"


def _at(item: Mapping) -> tuple:
    return tuple(item[key] for key in PLACE)


def _rows(board: Mapping) -> dict[tuple, Mapping]:
    """The rows by (dataset, bin_ms, phase, model)."""
    return {(*_at(place), row["model"]): row for place in board["places"] for row in place["rows"]}


def _provenance(board: Mapping) -> dict[tuple, dict]:
    """By (dataset, bin_ms, phase, model): its `runs` and, in lists, the records of each stage that made them."""
    answers = {_at(item): item["made"] for item in board["made"]["answers"]}
    found = {key: {"runs": [], "answers": [], "model": [], "scoring": []} for key in _rows(board)}
    for run in board["made"]["runs"]:
        if (key := (*_at(run), run["model"])) in found:
            found[key]["runs"].append(run)
            found[key]["answers"] += filter(None, [answers.get(_at(run))])
            found[key]["model"] += filter(None, [run["prediction"]])
            found[key]["scoring"].append(run["score"])
    return found


def _differing(old: Mapping, new: Mapping) -> list[list[str]]:
    """[number, before, now] of each score that differs, in its value or its interval; and of the kind."""
    lines = [["kind", old["kind"], new["kind"]]] if old["kind"] != new["kind"] else []
    for metric in sorted(old["scores"].keys() | new["scores"].keys()):
        pair = [_numbers(row["scores"].get(metric)) for row in (old, new)]
        if pair[0] != pair[1]:
            lines.append([metric, *_told_apart(*pair)])
    return lines


def _numbers(score: Mapping | None) -> list[float | None]:
    return [score[key] for key in ("value", "low", "high")] if score else [None]


def _told_apart(*pair: list[float | None]) -> tuple[str, ...]:
    for decimals in DECIMALS:
        texts = tuple(_text(numbers, f".{decimals}f") for numbers in pair)
        if texts[0] != texts[1]:
            return texts
    return tuple(_text(numbers, "") for numbers in pair)


def _text(numbers: list[float | None], form: str) -> str:
    value, *ends = ("–" if number is None else format(number, form) for number in numbers)
    known = ends and numbers[1:] != [None, None]
    return f"{value} [{', '.join(ends)}]" if known else value


def _rank(score: Mapping | None) -> str:
    if not score or score["rank"] is None:
        return "–"
    best, worst = score["best_rank"], score["worst_rank"]
    return f"{score['rank']}" if best == worst else f"{score['rank']} ({best}–{worst})"


def _bits(row: Mapping) -> list[str]:
    """co-bps and rank of a row."""
    score = row["scores"].get("co-bps")
    return [_text(_numbers(score), ".4f"), _rank(score)]


def _changed_ranks(old: Mapping, new: Mapping) -> list[list[str]]:
    """[place, metric, models with their ranks] of the models in both."""
    found: dict[tuple, list[str]] = {}
    for key in sorted(old.keys() & new.keys()):
        for metric in sorted(old[key]["scores"].keys() & new[key]["scores"].keys()):
            before, now = (_rank(rows[key]["scores"][metric]) for rows in (old, new))
            if before != now:
                found.setdefault((*key[:3], metric), []).append(f"{key[3]} {before} → {now}")
    return [[place_title(*place), metric, "; ".join(models)] for (*place, metric), models in found.items()]


def _changed_published(old: Mapping, new: Mapping) -> list[list[str]]:
    before, now = (
        {
            (*_at(place), row["method"], metric, row["source"]): value
            for place in board["places"]
            for row in place["published"]
            for metric, value in row["scores"].items()
        }
        for board in (old, new)
    )
    # of a place that one of them lacks, the other's published scores are no news
    shared = {_at(place) for place in old["places"]} & {_at(place) for place in new["places"]}
    return [
        [place_title(*key[:3]), key[3], key[4], *_told_apart([before.get(key)], [now.get(key)]), key[5]]
        for key in sorted(before.keys() | now.keys())
        if key[:3] in shared and before.get(key) != now.get(key)
    ]


def _why(old: Mapping, new: Mapping, before: Mapping, now: Mapping) -> str:
    """What is known to differ behind two rows of one place and model."""
    found = _arrow("metrics version", [old["metrics_version"]], [new["metrics_version"]])
    found += _arrow("data version", *(_values(made["scoring"], "dataset_version") for made in (before, now)))
    found += _arrow("seeds", *(map(str, row["seeds"]) for row in (old, new)))
    params = [made["runs"][0]["params"] if made["runs"] else {} for made in (before, now)]
    names = sorted(key for key in params[0].keys() | params[1].keys() if params[0].get(key) != params[1].get(key))
    found += [f"parameters {', '.join(names)}"] if names else []
    for stage, what in (
        ("model", "code, environment or parameters of the model"),
        ("answers", "code or definition behind the answers"),
        ("scoring", "code or settings of the scoring"),
    ):
        found += _arrow(what, *(_values(made[stage], "code_digest") for made in (before, now)))
    found += _changed_packages(before, now)
    found += _arrow("device", *(_values(made["model"], "device") for made in (before, now)))
    return "; ".join(found) or UNKNOWN


def _arrow(what: str, before: Iterable[str], now: Iterable[str]) -> list[str]:
    before, now = ([*dict.fromkeys(values)] for values in (before, now))
    return [f"{what}: {', '.join(before) or 'none'} → {', '.join(now) or 'none'}"] if before != now else []


def _values(records: Iterable[Mapping], key: str) -> list[str]:
    return [str(record[key]) for record in records if key in record]


def _changed_packages(before: Mapping, now: Mapping) -> list[str]:
    versions = []
    for made in (before, now):
        known: dict[str, list[str]] = {}
        for stage in ("model", "answers", "scoring"):
            for record in made[stage]:
                for name, version in record.get("packages", {}).items():
                    known.setdefault(name, []).append(str(version))
        versions.append(known)
    names = sorted((versions[0].keys() & versions[1].keys()) - {*OWN})
    return [line for name in names for line in _arrow(name, *(sorted(set(known[name])) for known in versions))]
