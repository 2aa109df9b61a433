"""The library in rooms: imports point one way, each package says what it is for, no file is too long to read."""

import ast
import subprocess

import pytest

from rooms import ALLOWED, COMMON, LIBRARY, PAGE, PICTURE, ROOT, arrows, imported, picture


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_one_way(package):
    assert arrows()[package] - COMMON <= ALLOWED[package]


def test_the_allowed_arrows_make_no_circle():
    seen = set()
    while ready := [name for name, used in ALLOWED.items() if name not in seen and used <= seen]:
        seen.update(ready)
    assert seen == set(ALLOWED)


def test_what_all_use_uses_none():
    assert arrows()["running"] <= {"errors"}
    assert imported(LIBRARY / "errors.py") == set()


def test_every_folder_is_a_package_that_says_what_it_is_for():
    for folder in {module.parent for module in LIBRARY.rglob("*.py")}:
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), folder
    for package in ALLOWED:
        text = ast.get_docstring(ast.parse((LIBRARY / package / "__init__.py").read_text()))
        assert len(text.split("\n\n")) > 1, f"{package}: a paragraph says what comes in, what goes out, where to begin"


def test_no_file_is_too_long():
    listed = subprocess.run(["git", "ls-files", "*.py", "*.smk"], cwd=ROOT, capture_output=True, text=True)
    long = {file: n for file in listed.stdout.split() if (n := len((ROOT / file).read_text().splitlines())) > 320}
    assert not long


def test_picture_is_of_the_code():
    assert PICTURE.search(PAGE.read_text())[0] == picture(), "python tests/helpers/rooms.py draws it anew"
