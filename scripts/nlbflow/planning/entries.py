"""Entries of the public board: what each entry.yaml says, checked, and the stanza that makes it a model like any other.

An entry comes from a stranger. Whatever is wrong with one is said in its own rows and harms no other.
"""

import datetime
import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from nlbflow.archive.pins import Pin
from nlbflow.errors import NlbflowError
from nlbflow.models.catalogue import TUNED, read_declaration
from nlbflow.planning.faults import first_fault, near
from nlbflow.running.code import code_digest, digest_of

FILE = "entry.yaml"
SCHEMA = "schemas/entry.schema.yaml"
# a wildcard of rules, a part of paths and a name in tables; Snakemake's plan ends where one repeats itself at its end
NAME = re.compile(r"(?!.*?(.+?)\1{9}$)[A-Za-z][A-Za-z0-9_]{0,39}")
# more than any honest entry needs
MOST_BYTES = 16_000
# written in C where it is installed, which is faster by far
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# of a fault, which may quote the file; in letters
MOST_SAID = 400
ENOUGH_SEEDS = 3
ALL = "all"
# words that YAML or a reader of CSV takes for something else
RESERVED = {ALL, "null", "none", "na", "nan", "inf", "true", "false", "yes", "no", "on", "off"}
# of all files of an entry
MOST_RATES = 20_000_000_000
SHOWN_AUTHORS = 3
# what an entry that is tried out is seen beside; they take seconds
NEIGHBOURS = ["mean_rate", "smoothing", "reduced_rank"]


@dataclass(frozen=True)
class Entry:
    """What an entry's file says (`about`), or what is wrong with it (`fault`); the entries that have its title too."""

    name: str
    about: Mapping
    fault: str = ""
    namesakes: tuple[str, ...] = ()

    def stanza(self, folder: Path) -> dict:
        """The model that it is in a config's catalogue.

        Args:
            folder: the folder of all entries.
        """
        if self.fault:
            return {"fault": self.fault}
        if "model" in self.about:
            env = {"env": self.about["env"]} if "env" in self.about else {}
            return {"file": (folder / self.name / self.about["model"]).as_posix(), **env, "datasets": self.datasets}
        return {"rates": self.about["files"], "datasets": self.datasets}

    @property
    def datasets(self) -> list[str]:
        """The datasets that its files hold, or that its model is run on."""
        return self.about["datasets"]

    @property
    def marks(self) -> list[str]:
        """What readers of its scores must know."""
        files = next(iter(self.about.get("files", {}).values()), None)
        few = files is not None and len(files) < ENOUGH_SEEDS and "deterministic" not in self.about
        return [
            *(["fewer than three seeds"] if few else []),
            *(["saw the test answers"] if self.about["saw_test_answers"] else []),
            *([] if self.about["code_reproduces"] else ["no public code makes these rates"]),
            *(f"has the title of {name} too" for name in self.namesakes),
        ]

    def source(self) -> list[str]:
        """The grade of its evidence, R (run here) or S (scored here), and whose it is, for the rows of its scores."""
        grade, made = ("R", "run here, a model") if "model" in self.about else ("S", "scored here, rates")
        names = self.about["authors"]
        whose = ", ".join(names[:SHOWN_AUTHORS]) + (" et al." if len(names) > SHOWN_AUTHORS else "")
        return [grade, "; ".join([f"{made} by {whose}, {self.about['date']}", *self.marks])]

    def card(self) -> list[list[str]]:
        """What it says of itself, as pairs (field, text)."""
        said = self.about
        trained = f"{' and '.join(said['trained_on'])}; other data: {said['extra_data']}"
        fields = {
            "Authors": ", ".join(said["authors"]),
            "Paper": said.get("paper", "none"),
            "Code": said.get("code", "none"),
            "Licence": said["licence"],
            "Entered": said["date"],
            "Trained on": trained,
            "Test answers": "seen" if said["saw_test_answers"] else "not seen",
            "Settings": said["hyperparameters"],
            "Reproduced by": "public code" if said["code_reproduces"] else "no public code",
        }
        return [[name, text] for name, text in fields.items()]


