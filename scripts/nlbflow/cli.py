"""The command line: `nlbflow score`, `nlbflow tensors`, `nlbflow changes`, `nlbflow run`."""

import argparse
import subprocess
import sys
from pathlib import Path

import h5py

from nlbflow import __version__
from nlbflow.api import evaluate, load
from nlbflow.boards.changes import compare_builds
from nlbflow.errors import NlbflowError
from nlbflow.models.submissions import needed_arrays, read_submission
from nlbflow.recordings.datasets import group_name
from nlbflow.running.files import open_h5, write_arrays


def score(asked: argparse.Namespace) -> None:
    """The metrics of each dataset in a submission."""
    with open_h5(asked.file) as file:
        groups = sorted(name for name in file if file.get(name, getclass=True) is h5py.Group)
    places = {group_name(name, bin_ms): (name, bin_ms) for name in datasets() for bin_ms in (5, 10, 20)}
    if not (known := [group for group in groups if group in places]):
        raise NlbflowError(
            f"{asked.file} has no group of a dataset; expected groups such as mc_maze (5 ms) or mc_maze_20, found "
            f"{', '.join(groups) or 'none'}."
        )
    for group in known:
        dataset, bin_ms = places[group]
        data = load(dataset, bin_ms, asked.phase, asked.folder, fetch=asked.fetch)
        needed, mean = needed_arrays(data.train_behavior), float(data.train_spikes_heldin.mean())
        rates, ignored = read_submission(asked.file, data.shapes(), needed, mean, bin_ms, group)
        print(f"{dataset}, {bin_ms} ms, {asked.phase}")
        print(evaluate(rates, data, intervals=asked.intervals).to_string(float_format="{:.4f}".format))
        print(f"not read: {', '.join(ignored)}\n" if ignored else "")


def tensors(asked: argparse.Namespace) -> None:
    """A dataset's tensors as an HDF5 file, without the answers."""
    data = load(asked.dataset, asked.bin_ms, asked.phase, asked.folder, fetch=asked.fetch)
    arrays = {name: array for name, array in data.arrays().items() if array is not None}
    out = asked.out or Path(f"{data.dataset}_{data.bin_ms}ms_{data.phase}.h5")
    unfinished = out.with_name(f".{out.name}")
    write_arrays(unfinished, arrays, {"dataset": data.dataset, "bin_ms": data.bin_ms, "phase": data.phase,
                                      "version": data.version, "absent": dict(data.absent)})  # fmt: skip
    unfinished.replace(out)
    for label, text in data.summary.items():
        print(f"{label}: {text}")
    for note in data.notes:
        print(f"note: {note}")
    print(f"written to {out}: {', '.join(arrays)}")


def changes(asked: argparse.Namespace) -> None:
    """What changed between two leaderboard.json files, and why, as Markdown."""
    print(compare_builds(asked.old, asked.new, asked.atom))


def run(asked: argparse.Namespace) -> None:
    """The workflow, in a checkout of nlbflow."""
    snakefile = Path(__file__).resolve().parents[2] / "Snakefile"
    if not snakefile.is_file():
        raise NlbflowError(
            "the workflow is not part of the installed package; clone the project and run `snakemake` there (README)."
        )
    config = ["--configfile", str(asked.config)] if asked.config else []
    raise SystemExit(
        subprocess.run([sys.executable, "-m", "snakemake", "-s", str(snakefile), *config, *asked.more]).returncode
    )


def datasets() -> list[str]:
    """The names that `load` knows."""
    import yaml

    from nlbflow.resources import resource

    return list(yaml.safe_load(resource("datasets.yaml").read_text())["datasets"])


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="nlbflow", description="The Neural Latents Benchmark.")
    made.add_argument("--version", action="version", version=f"nlbflow {__version__}")
    verbs = made.add_subparsers(title="verbs", required=True, metavar="VERB")
    for verb, help_text in ((score, "score a submission file"), (tensors, "write a dataset's tensors"),
                            (changes, "compare two builds of the leaderboards"),
                            (run, "run the workflow")):  # fmt: skip
        one = verbs.add_parser(verb.__name__, help=help_text, description=verb.__doc__)
        one.set_defaults(do=verb)
        if verb is score:
            one.add_argument("file", metavar="FILE", type=Path, help="HDF5 in the benchmark's submission layout")
            one.add_argument("--intervals", action="store_true", help="with 95 %% intervals over evaluation trials")
        if verb is tensors:
            one.add_argument("dataset", metavar="DATASET", help="a name such as mc_maze_small")
            one.add_argument("--bin-ms", type=int, default=5, help="bin width in ms (5)")
            one.add_argument("--out", type=Path, help="the file to write (DATASET_5ms_val.h5)")
        if verb is changes:
            one.add_argument("old", metavar="OLD.json", type=Path, help="leaderboard.json of the build before")
            one.add_argument("new", metavar="NEW.json", type=Path, help="leaderboard.json of this build")
            one.add_argument("--atom", metavar="FILE", type=Path, help="also add an entry to this Atom feed")
        if verb is run:
            one.add_argument("config", metavar="CONFIG", nargs="?", type=Path, help="a config file, as in configs/")
            one.add_argument("more", nargs=argparse.REMAINDER, help="further arguments of snakemake")
        if verb in (score, tensors):
            one.add_argument("--phase", choices=("val", "test"), default="val", help="which trials are evaluated (val)")
            one.add_argument("--folder", type=Path, default=Path("nwb"), help="where the NWB files lie (nwb)")
            one.add_argument("--fetch", action="store_true", help="download what is missing from DANDI")
    return made


def main(arguments: list[str] | None = None) -> None:
    asked = parser().parse_args(arguments)
    try:
        asked.do(asked)
    except NlbflowError as error:
        raise SystemExit(f"nlbflow: {error}") from None


if __name__ == "__main__":
    main()
