"""An RO-Crate of a run: what its metadata say, as JSON-LD entities (RO-Crate 1.1, profile Process Run Crate).

`scripts/pack_crate.py` packs it, in an environment of its own, with the library `rocrate`.
"""

import json
import mimetypes
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from nlbflow.boards.contents import origin_sentence
from nlbflow.boards.tables import place_title
from nlbflow.errors import NlbflowError
from nlbflow.running.checksums import known_sha256

CONFIG, CITATION = "config.json", "CITATION.cff"
PYTHON = ".venv-crate/bin/python"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
LICENCES = (
    "The licences of the parts differ. Each dataset names that of its recordings, the software its own. Whoever "
    "publishes this crate says here under which licence the scores, tables and predictions are."
)
# those that Python's own table may lack
FORMATS = {".md": "text/markdown", ".cff": "application/yaml", ".tex": "application/x-tex",
           ".parquet": "application/vnd.apache.parquet"}  # fmt: skip
DESCRIPTIONS = {
    CONFIG: "the config as it was run: its own keys and all defaults",
    "leaderboard.json": "the leaderboards for programs, with the provenance of each run",
    "leaderboard.html": "the leaderboards as a page",
    "leaderboard.md": "the leaderboards as Markdown",
    "scores.csv": "all scores with their intervals",
    "costs.csv": "seconds, memory, device, commit and date of each prediction",
    CITATION: "how to cite the software and the benchmark",
}


def find_python(root: Path) -> str:
    """The Python that has `rocrate`: that of `make .venv-crate/done`, or this one.

    Raises:
        NlbflowError: neither has it.
    """
    own = root / PYTHON
    if own.is_file():
        return str(own)
    if subprocess.run([sys.executable, "-I", "-c", "import rocrate"], capture_output=True).returncode == 0:
        return sys.executable
    raise NlbflowError(f"{own} is not there, and this Python has no package rocrate; run `make .venv-crate/done`.")