def with_entries(config: dict, pins: Mapping[str, Mapping[str, Pin]], root: Path) -> tuple[dict, dict[str, Entry]]:
    """The config with the entries that it asks for among its models, and these entries by name.

    With the config key `entry` the selection is that one entry beside a few quick models, on the smallest of its
    datasets.

    Args:
        config: as checked by `nlbflow.planning.config.check_config`.
        pins: the table of pinned files.
        root: the folder of the project.

    Raises:
        NlbflowError: there is no entry of that name, or the one of `entry` has a fault.
    """
    run, folder = dict(config["run"]), root / config["entries"]
    # one that is tried is compared with the titles of all others
    entries = read_entries(
        entries_wanted([ALL] if config["entry"] else run["entries"], folder), folder, root / SCHEMA, config
    )
    if config["entry"]:
        (name,) = entries_wanted([config["entry"]], folder)
        if fault := fault_of_name(name, config["models"]):
            raise NlbflowError(f"the entry {name!a} cannot be taken: {fault}.")
        entry = entries[name]
        entries = {name: entry}
        if entry.fault:
            raise NlbflowError(f"the entry {config['entry']} cannot be taken: {entry.fault}.")
        smallest = min(entry.datasets, key=lambda name: sum(pin.bytes for pin in pins.get(name, {}).values()))
        phases = [*entry.about.get("files", run["phases"])]
        run |= {"datasets": [smallest], "bin_ms": [5], "phases": phases, "models": NEIGHBOURS}
    run["models"] = [*run["models"], *entries]
    stanzas = {name: entry.stanza(folder) for name, entry in entries.items()}
    return {**config, "run": run, "models": config["models"] | stanzas}, entries


def entries_wanted(asked: Iterable[str], folder: Path) -> list[str]:
    """The names of the entries that a config asks for; `all` stands for each one in the folder.

    Raises:
        NlbflowError: there is no such entry.
    """
    found = sorted(path.name for path in folder.glob("*") if path.is_dir())
    names = list(dict.fromkeys(name for each in asked for name in (found if each == ALL else [each])))
    for name in names:
        if name not in found:
            raise NlbflowError(
                f"there is no entry {name!r} (config keys run.entries and entry){near(name, found)}; expected "
                f"{folder / name / FILE}."
            )
    return names


def read_entries(names: Iterable[str], folder: Path, schema: Path, config: Mapping) -> dict[str, Entry]:
    """The entries by name, each checked. A folder whose name no row can have gets another.

    Args:
        folder: the folder of all entries.
        schema: schemas/entry.schema.yaml.
        config: its datasets are those that entries may name, its models have names that entries may not have.
    """
    rules = yaml.safe_load(schema.read_text())
    found = [_read(folder / name / FILE, rules, config) for name in names]
    entries = {entry.name: entry for entry in found}
    titled: dict[str, list[str]] = {}
    for entry in entries.values():
        # one with a fault has no title, and marks nobody's
        title = unicodedata.normalize("NFKC", entry.about.get("title", f"\0{entry.name}")).casefold()
        titled.setdefault(" ".join(title.split()), []).append(entry.name)
    # whose title it is cannot be told from files that anybody may write, so none is refused for it
    return {
        name: replace(entry, namesakes=tuple(other for other in names if other != name))
        for names in titled.values()
        for name, entry in ((name, entries[name]) for name in names)
    }


def _read(path: Path, rules: dict, config: Mapping) -> Entry:
    name = path.parent.name
    if fault := fault_of_name(name, config["models"]):
        return Entry(f"unnamed_{digest_of(name)[:8]}", {}, fault)
    try:
        about = load_entry(path)
        if fault := first_fault(rules, about, FILE, SCHEMA):
            raise NlbflowError(fault)
        _check(about, path.parent, config)
        return Entry(name, about)
    except NlbflowError as error:
        # no path of this machine stands on a public board
        said = str(error).replace(f"{path.parent}/", "")
        return Entry(name, {}, said.rstrip(".")[:MOST_SAID])
    except Exception as error:
        # numbers with thousands of digits, trees a thousand deep: none of it may end the plan of all others
        return Entry(name, {}, f"{FILE} or its model file cannot be read ({type(error).__name__}); write it plainly")


def fault_of_name(name: str, models: Collection[str]) -> str:
    """Why an entry's folder cannot be called so; empty if it can.

    Args:
        models: the names in the catalogue of models.
    """
    if not NAME.fullmatch(name) or name.casefold() in RESERVED:
        return f"the folder {ascii(name)[:60]} is no name; expected up to 40 letters, digits and _, first a letter"
    if name in models or name.endswith(TUNED):
        return f"{name} is the name of another model; rename the entry's folder"
    return ""


