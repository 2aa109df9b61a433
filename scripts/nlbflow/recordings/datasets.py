"""Datasets by name: where their files lie, which version they have, and what can be asked of them."""

from pathlib import Path

from nlbflow.archive.pins import Pin
from nlbflow.archive.pointers import SUFFIX
from nlbflow.errors import NlbflowError

# What a model or a metric may need of a dataset (a model's NEEDS), with the reason that tables give where it is absent.
REASONS = {
    "train": "no train file among this dataset's parts",
    "evaluation": "no evaluation trials in this phase",
    "truth": "no truth (published answers are at 5 and 20 ms)",
    "conditions": "the dataset's definition names no conditions",
    "behavior": "the dataset's definition names no behaviour",
    "true_rates": "true rates are known for simulated data only",
}
PUBLISHED_BINS = (5, 20)
SIMULATED = {
    "train": "sub-Sim_desc-train_behavior+ecephys.nwb",
    "test": "sub-Sim_desc-test_ecephys.nwb",
    "truth": "sub-Sim_desc-truth_behavior+ecephys.nwb",
    "rates": "sub-Sim_desc-truth_rates.h5",
}


def part_paths(name: str, definition: dict, pins: dict[str, dict[str, Pin]]) -> dict[str, str]:
    """Where the files of a dataset lie after fetching, by part (train, test, truth, rates).

    Raises:
        NlbflowError: the dataset has neither pins, nor files of its own, nor a simulator.
    """
    if definition["source"] == "simulator":
        return {part: f"data/nwb/simulated/{name}/sub-Sim/{file}" for part, file in SIMULATED.items()}
    if definition["source"] == "files":
        return {part: f"data/nwb/{name}/{definition['version']}/{part}.nwb" for part in definition["files"]}
    if name not in pins:
        raise NlbflowError(
            f"dataset {name} is not in the table of pins (config key pins), which has {', '.join(sorted(pins))}; add "
            "its files there, or name them in its stanza with `source: files`."
        )
    wanted = definition.get("parts", ["train", "test"])
    # of a streamed recording there is only a file that says where in the archive it lies
    form = SUFFIX if definition.get("stream") else ""
    return {
        part: f"data/nwb/{p.dandiset}/{p.version}/{p.path}{form}" for part, p in pins[name].items() if part in wanted
    }


def user_path(data_folder: str, path: str) -> Path:
    """A file that a stanza names, below the data folder; both paths may begin with ~, the home folder."""
    return Path(data_folder).expanduser() / Path(path).expanduser()


def look_for_files(name: str, definition: dict, parts: dict[str, str], data_folder: str) -> None:
    """Refuse a dataset whose stanza names files that neither exist nor were linked by an earlier run.

    Raises:
        NlbflowError: a file is missing; the config key and the path are named.
    """
    for part, file in definition.get("files", {}).items():
        path = user_path(data_folder, file["path"])
        if not (path.exists() or Path(parts[part]).exists()):
            raise NlbflowError(
                f"config key datasets.{name}.files.{part} names {path}, which does not exist; correct it, or say where "
                "it lies by --config data_folder=FOLDER."
            )


def dataset_version(name: str, definition: dict, pins: dict[str, dict[str, Pin]]) -> str:
    """The version that every result of the dataset carries."""
    if definition["source"] == "simulator":
        return f"simulated, seed {definition['simulator']['seed']}"
    if definition["source"] == "files":
        return definition["version"]
    pin = next(iter(pins[name].values()))
    return f"DANDI {pin.dandiset}/{pin.version}"


def checksums(name: str, definition: dict, pins: dict[str, dict[str, Pin]]) -> dict[str, str]:
    """The sha256 of each part of a dataset for which one is given."""
    if definition["source"] == "files":
        return {part: file["sha256"] for part, file in definition["files"].items() if "sha256" in file}
    return {part: pin.sha256 for part, pin in pins.get(name, {}).items()}


def lacking(definition: dict, parts: dict[str, str], phase: str, bin_ms: int) -> dict[str, str]:
    """What cannot be asked of a dataset in this phase at this bin width, each with the reason."""
    trained = bool({"train", "whole"} & parts.keys())
    tested = phase == "val" or bool({"test", "whole"} & parts.keys())
    drawn = definition.get("split", {}).get(phase, 1) > 0
    published = definition.get("answers") == "published" and bin_ms in PUBLISHED_BINS
    has = {
        "train": trained,
        "evaluation": tested and drawn,
        "truth": trained and (phase == "val" or bool({"truth", "whole"} & parts.keys()) or published),
        "conditions": bool(definition.get("conditions")),
        "behavior": bool(definition.get("behavior")),
        "true_rates": "rates" in parts,
    }
    return {need: REASONS[need] for need, present in has.items() if not present}


def count_bins(range_ms: tuple[int, int], bin_ms: int, key: str) -> int:
    """Bins in a window.

    Raises:
        NlbflowError: the bin width does not divide the window.
    """
    length = range_ms[1] - range_ms[0]
    if length <= 0:
        raise NlbflowError(f"{key} {list(range_ms)} ends before it begins; write the earlier time first.")
    if length % bin_ms:
        raise NlbflowError(
            f"bins of {bin_ms} ms do not divide {key} {list(range_ms)}, which is {length} ms long; choose a bin width "
            "(config key run.bin_ms) that does."
        )
    return length // bin_ms


def window_ranges(definition: dict, bin_ms: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The observed window and the forward window after it, in ms relative to the event.

    Raises:
        NlbflowError: the bin width does not divide one of them.
    """
    observed = tuple(definition["window_ms"])
    forward = (observed[1], observed[1] + definition["forward_ms"])
    count_bins(observed, bin_ms, "window_ms")
    count_bins(forward, bin_ms, "forward_ms")
    return observed, forward


def group_name(dataset: str, bin_ms: int) -> str:
    """The official name of a dataset's group, with the bin width as a suffix unless that is 5 ms."""
    return dataset if bin_ms == 5 else f"{dataset}_{bin_ms}"
