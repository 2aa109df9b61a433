"""What tables and the page say of the selected datasets and models, from their stanzas, files and entries."""

from collections.abc import Mapping

from nlbflow.boards.about_data import introduce
from nlbflow.models.cards import describe_ensemble, describe_model
from nlbflow.models.catalogue import kind_of
from nlbflow.planning.entries import Entry
from nlbflow.planning.model_stanzas import ModelStanzas


class Descriptions:
    """What is said of what a config selects.

    Args:
        config: as Snakemake merged it, with the entries among its models.
        models: the config's models.
        entries: those of its models that are entries of the public board.
    """

    def __init__(self, config: Mapping, models: ModelStanzas, entries: Mapping[str, Entry]) -> None:
        self.datasets = {name: config["datasets"][name] for name in config["run"]["datasets"]}
        self.models, self.chosen = models, config["run"]["models"]
        self.entries = {name: entry for name, entry in entries.items() if not entry.fault}

    def titles(self) -> dict[str, str]:
        """The titles of the selected datasets."""
        return {name: stanza["title"] for name, stanza in self.datasets.items()}

    def cited(self) -> dict[str, dict[str, str]]:
        """Title, citation and license of the selected datasets."""
        keys = ("title", "citation", "license")
        return {name: {key: stanza[key] for key in keys} for name, stanza in self.datasets.items()}

    def introductions(self) -> dict[str, dict]:
        """What the stanza of each selected dataset tells a reader of the page."""
        return {name: introduce(stanza) for name, stanza in self.datasets.items()}

    def kinds(self) -> dict[str, str]:
        """The kind of each selected model's rows (`nlbflow.metrics.kinds`), whether it has a score or not."""
        return {model: kind_of(self.models.declaration(model)) for model in self.chosen}

    def of_models(self) -> dict[str, dict]:
        """What a model's file or its entry says of it, or what an ensemble averages; other submissions have neither."""
        files = {model: self.models.declaration(model)["path"] for model in self.chosen}
        said = {model: describe_model(path) for model, path in files.items() if path}
        averages = {m: self.models.stanzas[m]["ensemble"] for m in files if self.models.kind(m) == "ensemble"}
        said |= {model: describe_ensemble(stanza) for model, stanza in averages.items()}
        return said | {
            name: {"about": f"{entry.about['title']}, {entry.about['family']}", "card": entry.card()}
            for name, entry in self.entries.items()
        }

    def sources(self) -> dict[str, list[str]]:
        """Grade and source, by model, of rates that were not made here and of entries."""
        given = [model for model in self.chosen if "prediction" in self.models.stanzas[model]]
        entered = {name: entry.source() for name, entry in self.entries.items()}
        return {model: ["S", "scored here, from a file of rates"] for model in given} | entered
