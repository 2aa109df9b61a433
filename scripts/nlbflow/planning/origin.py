"""Which config the tables, page and figures belong to; those of another config are moved away."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from nlbflow.boards.about_data import TOLD
from nlbflow.boards.contents import origin_sentence
from nlbflow.planning.selection import TABLES
from nlbflow.running.code import digest_of
from nlbflow.running.files import json_of, parse_json
from nlbflow.running.store import store_of_run

ORIGIN, OLD = Path("results/origin.json"), "results/old"
# The files below results/ that show a whole selection. Predictions and scores are shared by all selections.
SHOWN = (
    *("leaderboard.md", "leaderboard.html", "leaderboard.json", "report.html", "paper", "crate.zip"),
    *(f"{name}.csv" for name in TABLES),
)
SHOWN_FOLDERS = ("tables", "figures")
# Keys of the config that do not change what is asked for, like those of a dataset that only tell something.
NOT_ASKED = ("partial", "side_by_side", "data_folder", "image", "entry_hosts")


def origin_of(config: Mapping, files: Iterable[str]) -> dict:
    """The names of a run's config files, and a digest of what the config asks for.

    Args:
        config: as Snakemake merged it.
        files: the config files that the user named, if any.
    """
    names = [Path(file).name for file in files] or ["config.yaml"]
    asked = {key: config[key] for key in config if key not in NOT_ASKED}
    asked["datasets"] = {
        name: {key: stanza[key] for key in stanza if key not in TOLD} for name, stanza in config["datasets"].items()
    }
    return {"config": names, "selection": digest_of(asked)[:12]}


def is_shown(file: str) -> bool:
    """Whether a file under results/ shows a whole selection."""
    parts = Path(file).parts[1:]
    return file.startswith("results/") and len(parts) > 0 and (parts[0] in SHOWN or parts[0] in SHOWN_FOLDERS)


def set_others_aside(origin: Mapping, current: Collection[str]) -> str:
    """Move files that show another or an unknown selection to results/old, and record `origin` for the others.

    Args:
        origin: as from `origin_of`, of the run that is about to make tables, page or figures.
        current: the files that are up to date for this run.

    Returns:
        A sentence on what was moved; empty if nothing was.
    """
    store, moved = store_of_run(), 0
    kept = store.read(ORIGIN.as_posix())
    before = parse_json(kept, ORIGIN) if kept else None
    if before is None or before["selection"] != origin["selection"]:
        place = f"{OLD}/{before['selection'] if before else 'unknown'}"
        found = [f"results/{name}" for name in SHOWN]
        found += [file for name in SHOWN_FOLDERS for file in store.children(f"results/{name}")]
        for path in found:
            if path not in current and store.has(path):
                store.move(path, place + path.removeprefix("results"))
                moved += 1
    store.write(ORIGIN.as_posix(), json_of(origin))
    whose = origin_sentence(before) if before else "an unknown config"
    return f"{moved} tables and figures of {whose} were moved to {place}" if moved else ""
