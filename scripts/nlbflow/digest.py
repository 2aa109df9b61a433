"""What made a result: digests of code, environment and parameters, kept in small stamp files.

Snakemake compares dates, and an edited module that a script imports has none it looks at. A stamp holds the digest of
the code a job really uses; it is rewritten only when that differs, and it is an input of the job. So a result is made
again exactly when what made it has changed, also when results were copied from elsewhere.
"""

import ast
import hashlib
import json
import os
from functools import cache
from pathlib import Path

from nlbflow.errors import NlbflowError

LIBRARY = Path(__file__).parent


class _DropDocstrings(ast.NodeTransformer):
    """Prose is not code: a changed docstring, like a changed comment, changes no result."""

    def visit(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        return node


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


@cache
def _code_digest(path: Path, modified_ns: int) -> str:
    tree = _DropDocstrings().visit(ast.parse(path.read_text()))
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def code_files(script: Path) -> list[Path]:
    """The script and every module of ours that it imports, directly or through another, sorted.

    Ours are the modules of this library and the files that lie beside the script.
    """
    found: set[Path] = set()
    pending = [script.resolve()]
    while pending:
        path = pending.pop()
        if path in found:
            continue
        found.add(path)
        for node in ast.walk(parse(path)):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in names:
                for root in (LIBRARY.parent, path.parent):
                    candidate = root.joinpath(*name.split(".")).with_suffix(".py")
                    if candidate.is_file():
                        pending.append(candidate.resolve())
    return sorted(found)


def digest_of(content: object) -> str:
    """A short digest of anything JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def describe(scripts: list[Path], environment: Path | None, parameters: dict) -> dict:
    """What a job is made of: digests of its code and of its conda environment, and its parameters.

    Raises:
        NlbflowError: a file is missing or is not Python.
    """
    files = sorted({file for script in scripts for file in code_files(script)})
    code = {}
    for file in files:
        name = file.relative_to(LIBRARY.parent) if file.is_relative_to(LIBRARY.parent) else Path(file.name)
        code[name.as_posix()] = _code_digest(file, file.stat().st_mtime_ns)
    content = {"code": code, "parameters": parameters}
    if environment is not None:
        lines = [line.split("#")[0].strip() for line in environment.read_text().splitlines()]
        content["environment"] = digest_of([line for line in lines if line])
    return {"digest": digest_of(content), **content}


def write_stamp(path: Path, content: dict) -> str:
    """Write the stamp unless it says the same already; returns its path as Snakemake wants it."""
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    if not path.is_file() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(text)
        os.replace(temporary, path)
    return path.as_posix()
