"""The selection of a config: its places (dataset, bin width, phase), the runs there, and what cannot be made.

A run is (dataset, bin_ms, phase, model, seed).
"""

from functools import cache
from math import isqrt
from pathlib import Path

from nlbflow.archive.pins import Pin, read_pins
from nlbflow.boards.contents import families, planned_boards, planned_standings, table_files
from nlbflow.errors import NlbflowError
from nlbflow.planning.config import check_config
from nlbflow.planning.descriptions import Descriptions
from nlbflow.planning.entries import Entry, with_entries
from nlbflow.planning.model_stanzas import ModelStanzas
from nlbflow.planning.unfinished import Unfinished
from nlbflow.recordings.datasets import (
    checksums,
    dataset_version,
    lacking,
    look_for_files,
    part_paths,
    user_path,
    window_ranges,
)

# The row that `score` computes from the answers, without a model.
NULL = "null"
# Jobs of hundreds of predictions at one place, unless each got so many: a job asks for 20 minutes for a prediction.
MOST_BUNDLES, LARGE_BUNDLE = 12, 36
ANSWERS = "data/answers/eval_data_test.h5"
TABLES = ("scores", "costs", "neurons", "ranks", "differences", "cross_decoding", "consistency", "summaries", "notes")

Place = tuple[str, int, str]
Run = tuple[str, int, str, str, int]


def result(run: Run, file: str) -> str:
    """The path of a file of a run."""
    dataset, bin_ms, phase, model, seed = run
    return f"results/{dataset}/{bin_ms}ms/{phase}/{model}/{seed}/{file}"


def at_place(place: Place, file: str) -> str:
    """The path of a file of a place."""
    dataset, bin_ms, phase = place
    return f"results/{dataset}/{bin_ms}ms/{phase}/{file}"


