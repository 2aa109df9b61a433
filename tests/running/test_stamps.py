"""The digest of code: what counts as a change, and that it is the same everywhere."""

import ast
import os
import subprocess
import sys

import pytest

from nlbflow.errors import NlbflowError
from nlbflow.running.code import LIBRARY, code_files, digest_of
from nlbflow.running.stamps import describe, describe_code, is_stamp_of, refuse_edited
from pythons import interpreter
from workflow import ROOT

ENVIRONMENT = ROOT / "envs/models.yaml"


def digest(script) -> str:
    return digest_of(describe_code([script], ENVIRONMENT))


@pytest.fixture
def package(tmp_path):
    """A model that imports a helper beside it and a package with relative imports."""
    (tmp_path / "pkg").mkdir()
    files = {
        "mine.py": '"""Mine."""\nimport helper\nimport pkg\nfrom pkg.deep import thing\n',
        "helper.py": "A = 1\n",
        "pkg/__init__.py": "B = 1\n",
        "pkg/deep.py": "from . import rel\nfrom pkg import other\nfrom .further import thing\n",
        "pkg/rel.py": "C = 1\n",
        "pkg/other.py": "D = 1\n",
        "pkg/further.py": "thing = 1\n",
        "pkg/unused.py": "E = 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    "name", ["mine.py", "helper.py", "pkg/__init__.py", "pkg/deep.py", "pkg/rel.py", "pkg/other.py", "pkg/further.py"]
)
def test_every_file_that_is_imported_counts(package, name):
    before = digest(package / "mine.py")
    with (package / name).open("a") as file:
        file.write("# a comment\n\n")
    assert digest(package / "mine.py") == before
    with (package / name).open("a") as file:
        file.write("X = 1\n")
    assert digest(package / "mine.py") != before


def test_a_file_that_is_not_imported_does_not(package):
    before = digest(package / "mine.py")
    (package / "pkg/unused.py").write_text("E = 2\n")
    assert digest(package / "mine.py") == before


def test_scoring_and_training_do_not_share_the_metrics():
    def code_of(rule: str) -> set[str]:
        files = code_files(ROOT / f"scripts/{rule}.py")
        return {path.relative_to(LIBRARY).as_posix() for path in files if path.is_relative_to(LIBRARY)}

    train, simulate, tensors = map(code_of, ("train", "simulate", "tensors"))
    assert {"models/contract.py", "__init__.py"} <= train
    assert not train & {"metrics/formulas.py", "recordings/psth.py", "api.py"}
    assert "recordings/simulator/truth.py" in simulate
    assert not simulate & {"metrics/formulas.py", "scoring/trial_statistics.py", "scoring/bootstrap.py"}
    assert not tensors & {"metrics/formulas.py", "recordings/psth.py", "recordings/targets.py", "models/apart.py"}


@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_same_digest_in_every_python(version, monkeypatch, tmp_path):
    python = interpreter(version)
    # nothing kept by the other
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); from pathlib import Path; "
        "from nlbflow.running.code import digest_of; from nlbflow.running.stamps import describe_code; "
        f"print(digest_of(describe_code([Path({str(ROOT / 'scripts/score.py')!r})], Path({str(ENVIRONMENT)!r}))))"
    )
    done = subprocess.run([python, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(ROOT / "scripts/score.py")


def facts_anew(path) -> tuple:
    """What another process would find out of a file."""
    source = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); from pathlib import Path; "
        f"from nlbflow.running import code; path = Path({str(path)!r}); print((code.code_digest(path), "
        "sorted(file.name for file in code.code_files(path)), code._parse.cache_info().currsize))"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    return ast.literal_eval(done.stdout)


def test_what_is_kept_of_a_content_is_what_is_worked_out_anew(package, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    *first, parsed = facts_anew(package / "mine.py")
    *again, parsed_again = facts_anew(package / "mine.py")
    assert first == again and (parsed, parsed_again) == (7, 0)
    kept = sorted((tmp_path / "cache").rglob("*.*"))
    assert len(kept) == 7
    damages = ["", "{", "[]", "null", '{"digest": "x"}', '{"digest": "x", "imports": 3}', "{}"]
    for file, content in zip(kept, damages, strict=True):
        file.write_text(content)
    *damaged, parsed = facts_anew(package / "mine.py")
    assert damaged == first and parsed == 7
    helper = package / "helper.py"
    before, modified = facts_anew(helper)[0], helper.stat().st_mtime_ns
    helper.write_text("A = 2\n")
    os.utime(helper, ns=(modified, modified))
    assert facts_anew(helper)[0] != before


@pytest.mark.parametrize("place", ["/dev/null", "/proc"])
def test_nothing_is_kept_where_nothing_can_be(package, monkeypatch, tmp_path, place):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    wanted = facts_anew(package / "mine.py")
    monkeypatch.setenv("XDG_CACHE_HOME", place)
    assert facts_anew(package / "mine.py") == wanted


def test_code_that_was_edited_since_is_refused(package):
    content = describe(describe_code([ROOT / "scripts/train.py", package / "mine.py"], ENVIRONMENT), {})
    refuse_edited(content, package)
    with (package / "helper.py").open("a") as file:
        file.write("# a comment\n")
    refuse_edited(content, package)
    with (package / "helper.py").open("a") as file:
        file.write("X = 1\n")
    with pytest.raises(NlbflowError, match=r"helper.py was edited since this run was planned; run again"):
        refuse_edited(content, package)


def test_a_damaged_stamp_is_not_the_one_that_was_planned_with():
    content = describe(describe_code([ROOT / "scripts/train.py"], ENVIRONMENT), {"alpha": 0.25})
    assert is_stamp_of(content, content["digest"])
    assert not is_stamp_of(content, "0" * 16)
    assert not is_stamp_of(content | {"parameters": {"alpha": 0.35}}, content["digest"])
