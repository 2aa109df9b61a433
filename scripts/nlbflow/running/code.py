"""Which code a job runs: the files of ours that a script imports, and a digest of each that ignores comments."""

import ast
import hashlib
import json
import os
from contextlib import suppress
from functools import cache
from pathlib import Path

from nlbflow.errors import NlbflowError

LIBRARY = Path(__file__).resolve().parents[1]
# the folder that `nlbflow` is imported from
ABOVE = LIBRARY.parent


def digest_of(content: object) -> str:
    """A short digest of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


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
    """A syntax tree as plain lists, the same for every Python version, without docstrings, which change no result."""
    if isinstance(node, ast.AST):
        fields = dict(ast.iter_fields(node))
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            fields["body"] = node.body[ast.get_docstring(node, clean=False) is not None :]
        # newer Python versions add fields, which are empty for older syntax
        return [type(node).__name__, *([k, _outline(v)] for k, v in sorted(fields.items()) if v not in (None, []))]
    if isinstance(node, list):
        return [_outline(item) for item in node]
    return f"{type(node).__name__} {node!r}"


def _imports(tree: ast.Module) -> list[tuple[int, str]]:
    """The dotted names that a file imports, each with its number of leading dots."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [(node.level, ".".join(filter(None, [node.module, alias.name]))) for alias in node.names]
    return names


def _kept_facts(path: Path) -> Path:
    """Where the facts about a file are kept: in the user's cache, under a name made from its content and ours."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = hashlib.sha256(path.read_bytes() + _own_content()).hexdigest()
    return folder / "nlbflow" / "code" / f"{key}.json"


@cache
def _own_content() -> bytes:
    return Path(__file__).read_bytes()


@cache
def _facts(path: Path, modified_ns: int) -> tuple[str, list[tuple[int, str]]]:
    """The digest of a file's code, and what it imports.

    Working them out for the whole library takes a second at every start of Snakemake, so they are cached, as Python
    caches byte code.
    """
    with suppress(OSError, RuntimeError, ValueError, KeyError, TypeError):
        kept = json.loads(_kept_facts(path).read_text())
        return str(kept["digest"]), [(int(level), str(name)) for level, name in kept["imports"]]
    tree = parse(path)
    digest, imports = digest_of(_outline(tree)), _imports(tree)
    # without a home folder, or if it is full or read-only, nothing is cached
    with suppress(OSError, RuntimeError):
        kept = _kept_facts(path)
        kept.parent.mkdir(parents=True, exist_ok=True)
        temporary = kept.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps({"digest": digest, "imports": imports}))
        os.replace(temporary, kept)
    return digest, imports


def code_digest(path: Path) -> str:
    """A digest of what a Python file does; comments, spacing and docstrings do not count.

    Raises:
        NlbflowError: the file does not exist or is not Python.
    """
    return _facts(path, path.stat().st_mtime_ns)[0]


@cache
def _imported(path: Path, modified_ns: int, roots: tuple[Path, ...]) -> set[Path]:
    """The files of ours that one file imports, including the __init__ of packages."""
    found = set()
    for level, name in _facts(path, modified_ns)[1]:
        for module in (path.parents[level - 1],) if level else roots:
            for part in name.split("."):
                if not module.is_dir():
                    break
                module /= part
                for candidate in (module / "__init__.py", module.with_name(module.name + ".py")):
                    if candidate.is_file():
                        found.add(candidate.resolve())
    return found


def code_files(script: Path) -> list[Path]:
    """The script and every module of ours that it imports, directly or through another, sorted.

    Ours are the modules of this library, and files and packages beside the script.
    """
    script = script.resolve()
    found: set[Path] = set()
    pending = [script]
    while pending:
        path = pending.pop()
        if path not in found:
            found.add(path)
            # modules of the library import `nlbflow.x`, so a bare `statistics` there is Python's own
            beside = () if path.is_relative_to(LIBRARY) else (script.parent, path.parent)
            pending += _imported(path, path.stat().st_mtime_ns, (ABOVE, *beside))
    return sorted(found)
