"""Fixtures for the tests of recordings."""

import pytest

from nlbflow.recordings.tensors import cut_input
from own_recordings import STANZA, write_recording


@pytest.fixture
def cut(tmp_path):
    """Writes a recording with changes and cuts it: (arrays, absent, facts)."""

    def cut(stanza: dict | None = None, bin_ms: int = 5, phase: str = "val", **changes):
        path = write_recording(tmp_path / "own.nwb", **changes)
        return cut_input({"whole": path}, STANZA | (stanza or {}), bin_ms, phase)

    return cut