def crate_description(board: Mapping, citation: Mapping, files: Mapping[str, Path], results: Path, log=print) -> dict:
    """What is in the crate: properties of the `root`, `files` with their source, and further `entities`.

    Args:
        board: content of the run's leaderboard.json.
        citation: content of CITATION.cff.
        files: what is packed, by its path in the crate.
        results: the folder of the run's predictions, which are not packed: they are named with size and sha256.
        log: told of progress.
    """
    packed = [_file(name, path, log) for name, path in files.items()]
    predictions = [_prediction(run, results) for run in board["made"]["runs"] if run["prediction_sha256"]]
    datasets = [_dataset(name, about) for name, about in board["datasets"].items()]
    authors, papers = _authors(citation), [_paper(one) for one in citation["references"]]
    software = _software(board, citation, authors)
    made = [{"@id": quote(file["path"])} for file in packed if file["path"] not in (CONFIG, CITATION)]
    action = {
        "@id": "#run",
        "@type": "CreateAction",
        "name": f"run of selection {board['origin']['selection']}",
        "description": f"The leaderboards were made {_made(board)}.",
        "instrument": {"@id": software["@id"]},
        "object": _ids([*datasets, {"@id": CONFIG}]),
        "result": _ids([*made, *predictions]),
        "endTime": board["made"]["date"].replace("Z", "+00:00"),
    }
    licences = {"@id": "#licences", "@type": "CreativeWork", "name": "Licences", "description": LICENCES}
    profile = {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    root = {
        "name": f"Leaderboards of {', '.join(about['title'] for about in board['datasets'].values())}",
        "description": f"Scores of models of neural population activity, with their intervals, by nlbflow; made "
        f"{_made(board)}.",
        "datePublished": board["made"]["date"],
        "license": {"@id": licences["@id"]},
        "author": _ids(authors),
        "citation": _ids(papers),
        "isBasedOn": _ids(datasets),
        "mentions": {"@id": action["@id"]},
        "conformsTo": {"@id": PROFILE},
    }
    further = [action, software, licences, profile, *datasets, *authors, *papers, *predictions]
    return {"root": root, "files": packed, "entities": further}


def pack(python: str, packer: Path, description: Mapping, out: Path, scratch: Path) -> None:
    """Write the crate as one zip file.

    Args:
        python: a Python with `rocrate`.
        packer: scripts/pack_crate.py.
        description: as from `crate_description`.
        out: the file.
        scratch: an empty folder.

    Raises:
        NlbflowError: the writer failed.
    """
    told = scratch / "description.json"
    told.write_text(json.dumps(description))
    command = [python, "-I", str(packer.absolute()), str(told), str(out.absolute())]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise NlbflowError(f"the crate could not be packed ({last}); install its environment anew: delete .venv-crate.")


def _ids(entities: Sequence[Mapping]) -> list[dict] | dict:
    """References to them; one alone is no list, as RO-Crate wants it."""
    found = [{"@id": entity["@id"]} for entity in entities]
    return found[0] if len(found) == 1 else found


def _made(board: Mapping) -> str:
    at = f", commit {board['made']['commit']}" if board["made"]["commit"] else ""
    return f"from {origin_sentence(board['origin'])}, with version {board['made']['nlbflow']}{at}"


def _file(name: str, path: Path, log) -> dict:
    form = FORMATS.get(path.suffix) or mimetypes.guess_type(name)[0]
    return {
        "source": str(path.absolute()),
        "path": name,
        "properties": {
            "name": name,
            **({"description": DESCRIPTIONS[name]} if name in DESCRIPTIONS else {}),
            **({"encodingFormat": form} if form else {}),
            "contentSize": str(path.stat().st_size),
            "sha256": known_sha256(path, log),
        },
    }


def _prediction(run: Mapping, results: Path) -> dict:
    place = run["dataset"], run["bin_ms"], run["phase"]
    path = results / f"{run['dataset']}/{run['bin_ms']}ms/{run['phase']}/{run['model']}/{run['seed']}/prediction.h5"
    return {
        "@id": f"#{path.relative_to(results.parent).as_posix()}",
        "@type": "MediaObject",
        "name": f"rates of {run['model']}, seed {run['seed']}, on {place_title(*place)}",
        "description": "not in this crate; a file that has this sha256 is the one that was scored",
        "encodingFormat": "application/x-hdf5",
        **({"contentSize": str(path.stat().st_size)} if path.is_file() else {}),
        "sha256": run["prediction_sha256"],
    }


def _dataset(name: str, about: Mapping) -> dict:
    return {
        "@id": f"#{name}",
        "@type": "CreativeWork",
        "name": about["title"],
        "version": about["version"],
        "citation": about["citation"],
        "license": about["license"],
    }


def _authors(citation: Mapping) -> list[dict]:
    found = []
    for i, author in enumerate(citation["authors"]):
        person = "family-names" in author
        names = [author.get("given-names"), author.get("family-names")] if person else [author["name"]]
        kind = "Person" if person else "Organization"
        found.append({"@id": author.get("orcid", f"#author-{i}"), "@type": kind, "name": " ".join(filter(None, names))})
    return found


def _paper(reference: Mapping) -> dict:
    authors = [f"{one['given-names']} {one['family-names']}" for one in reference["authors"]]
    return {
        "@id": reference["url"],
        "@type": "ScholarlyArticle",
        "name": reference["title"],
        "author": authors,
        "datePublished": str(reference["year"]),
    }


def _software(board: Mapping, citation: Mapping, authors: Sequence[Mapping]) -> dict:
    at = board["made"]["commit"]
    return {
        "@id": "#nlbflow",
        "@type": "SoftwareApplication",
        "name": citation["title"],
        "softwareVersion": board["made"]["nlbflow"],
        **({"identifier": f"commit {at}"} if at else {}),
        **({"url": citation["url"]} if "url" in citation else {}),
        "license": citation["license"],
        "author": _ids(authors),
    }
