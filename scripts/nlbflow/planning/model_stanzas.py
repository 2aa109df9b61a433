"""The models of a config as a plan needs them: what each stanza and model file says; the files are not imported."""

from functools import cache
from pathlib import Path

from nlbflow.errors import NlbflowError
from nlbflow.models.catalogue import (
    DECLARATIONS,
    SEEDS,
    find_model,
    read_declaration,
    resolve_params,
    submission_path,
    with_tuned,
)
from nlbflow.models.tuning import draw_candidates, grid_of

NOT_A_FILE = {
    **{name: value for name, (value, _) in DECLARATIONS.items()},
    SEEDS: False,
    "path": None,
    "DEFAULTS": {},
    "SEEDED": False,
}


class ModelStanzas:
    """The catalogue `models:` of a config, and a tuned model for each model that has a grid.

    Args:
        config: as Snakemake merged it, checked by `config.check_config`.
        root: the folder of the project; shipped models lie in its scripts/models, environments in its envs.
    """

    def __init__(self, config: dict, root: Path) -> None:
        self.stanzas = with_tuned(config["models"])
        self._selected, self._seeds, self._tuning = config["run"]["models"], config["run"]["seeds"], config["tuning"]
        self._root = root
        # every job of a plan asks for these
        self.declaration = cache(self._declaration)
        self.params = cache(self._params)
        self.environment = cache(self._environment)
        self.candidates = cache(self._candidates)
        self.ensemble_runs = cache(self._ensemble_runs)

    def _declaration(self, model: str) -> dict:
        """What a model's file declares, and the file's path; submissions and ensembles have no file."""
        if "file" not in self.stanzas[model]:
            return NOT_A_FILE
        path = find_model(self.stanzas[model]["file"], self._root / "scripts/models")
        return {"path": path, **read_declaration(path)}

    def _params(self, model: str, dataset: str | None = None, bin_ms: int | str | None = None) -> dict:
        """A model's parameters on a dataset; without a dataset, its parameters where `per_dataset` sets none."""
        return resolve_params(model, self.stanzas[model], self.declaration(model)["DEFAULTS"], dataset, bin_ms)

    def _candidates(self, model: str, dataset: str) -> dict[str, dict]:
        """The candidates for a model on a dataset: the parameters to try, by the candidate's name.

        Raises:
            NlbflowError: the model is an oracle, or its grid has a fault.
        """
        name = self.stanzas[model].get("tuned_from", model)
        if self.declaration(model)["ORACLE"]:
            raise NlbflowError(f"config key models.{name}.tune: an oracle is not tuned; remove the key.")
        grid = grid_of(name, self.stanzas[model], self.declaration(model)["DEFAULTS"], dataset)
        return draw_candidates(grid, self._tuning["candidates"], self._tuning["seed"])

    def seeds(self, model: str) -> list[int]:
        """The seeds with which a model is run, or of which an entry has rates."""
        if "rates" in self.stanzas[model]:
            return [*range(len(next(iter(self.stanzas[model]["rates"].values()))))]
        return self._seeds if self.declaration(model)["SEEDED"] else [0]

    def _environment(self, model: str) -> str:
        """The conda environment file of a model's jobs.

        Raises:
            NlbflowError: the file does not exist.
        """
        path = self._root / self.stanzas[model].get("env", "envs/models.yaml")
        if not path.is_file():
            raise NlbflowError(f"config key models.{model}.env names {path}, which does not exist; correct it.")
        return str(path)

    def resource(self, model: str, name: str, usual: int) -> int:
        """The amount of a resource that a model's stanza asks for, or the usual amount."""
        return self.stanzas[model].get("resources", {}).get(name, usual)

    def kind(self, model: str) -> str:
        """How a model's predictions are made: submission, ensemble, oracle or trained."""
        if "file" not in self.stanzas[model]:
            return "ensemble" if "ensemble" in self.stanzas[model] else "submission"
        return "oracle" if self.is_oracle(model) else "trained"

    def of_kind(self, kind: str) -> list[str]:
        """The models of the catalogue that are of this kind."""
        return [model for model in self.stanzas if self.kind(model) == kind]

    def is_oracle(self, model: str) -> bool:
        """Whether a model sees the answers."""
        try:
            return self.declaration(model)["ORACLE"]
        except NlbflowError:
            # the file of a model that is not selected need not exist
            if model in self._selected:
                raise
            return False

    def submission_file(self, model: str, phase: str, seed: int | str = 0) -> str:
        """The file that a stanza names as a prediction, or an entry for one seed."""
        if "rates" in self.stanzas[model]:
            # not the whole of it, which a stranger may have made up of one digit: see entries.NAME
            digest = self.stanzas[model]["rates"][phase][int(seed)]["sha256"][:16]
            return f"data/entries/{model}/{phase}_{seed}_{digest}.h5"
        return submission_path(self.stanzas[model], phase).as_posix()

    def entry_file(self, entry: str, phase: str, seed: int | str) -> dict:
        """Address, bytes and sha256 of the file that an entry names for one phase and seed."""
        return self.stanzas[entry]["rates"][phase][int(seed)]

    def _ensemble_runs(self, model: str) -> list[tuple[str, int]]:
        """The (model, seed) of each prediction that an ensemble may average.

        Raises:
            NlbflowError: a model cannot be a member.
        """
        found = []
        for member, seeds in self.stanzas[model]["ensemble"]["members"].items():
            key = f"config key models.{model}.ensemble.members.{member}"
            if self.is_oracle(member):
                raise NlbflowError(f"{key}: an oracle has seen the answers; leave it out.")
            if not self.declaration(member)["SEEDED"] and seeds != [0]:
                raise NlbflowError(f"{key} is {seeds}; a deterministic model runs once: expected [0].")
            if "top" in self.stanzas[model]["ensemble"] and "file" not in self.stanzas[member]:
                raise NlbflowError(
                    f"{key}: `top` chooses by co-bps on validation trials, which a training stores, but a "
                    f"{self.kind(member)} is not trained; leave it out, or leave `top` out."
                )
            found += [(member, seed) for seed in seeds]
        return found

    def trains_seeds(self, model: str) -> bool:
        """Whether a model is trained, and can train several seeds side by side."""
        return self.kind(model) == "trained" and self.declaration(model)[SEEDS]

    def check(self, dataset: str, bin_ms: int, phase: str, model: str) -> None:
        """Check a selected run, and an ensemble's members, as far as possible before anything runs.

        Raises:
            NlbflowError: the model's stanza has a fault.
        """
        self.params(model, dataset, bin_ms)
        self.environment(model)
        if "tuned_from" in self.stanzas[model]:
            self.candidates(model, dataset)
        if "prediction" in self.stanzas[model]:
            path = self.submission_file(model, phase)
            if not Path(path).is_file():
                raise NlbflowError(
                    f"config key models.{model}.prediction names {path} for phase {phase}, which is not a file; "
                    f"correct it, or take {phase} out of run.phases."
                )
        if self.kind(model) == "ensemble":
            for member, _ in self.ensemble_runs(model):
                self.check(dataset, bin_ms, phase, member)