class Selection:
    """What `run:` of a config selects from its catalogues.

    Args:
        config: as Snakemake merged it.
        pins: the table of pinned files.
        models: the config's models.
        unfinished: what is left out because the last run could not make it.
        entries: those of its models that are entries of the public board.
    """

    def __init__(
        self,
        config: dict,
        pins: dict[str, dict[str, Pin]],
        models: ModelStanzas,
        unfinished: Unfinished,
        entries: dict[str, Entry] | None = None,
    ) -> None:
        self.config, self.entries = config, entries or {}
        self.descriptions = Descriptions(config, models, self.entries)
        self.run, self.datasets, self.models = config["run"], config["datasets"], models
        self.pins, self._data_folder, self._unfinished = pins, config["data_folder"], unfinished
        self.places: list[Place] = [
            (dataset, bin_ms, phase)
            for dataset in self.run["datasets"]
            for bin_ms in self.run["bin_ms"]
            for phase in self.run["phases"]
        ]
        self.boards = planned_boards(self.run, self.datasets)
        self.standings = planned_standings(self.run, self.datasets, config["suites"])
        self.boards += self.standings
        # every job of a plan asks for these
        self.parts = cache(self._parts)
        self.runs_at = cache(self._runs_at)
        self.bundles = cache(self._bundles)

    @classmethod
    def of(cls, config: dict, root: Path) -> "Selection":
        """The selection of a config as Snakemake merged it, checked.

        Args:
            root: the folder of the project.

        Raises:
            NlbflowError: the first fault, with its key, what is allowed and what was found.
        """
        check_config(config, root / "schemas/config.schema.yaml")
        unfinished = Unfinished.read() if config["partial"] else Unfinished()
        pins = read_pins(root / config["pins"])
        config, entries = with_entries(config, pins, root)
        found = cls(config, pins, ModelStanzas(config, root), unfinished, entries)
        found.check()
        return found

    # Files

    def _parts(self, dataset: str) -> dict[str, str]:
        """The paths of a dataset's files, by part."""
        return part_paths(dataset, self.datasets[dataset], self.pins)

    def input_parts(self, dataset: str) -> dict[str, str]:
        """The files from which a model's input is cut."""
        return {part: path for part, path in self.parts(dataset).items() if part in ("train", "test", "whole")}

    def target_parts(self, dataset: str, bin_ms: int | str, phase: str) -> dict[str, str]:
        """The files from which the answers are made.

        In phase val the test file is read too, because the benchmark's clock starts with it. In phase test the truth is
        read instead, or the published answers.
        """
        hidden = "truth" if phase == "test" else "test"
        parts = self.parts(dataset)
        if hidden == "truth" and not {"truth", "whole"} & parts.keys():
            # the job checks that the published answers and the tensors come from the same test recording
            return {"answers": ANSWERS, "input": at_place((dataset, bin_ms, phase), "input.h5")}
        return {part: path for part, path in parts.items() if part in ("train", "test", hidden, "whole", "rates")}

    def user_file(self, dataset: str, part: str) -> str:
        """The file that a dataset's stanza names, below the data folder if one is set.

        Raises:
            NlbflowError: the stanza names no file for that part.
        """
        file = self.datasets[dataset].get("files", {}).get(part)
        if file is None:
            raise NlbflowError(f"the dataset {dataset} names no file {part} (datasets.*.files)")
        return user_path(self._data_folder, file["path"]).as_posix()

    def user_files(self) -> list[tuple[str, str]]:
        """(dataset, part) of each of the user's own files in the selected datasets."""
        own = [name for name in self.run["datasets"] if self.datasets[name]["source"] == "files"]
        return [(name, part) for name in own for part in self.datasets[name]["files"]]

    def pinned_files(self) -> list[tuple[str, str, str]]:
        """(dataset, part, path) of each whole file of the archive, also of datasets that are streamed."""
        pinned = [name for name in self.run["datasets"] if self.datasets[name]["source"] in ("dandi", "folder")]
        whole = {name: part_paths(name, {**self.datasets[name], "stream": False}, self.pins) for name in pinned}
        return [(name, part, path) for name, parts in whole.items() for part, path in parts.items()]

    def version(self, dataset: str) -> str:
        """The version that every result of a dataset carries."""
        return dataset_version(dataset, self.datasets[dataset], self.pins)

    def checksums(self, dataset: str) -> dict[str, str]:
        """The sha256 of each file from which a dataset is cut, as far as it is known."""
        return checksums(dataset, self.datasets[dataset], self.pins)

    # Runs

    def unavailable(self, dataset: str, bin_ms: int, phase: str, model: str | None = None) -> str:
        """Why a place cannot be scored or, given a model, why the model cannot be run there; empty if it can."""
        place, lacks = (dataset, bin_ms, phase), lacking(self.datasets[dataset], self.parts(dataset), phase, bin_ms)
        if model in (None, NULL):
            lacked = next((lacks[need] for need in ("train", "evaluation", "truth") if need in lacks), "")
            return lacked or self._failed_place(place)
        stanza, declared = self.models.stanzas[model], self.models.declaration(model)
        if "fault" in stanza:
            return stanza["fault"]
        if phase not in stanza.get("rates", [phase]):
            return f"the entry has no rates of phase {phase}"
        if dataset not in stanza.get("datasets", [dataset]):
            where = "key datasets of its entry" if model in self.entries else f"config key models.{model}.datasets"
            return f"not among its datasets ({where})"
        needs = ["train", "evaluation", *declared["NEEDS"], *(["truth"] if declared["ORACLE"] else [])]
        failed = [self._failed_run((*place, model, seed)) for seed in self.models.seeds(model)]
        reasons = [lacks[need] for need in needs if need in lacks]
        # an entry stands or falls with all its seeds: none is left out because its file has gone
        lost = next(filter(None, failed), "") if all(failed) or model in self.entries else ""
        reasons += filter(None, [self._failed_cut(place), lost])
        for member in stanza.get("ensemble", {}).get("members", {}):
            if reason := self.unavailable(dataset, bin_ms, phase, member):
                reasons.append(f"its member {member}: {reason}")
        return next(iter(reasons), "")

    def _failed_cut(self, place: Place) -> str:
        """Why the last run could not cut a place's recording into tensors."""
        return self._unfinished.reason(at_place(place, "input.h5"), at_place(place, "dataset.json"))

    def _failed_place(self, place: Place) -> str:
        """Why the last run could not score a place."""
        answers = at_place(place, "target.h5"), result((*place, NULL, 0), "scores.json")
        compared = at_place(place, "comparison.json")
        return self._failed_cut(place) or self._unfinished.reason(*answers, failed=[compared])

    def _failed_run(self, run: Run) -> str:
        """Why the last run could not make a prediction, or could not score it although the place could be scored."""
        scores = [] if self._failed_place(run[:3]) else [result(run, "scores.json")]
        return self._unfinished.reason(result(run, "prediction.h5"), *scores)

    def _runs_at(self, *place) -> list[Run]:
        """The runs of the selected models that can be run at a place."""
        models = [model for model in self.run["models"] if not self.unavailable(*place, model)]
        runs = [(*place, model, seed) for model in models for seed in self.models.seeds(model)]
        return [run for run in runs if not self._failed_run(run)]

    def _bundles(self, *place) -> list[list[Run]]:
        """The scored runs of a place, its null row first, in the bundles that one job scores each.

        A bundle has at least as many runs as there are bundles: of a few predictions, all cores have some, and many
        share the start of a job, which takes longer than most scores and a third of the time of hundreds.
        """
        runs = [(*place, NULL, 0), *self.runs_at(*place)]
        size = max(isqrt(len(runs) - 1) + 1, min(-(-len(runs) // MOST_BUNDLES), LARGE_BUNDLE))
        return [runs[first : first + size] for first in range(0, len(runs), size)]

    def bundle_files(self, place: Place, kind: str) -> list[str]:
        """What the jobs of `score` make of a place: `json`, its scores, or `h5`, their resamples."""
        return [at_place(place, f"scored/{number}.{kind}") for number in range(len(self.bundles(*place)))]

    def scored_files(self) -> list[str]:
        """The scores of all places whose answers are known."""
        return [file for place in self.scored_places() for file in self.bundle_files(place, "json")]

    def cut_places(self) -> list[Place]:
        """The selected places that have tensors."""
        return [place for place in self.places if not self._failed_cut(place)]

    def runs(self) -> list[Run]:
        """The runs of all selected places."""
        return [run for place in self.places for run in self.runs_at(*place)]

    def scored_places(self) -> list[Place]:
        """The selected places whose answers are known."""
        return [place for place in self.places if not self.unavailable(*place)]

    def declares(self, place: Place, what: str) -> bool:
        """Whether a model that is run there declares `what`: HISTORY or STRUCTURE, each of which has a figure."""
        return any(self.models.declaration(model)[what] for *_, model, _ in self.runs_at(*place))

    def scored(self) -> list[Run]:
        """The runs whose answers are known, and the null row of each place."""
        known = self.scored_places()
        return [(*place, NULL, 0) for place in known] + [run for place in known for run in self.runs_at(*place)]

    def scored_families(self) -> list[tuple[str, int, str, list[str]]]:
        """(family, bin_ms, phase, datasets) of each family with two or more scored datasets."""
        known = self.scored_places()
        return [
            (family, bin_ms, phase, members)
            for bin_ms in self.run["bin_ms"]
            for phase in self.run["phases"]
            for family, members in families([d for d, *at in known if at == [bin_ms, phase]], self.datasets).items()
        ]

    def submitted(self, model: str, phase: str) -> list[Run]:
        """The runs whose rates go into a model's submission: all selected datasets and bin widths, the first seed
        that did not fail."""
        places = [p for p in self.places if p[2] == phase and not self.unavailable(*p, model)]
        runs = [[(*p, model, seed) for seed in self.models.seeds(model)] for p in places]
        return [next(run for run in seeds if not self._failed_run(run)) for seeds in runs]

    def submissions(self) -> list[str]:
        """The submission files of the selection."""
        models = [model for model in self.run["models"] if not self.models.is_oracle(model)]
        phases = self.run["phases"]
        return [f"results/submissions/{m}_{p}.h5" for m in models for p in phases if self.submitted(m, p)]

    # What tables say about the selection

    def absences(self) -> list[list]:
        """What is selected and cannot be made: [dataset, bin_ms, phase, model or `all models`, reason]."""
        rows = [(*place, "all models", self.unavailable(*place)) for place in self.places]
        rows += [(*p, m, self.unavailable(*p, m)) for p in self.places for m in self.run["models"]]
        whole = {row[:3] for row in rows if row[3] == "all models" and row[4]}
        return [list(row) for row in rows if row[4] and (row[3] == "all models" or row[:3] not in whole)]

    def failed_seeds(self) -> list[dict]:
        """A note, for the tables of its place, on each failed run whose model has other runs there."""
        return [
            {"dataset": dataset, "bin_ms": bin_ms, "phase": phase, "notes": [f"{model}, seed {seed}, {reason}"]}
            for dataset, bin_ms, phase in self.places
            for model in self.run["models"]
            if not self.unavailable(dataset, bin_ms, phase, model)
            for seed in self.models.seeds(model)
            if (reason := self._failed_run((dataset, bin_ms, phase, model, seed)))
        ]

    def wanted(self) -> list[str]:
        """The files of the selection except the figures."""
        return [
            *(at_place(place, "input.h5") for place in self.cut_places()),
            *(result(run, "prediction.h5") for run in self.runs()),
            *self.shown(),
        ]

    def shown(self) -> list[str]:
        """The tables and leaderboards of the selection."""
        return [
            *(f"results/{name}.csv" for name in TABLES),
            "results/leaderboard.md",
            "results/leaderboard.html",
            "results/leaderboard.json",
            *table_files(self.boards).values(),
        ]

    def check(self) -> None:
        """Look up windows, files, pins and parameters, so that a fault is reported before anything runs.

        Raises:
            NlbflowError: the first fault.
        """
        for place in self.places:
            dataset, bin_ms, _ = place
            parts = self.parts(dataset)
            window_ranges(self.datasets[dataset], bin_ms)
            if not Path(at_place(place, "input.h5")).exists():
                look_for_files(dataset, self.datasets[dataset], parts, self._data_folder)
        for *place, model, _ in self.runs():
            self.models.check(*place, model)
