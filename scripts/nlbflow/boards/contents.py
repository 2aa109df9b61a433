"""Which tables are made for reading, and where they stand in the report and the paper."""

from collections.abc import Iterable, Mapping

REPRODUCTION = "reproduction"
PHASES = "val_and_test"
TABLE_FORMATS = ("csv", "parquet", "md", "tex", "html")


def families(selected: Iterable[str], datasets: Mapping) -> dict[str, list[str]]:
    """The selected datasets of each `family` that has two or more of them, the one with the fewest trials first.

    Args:
        datasets: the catalogue.
    """
    found: dict[str, list[str]] = {}
    for dataset in sorted(selected, key=lambda name: (datasets[name].get("family", {}).get("trials", 0), name)):
        if "family" in datasets[dataset]:
            found.setdefault(datasets[dataset]["family"]["name"], []).append(dataset)
    return {name: members for name, members in found.items() if len(members) > 1}


def origin_sentence(origin: Mapping) -> str:
    """Which config something was made from: the names of its files and the digest of its selection.

    Args:
        origin: as from `nlbflow.planning.origin.origin_of`.
    """
    return f"{' with '.join(origin['config'])}, selection {origin['selection']}"


def planned_boards(run: Mapping, datasets: Mapping) -> list[dict]:
    """The tables of scores in the order of the paper: name of the files, section, title, datasets, bin_ms, phase.

    Args:
        run: the config's selection.
        datasets: the catalogue; datasets of the same `family` are shown side by side, the smallest first.
    """
    titles = {dataset: datasets[dataset]["title"] for dataset in run["datasets"]}
    shown = [("All datasets", "all-datasets", "All datasets", titles)] if len(titles) > 1 else []
    for family, members in families(run["datasets"], datasets).items():
        labels = {d: f"{titles[d]} ({datasets[d]['family']['trials']} trials)" for d in members}
        title = f"{family} by trials for training and validation"
        shown.append(("Families of datasets", f"family-{family}", title, labels))
    shown += [("Dataset by dataset", dataset, title, {dataset: title}) for dataset, title in titles.items()]
    return [
        {
            "name": f"{name}_{bin_ms}ms_{phase}",
            "section": section,
            "title": title,
            # pairs, because a stamp does not keep the order of a dict
            "datasets": list(sides.items()),
            "bin_ms": bin_ms,
            "phase": phase,
        }
        for section, name, title, sides in shown
        for bin_ms in run["bin_ms"]
        for phase in run["phases"]
    ]


def planned_standings(run: Mapping, datasets: Mapping, suites: Mapping) -> list[dict]:
    """The standings of each suite that is selected, one for each of its phases: all of it, or two datasets or more.

    They are like the tables of `planned_boards`, with a `suite` in place of one bin width: theme, metrics, bin_ms,
    groups (name, rank, datasets with titles), `selected` pairs (dataset, bin_ms), and what is `unselected`, in words.

    Args:
        run: the config's selection.
        datasets, suites: the catalogues.
    """
    planned = []
    for name, suite in suites.items():
        titles = {d: datasets[d]["title"] for group in suite["groups"] for d in group["datasets"]}
        every = [(dataset, bin_ms) for dataset in titles for bin_ms in suite["bin_ms"]]
        chosen = [(d, bin_ms) for d, bin_ms in every if d in run["datasets"] and bin_ms in run["bin_ms"]]
        lacking = [f"{titles[pair[0]]} at {pair[1]} ms" for pair in every if pair not in chosen]
        groups = [{**group, "datasets": [[d, titles[d]] for d in group["datasets"]]} for group in suite["groups"]]
        said = {key: suite[key] for key in ("theme", "metrics", "bin_ms")}
        planned += [
            {
                "name": f"standings-{name}_{phase}",
                "section": "Standings",
                "title": suite["name"],
                "datasets": [(d, titles[d]) for d in dict.fromkeys(d for d, _ in chosen)],
                "phase": phase,
                "suite": {**said, "groups": groups, "selected": chosen, "unselected": lacking},
            }
            for phase in suite["phases"]
            # one dataset of several has no standings beside its own leaderboard
            if phase in run["phases"] and (len(chosen) > 1 or not lacking)
        ]
    return planned


def table_files(boards: list[dict], formats: tuple[str, ...] = TABLE_FORMATS) -> dict[str, str]:
    """The paths of the tables by file name."""
    tables = [*(board["name"] for board in boards), *([PHASES] if of_both_phases(boards) else []), REPRODUCTION]
    return {f"{name}.{form}": f"results/tables/{name}.{form}" for name in tables for form in formats}


def of_both_phases(boards: list[dict]) -> bool:
    """Whether there are tables of phase val and of phase test, which are then shown side by side."""
    return len({board["phase"] for board in boards}) == 2


def tables_in_report(boards: list[dict]) -> dict[str, dict]:
    """Caption, subcategory and labels of each table, by file name."""
    places = {}
    for board in boards:
        bins = board["suite"]["bin_ms"] if "suite" in board else [board["bin_ms"]]
        labels = {"table": board["title"], "bins": f"{', '.join(map(str, bins))} ms", "phase": board["phase"]}
        caption = "../report/standings.rst" if "suite" in board else "../report/table.rst"
        found = {"caption": caption, "subcategory": board["section"], "labels": labels}
        places[f"{board['name']}.html"] = found
    if of_both_phases(boards):
        places[f"{PHASES}.html"] = {
            "caption": "../report/phases.rst",
            "subcategory": "Val and test",
            "labels": {"table": "val and test side by side", "bins": "all", "phase": "both"},
        }
    places[f"{REPRODUCTION}.html"] = {
        "caption": "../report/reproduction.rst",
        "subcategory": "Reproduction",
        "labels": {"table": "ours and published", "bins": "all", "phase": "all"},
    }
    return places
