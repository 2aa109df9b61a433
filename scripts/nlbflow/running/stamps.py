"""What made a result: digests of code, environment and parameters, kept in small stamp files.

Snakemake compares dates, and an edited module that a script imports has none it looks at. A stamp holds the digest of
the code a job really uses; it is rewritten only when that differs, and it is an input of the job. So a result is made
again exactly when what made it has changed, also when results were copied from elsewhere.
"""

import ast
import atexit
import hashlib
import json
import os
from functools import cache
from pathlib import Path

from nlbflow.errors import NlbflowError

LIBRARY = Path(__file__).resolve().parents[1]


@cache
def _parse(path: Path, modified_ns: int) -> ast.Module:
    try:
        return ast.parse(path.read_text())
    except (SyntaxError, ValueError) as error:
        raise NlbflowError(f"{path} is not valid Python ({error}); correct it.") from error


def parse(path: Path) -> ast.Module:
    """The syntax tree of a Python file.

    Raises:
        NlbflowError: the file does not exist or is not Python.
    """
    if not path.is_file():
        raise NlbflowError(f"{path} does not exist; expected a Python file there: check the name in the config.")
    return _parse(path, path.stat().st_mtime_ns)


def _outline(node: object) -> object:
    """A syntax tree as plain lists: the same for every Python version, without docstrings, which change no result."""
    if isinstance(node, ast.AST):
        fields = dict(ast.iter_fields(node))
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            fields["body"] = node.body[ast.get_docstring(node, clean=False) is not None :]
        # newer versions add fields that are empty where older syntax was used
        return [type(node).__name__, *([k, _outline(v)] for k, v in sorted(fields.items()) if v not in (None, []))]
    if isinstance(node, list):
        return [_outline(item) for item in node]
    return f"{type(node).__name__} {node!r}"


@cache
def _code_digest(path: Path, modified_ns: int) -> str:
    return digest_of(_outline(parse(path)))


@cache
def _import_names(path: Path, modified_ns: int) -> list[tuple[int, str]]:
    """The dotted names that a file imports, each with its number of leading dots."""
    names = []
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            names += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [(node.level, ".".join(filter(None, [node.module, alias.name]))) for alias in node.names]
    return names


@cache
def _imported(path: Path, modified_ns: int, roots: tuple[Path, ...]) -> set[Path]:
    """The files of ours that one file imports, packages' __init__ among them."""
    found = set()
    for level, name in _import_names(path, modified_ns):
        parts = name.split(".")
        for place in (path.parents[level - 1],) if level else roots:
            for depth in range(1, len(parts) + 1):
                module = place.joinpath(*parts[:depth])
                for candidate in (module / "__init__.py", module.with_name(module.name + ".py")):
                    if candidate.is_file():
                        found.add(candidate.resolve())
    return found


def code_files(script: Path) -> list[Path]:
    """The script and every module of ours that it imports, directly or through another, sorted.

    Ours are the modules of this library and the files and packages that lie beside the script.
    """
    script = script.resolve()
    found: set[Path] = set()
    pending = [script]
    while pending:
        path = pending.pop()
        if path not in found:
            found.add(path)
            # a module of the library says `nlbflow.x`; a bare `statistics` there is Python's own
            beside = () if path.is_relative_to(LIBRARY) else (script.parent, path.parent)
            pending += _imported(path, path.stat().st_mtime_ns, (LIBRARY.parent, *beside))
    return sorted(found)


def digest_of(content: object) -> str:
    """A short digest of anything JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def describe_code(scripts: list[Path], environment: Path) -> dict:
    """What a kind of job runs: digests of its code, by file, and of its conda environment.

    Raises:
        NlbflowError: a file is missing or is not Python.
    """
    code = {}
    for script in scripts:
        for file in code_files(script):
            ours = file.is_relative_to(LIBRARY.parent)
            name = os.path.relpath(file, LIBRARY.parent if ours else script.resolve().parent)
            code[name] = _code_digest(file, file.stat().st_mtime_ns)
    lines = [line.split("#")[0].strip() for line in environment.read_text().splitlines()]
    return {"code": code, "environment": digest_of([line for line in lines if line])}


def describe(code: dict, parameters: dict) -> dict:
    """What a job is made of: its code, as of `describe_code`, and its parameters, under a digest of both."""
    content = {**code, "parameters": parameters}
    return {"digest": digest_of(content), **content}


def is_stamp_of(content: dict, digest: str) -> bool:
    """Whether a stamp's content is whole and has the digest."""
    parts = {key: value for key, value in content.items() if key != "digest"}
    return content.get("digest") == digest == digest_of(parts)


def refuse_edited(content: dict, beside: Path = LIBRARY.parent) -> None:
    """Refuse to run code that was edited after its stamp was written: the result would pass for that of the old code.

    Args:
        content: of the stamp.
        beside: where the code lies that is none of ours, the folder of a user's model.

    Raises:
        NlbflowError: a file was edited.
    """
    for name, digest in content["code"].items():
        file = next((folder / name for folder in (LIBRARY.parent, beside) if (folder / name).is_file()), None)
        if file and _code_digest(file, file.stat().st_mtime_ns) != digest:
            raise NlbflowError(f"{file} was edited since this run was planned; run again.")


class Stamps:
    """The stamp files that a run was planned with.

    Until `keep` is called (by a run that really starts), files that were replaced are put back at exit, so that a dry
    run with other code or parameters leaves no trace.
    """

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}
        self._replaced: dict[Path, tuple[bytes, int] | None] = {}
        atexit.register(self._restore)

    def write(self, path: Path, content: dict) -> str:
        """Write a stamp unless it says the same already; its path as Snakemake wants it."""
        self.digests[path.as_posix()] = content["digest"]
        text = (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()
        before = (path.read_bytes(), path.stat().st_mtime_ns) if path.is_file() else None
        if before is None or before[0] != text:
            self._replaced.setdefault(path, before)
            self._put(path, text)
        return path.as_posix()

    def keep(self) -> None:
        self._replaced.clear()

    @staticmethod
    def _put(path: Path, text: bytes, modified_ns: int | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_bytes(text)
        if modified_ns is not None:
            os.utime(temporary, ns=(modified_ns, modified_ns))
        os.replace(temporary, path)

    def _restore(self) -> None:
        for path, before in self._replaced.items():
            if before is None:
                path.unlink(missing_ok=True)
            else:
                self._put(path, *before)
