"""The benchmark on bedside recordings: what it counts, and that no desaturation is missed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

_FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def vitals():
    sys.path.insert(0, str(_FOLDER))
    try:
        import vitals

        yield vitals
    finally:
        sys.path.remove(str(_FOLDER))


def bed(n=480):
    """Four channels that stand still."""
    return np.tile(np.array([72.0, 72.0, 16.0, 98.0], np.float32), (n, 1))


def test_a_still_bed(vitals):
    found = vitals.judge({"still": bed()}, vitals.product())
    assert (found["drops"], found["found"], found["latest"]) == (3, 3, 0)
    assert found["hidden"] == found["missed"] == []
    assert found["stood at most"] == 120
    assert found["flags"] == 0
    assert found["bed-hours"] == pytest.approx(480 / 3600)


def test_another_flag_hides_a_drop(vitals):
    x = bed()
    x[230:236, 0] = 150.0
    for detect in (vitals.product(), vitals.envelope(0.0)):
        found = vitals.judge({"busy": x}, detect)
        assert found["hidden"] == ["busy at 240"]
        assert (found["found"], found["missed"]) == (2, [])
        assert found["flags"] == 1


def test_what_sees_nothing_misses_all(vitals):
    found = vitals.judge({"still": bed()}, vitals.product(envelope=0.0, level=0.0, residual=0.0))
    assert found["missed"] == ["still at 120", "still at 240", "still at 360"]
    assert found["latest"] is found["stood at most"] is None


def test_the_recordings(vitals):
    folder = vitals.data_dir() / "vitals"
    if not folder.is_dir():
        pytest.skip(f"no recordings in {folder}; set STREAMRNN_DATA to the folder that holds vitals/")
    found = vitals.judge(vitals.load(folder), vitals.product())
    assert found["missed"] == []
    assert found["found"] >= 0.9 * found["drops"]
    assert found["flags per bed-hour"] < 8.0


def test_no_recordings(vitals, tmp_path):
    with pytest.raises(FileNotFoundError):
        vitals.load(tmp_path)
