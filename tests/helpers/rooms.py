"""The packages of nlbflow, the arrows between them, and the picture in docs/architecture.md.

python tests/helpers/rooms.py     draws the picture anew
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "scripts/nlbflow"
PAGE = ROOT / "docs/architecture.md"
# What each package may import, beside `running` and `errors`, which all may. The data go down this list.
ALLOWED = {
    "archive": set(),
    "recordings": {"archive"},
    "metrics": set(),
    "methods": {"recordings", "metrics"},
    "models": {"recordings", "metrics"},
    "scoring": {"metrics", "methods"},
    "boards": {"metrics"},
    "figures": {"recordings", "metrics", "scoring", "boards"},
    "planning": {"archive", "recordings", "models", "boards", "figures"},
    "running": set(),
}
COMMON = {"running", "errors"}
PICTURE = re.compile(r"(?<=```mermaid\n).*?(?=```)", re.DOTALL)


def modules() -> list[Path]:
    return sorted(LIBRARY.rglob("*.py"))


def package_of(module: Path) -> str:
    """The package that a module belongs to; empty for what lies beside the packages."""
    parts = module.relative_to(LIBRARY).parts
    return parts[0] if len(parts) > 1 else ""


def imported(module: Path) -> set[str]:
    """The packages (or modules beside them) of nlbflow that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("nlbflow.")}
    return found & {*ALLOWED, *COMMON}


def arrows() -> dict[str, set[str]]:
    """The packages that each package imports, itself left out."""
    found: dict[str, set[str]] = {name: set() for name in ALLOWED}
    for module in modules():
        if package := package_of(module):
            found[package] |= imported(module) - {package}
    return found


def picture() -> str:
    """The packages as a Mermaid flowchart: an arrow leads from what is used to what uses it, the way of the data."""
    lines = ["flowchart LR"]
    for name in ALLOWED:
        count = sum(package_of(module) == name for module in modules())
        lines.append(f'  {name}["{name}<br/>{count} modules"]')
    for name, used in arrows().items():
        lines += [f"  {other} --> {name}" for other in sorted(used - COMMON)]
    return "\n".join([*lines, "  running -.-> all[every package]", ""])


if __name__ == "__main__":
    PAGE.write_text(PICTURE.sub(picture(), PAGE.read_text()))