def load_entry(path: Path) -> dict:
    """The content of an entry's file, which may be anything.

    Raises:
        NlbflowError: it is not a plain YAML mapping in a small file of its own.
    """
    if path.is_symlink() or path.parent.is_symlink():
        raise NlbflowError(f"{FILE} is reached by a link; put the file itself there.")
    if not path.is_file():
        raise NlbflowError(f"the folder has no file {FILE}; add it (docs/enter.md).")
    raw = path.read_bytes()
    if len(raw) > MOST_BYTES:
        raise NlbflowError(f"{FILE} has {len(raw):,} bytes; expected at most {MOST_BYTES:,}.")
    try:
        text = raw.decode()
        # a few aliases of aliases stand for more than memory holds
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, Loader=LOADER)):
            raise NlbflowError(f"{FILE} has a YAML alias (*name); write the text out.")
        about = yaml.load(text, Loader=_Plain)
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        where = " ".join(str(error).split())[:200]
        raise NlbflowError(f"{FILE} is not YAML in UTF-8 ({ascii(where)[1:-1]}); correct it.") from error
    if not isinstance(about, dict):
        raise NlbflowError(f"{FILE} holds no keys; expected those of {SCHEMA}.")
    return about


class _Plain(LOADER):
    """YAML in which a day is text, and a key that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        found = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := [key for key in found if found.count(key) > 1]:
            raise yaml.YAMLError(f"the key {twice[0]} stands twice")
        return super().construct_mapping(node, deep)


_Plain.add_constructor("tag:yaml.org,2002:timestamp", _Plain.construct_yaml_str)


def _check(about: Mapping, folder: Path, config: Mapping) -> None:
    """What a schema cannot say.

    Raises:
        NlbflowError: the first fault.
    """
    for dataset in about["datasets"]:
        if dataset not in config["datasets"]:
            known = near(dataset, config["datasets"])
            raise NlbflowError(f"{FILE}: key datasets names {dataset!r}, which the catalogue does not have{known}.")
    listed = [file["sha256"] for files in about.get("files", {}).values() for file in files]
    if twice := [sha256 for sha256 in listed if listed.count(sha256) > 1]:
        raise NlbflowError(
            f"{FILE}: key files names the file with sha256 {twice[0]} twice; each seed has its own rates."
        )
    given = [file for files in about.get("files", {}).values() for file in files]
    if (total := sum(file["bytes"] for file in given)) > MOST_RATES:
        raise NlbflowError(f"{FILE}: key files names {total:,} bytes in all; expected at most {MOST_RATES:,}.")
    for file in given:
        try:
            known = bool(urlsplit(file["url"]).hostname and urlsplit(file["url"]).port != 0)
        except ValueError:
            known = False
        if not known:
            raise NlbflowError(f"{FILE}: key files has the address {file['url']!a}, which is none; correct it.")
    try:
        datetime.date.fromisoformat(about["date"])
    except ValueError as error:
        raise NlbflowError(f"{FILE}: key date is {about['date']}, which is no day; correct it.") from error
    counts = {phase: len(files) for phase, files in about.get("files", {}).items()}
    if len(set(counts.values())) > 1:
        said = " and ".join(f"{count} for {phase}" for phase, count in sorted(counts.items()))
        raise NlbflowError(f"{FILE}: key files has {said}; expected as many seeds in each phase.")
    if "deterministic" in about and set(counts.values()) != {1}:
        raise NlbflowError(f"{FILE}: a deterministic model has one file for each phase, for seed 0.")
    if "model" in about:
        path = folder / about["model"]
        if not path.is_file() or path.is_symlink():
            raise NlbflowError(f"{FILE}: key model names {path.name}, which is no file in the entry's folder; add it.")
        declared = read_declaration(path)
        if declared["ORACLE"]:
            raise NlbflowError(f"{path.name} declares ORACLE, but no entry sees the answers; take that out.")
        # what the plan does with every model, so that what is wrong is found here
        json.dumps([declared[name] for name in ("DEFAULTS", "CHECK", "NEEDS")], sort_keys=True)
        code_digest(path)
