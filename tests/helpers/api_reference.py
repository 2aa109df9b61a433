"""docs/api.md, from the docstrings of what `import nlbflow` offers.

python tests/helpers/api_reference.py     writes it anew
"""

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/api.md"
HEAD = """# The API

What `import nlbflow` offers, from its docstrings. Spikes and rates are (trials, bins, neurons); [python.md](python.md)
shows it in use.
"""


def signature(function: Callable) -> str:
    """As it is written, the same for every Python."""
    node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    return f"({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}"


def entries() -> list[tuple[str, str, str]]:
    """(name, signature, docstring) of every public name, and of the public methods of classes."""
    sys.path.insert(0, str(ROOT / "scripts"))
    import nlbflow

    found = []
    for name in nlbflow.__all__:
        thing = getattr(nlbflow, name)
        found.append((name, signature(thing) if inspect.isfunction(thing) else "", inspect.getdoc(thing) or ""))
        for method, member in vars(thing).items() if inspect.isclass(thing) else ():
            if inspect.isfunction(member) and not method.startswith("_"):
                found.append((f"{name}.{method}", signature(member), inspect.getdoc(member) or ""))
            elif isinstance(member, cached_property):
                found.append((f"{name}.{method}", "", inspect.getdoc(member.func) or ""))
    return found


def reference() -> str:
    """The page."""
    parts = [HEAD]
    for name, signature, text in entries():
        parts.append(f"## {name}\n\n```text\n{name}{signature}\n\n{text}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(reference())
