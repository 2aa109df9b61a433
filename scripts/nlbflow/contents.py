"""Which tables for reading there are, and where they stand in the report and the paper."""

from collections.abc import Mapping

REPRODUCTION = "reproduction"
TABLE_FORMATS = ("csv", "parquet", "md", "tex", "html")


def planned_boards(run: Mapping, datasets: Mapping) -> list[dict]:
    """The tables of scores in the order of the paper: name of the files, section, title, datasets, bin_ms, phase.

    Args:
        run: the config's selection.
        datasets: the catalogue; sets with the same `family` are shown side by side, the smallest first.
    """
    titles = {dataset: datasets[dataset]["title"] for dataset in run["datasets"]}
    families: dict[str, list] = {}
    for dataset in run["datasets"]:
        if family := datasets[dataset].get("family"):
            families.setdefault(family["name"], []).append((family["trials"], dataset))
    shown = [("All datasets", "all-datasets", "All datasets", titles)] if len(titles) > 1 else []
    for family, members in families.items():
        labels = {dataset: f"{titles[dataset]} ({trials} trials)" for trials, dataset in sorted(members)}
        if len(labels) > 1:
            shown.append(("Families of datasets", f"family-{family}", f"{family} by training trials", labels))
    shown += [("Dataset by dataset", dataset, title, {dataset: title}) for dataset, title in titles.items()]
    return [
        {
            "name": f"{name}_{bin_ms}ms_{phase}",
            "section": section,
            "title": title,
            # pairs, since a stamp does not keep the order of a dict
            "datasets": list(sides.items()),
            "bin_ms": bin_ms,
            "phase": phase,
        }
        for section, name, title, sides in shown
        for bin_ms in run["bin_ms"]
        for phase in run["phases"]
    ]


def table_files(boards: list[dict], formats: tuple[str, ...] = TABLE_FORMATS) -> dict[str, str]:
    """The paths of the tables by file name."""
    names = [f"{name}.{form}" for name in (*(b["name"] for b in boards), REPRODUCTION) for form in formats]
    return {name: f"results/tables/{name}" for name in names}


def tables_in_report(boards: list[dict]) -> dict[str, dict]:
    """Caption, subcategory and labels of each table, by file name."""
    places = {
        f"{board['name']}.html": {
            "caption": "../report/table.rst",
            "subcategory": board["section"],
            "labels": {"table": board["title"], "bins": f"{board['bin_ms']} ms", "phase": board["phase"]},
        }
        for board in boards
    }
    places[f"{REPRODUCTION}.html"] = {
        "caption": "../report/reproduction.rst",
        "subcategory": "Reproduction",
        "labels": {"table": "ours and published", "bins": "all", "phase": "all"},
    }
    return places
