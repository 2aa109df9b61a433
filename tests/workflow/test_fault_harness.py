"""Every fault of faults.py, tried once for each of its seeds; `make faults` does the same and writes the table."""

import pytest

from fault_trials import Skip, reference_maker, try_fault
from faults import FAULTS

# tried in every run of the tests: cheap ones, of different kinds
USUAL = {
    "a job killed between its renames",
    "the run killed (SIGKILL)",
    "disk full: tables",
    "truncated: comparison.json",
    "a model edited while the run goes on",
}
TRIALS = [
    pytest.param(
        fault,
        seed,
        id=f"{fault.kind}, {seed}",
        marks=[] if fault.kind in USUAL and seed == 0 else [pytest.mark.slow],
    )
    for fault in FAULTS
    for seed in range(fault.times)
]


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    return reference_maker(tmp_path_factory.mktemp("references"))


@pytest.mark.parametrize(("fault", "seed"), TRIALS)
def test_fault_is_survived(fault, seed, references, tmp_path):
    if "network" in fault.reference:
        pytest.importorskip("torch")
    try:
        try_fault(fault, references, tmp_path / "trial", seed)
    except Skip as reason:
        pytest.skip(str(reason))


def test_the_table_has_no_kind_twice():
    kinds = [fault.kind for fault in FAULTS]
    assert len(kinds) == len(set(kinds)) and USUAL <= set(kinds)
