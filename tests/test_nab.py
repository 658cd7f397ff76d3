"""NAB's scoring on cases that were worked out by hand, and the development series where they are present."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest

_PATH = Path(__file__).parents[1] / "benchmarks" / "nab.py"


def _import():
    spec = importlib.util.spec_from_file_location("nab", _PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["nab"] = module
    spec.loader.exec_module(module)
    return module


nab = _import()


def series(n=100, windows=((40, 49),)):
    return nab.Series("made", np.arange(n, dtype=np.int64), np.zeros(n), tuple(windows))


def sigma(y):
    return 2 / (1 + math.exp(5 * y)) - 1


def test_sigma_of_the_paper():
    assert nab.sigma(0.0) == 0.0
    assert nab.sigma(-1.0) == pytest.approx(0.98661, abs=1e-5)
    assert nab.sigma(3.0) == pytest.approx(-1.0, abs=1e-6)
    assert nab.sigma(3.1) == -1.0


@pytest.mark.parametrize(("n", "rows"), [(10, 1), (1000, 150), (5000, 750), (22_695, 750)])
def test_probation(n, rows):
    assert nab.probation(n) == rows


@pytest.mark.parametrize("profile", [nab.STANDARD, nab.LOW_FP])
def test_silence_is_0_and_the_perfect_detector_100(profile):
    s = [series(), series(windows=()), series(windows=((20, 29), (70, 89)))]
    assert nab.score(s, [[], [], []], profile) == 0.0
    assert nab.score(s, [[40], [], [20, 70]], profile) == pytest.approx(100.0)


def test_a_late_hit_is_worth_less():
    # Row 44 of a window of ten: five rows from behind its end.
    worth = sigma(-6 / 10) / sigma(-1)
    assert nab.score([series()], [[44]]) == pytest.approx(100 * (worth + 1) / 2)
    # The last row is a tenth of the window before its end.
    assert nab.score([series()], [[49]]) == pytest.approx(100 * (sigma(-1 / 10) / sigma(-1) + 1) / 2)


def test_only_the_best_hit_of_a_window_counts():
    assert nab.score([series()], [[42, 44, 49]]) == nab.score([series()], [[42]])


def test_false_alarms():
    # Before any window: the full weight, on top of the missed window's -1.
    assert nab.score([series()], [[20]]) == pytest.approx(100 * (-1 - 0.11 + 1) / 2)
    assert nab.score([series()], [[20]], nab.LOW_FP) == pytest.approx(-11.0)
    # Three rows behind a window of ten: a third of nine rows.
    assert nab.score([series()], [[52]]) == pytest.approx(100 * 0.11 * sigma(3 / 9) / 2)
    # More than three windows behind.
    assert nab.score([series()], [[77]]) == pytest.approx(-5.5)
    # Distance is from the last window that has passed.
    two = [series(windows=((20, 29), (60, 69)))]
    assert nab.score(two, [[72]]) == pytest.approx(100 * 0.11 * sigma(3 / 9) / 4)


def test_the_probationary_rows_do_not_count():
    assert nab.score([series()], [[0, 5, 14]]) == 0.0
    assert nab.score([series()], [[15]]) < 0.0


def test_the_best_threshold_is_the_best_of_all():
    rng = np.random.default_rng(4)
    s = [series(windows=((30, 44), (60, 69))), series(windows=()), series(80, ((50, 59),))]
    scores = [np.round(rng.random(len(one.x)), 2) for one in s]
    found, best = nab.best_threshold(s, scores)
    tried = {t: nab.score(s, [np.flatnonzero(v >= t) for v in scores]) for t in np.unique(np.concatenate(scores))}
    assert best == pytest.approx(max(0.0, *tried.values()))
    assert best == 0.0 or tried[found] == pytest.approx(best)


def test_no_threshold_where_silence_is_best():
    assert nab.best_threshold([series(windows=()), series()], [np.ones(100), np.zeros(100)]) == (math.inf, 0.0)


def test_the_development_series():
    if not (nab.data_dir() / "nab").is_dir():
        pytest.skip(f"no NAB series in {nab.data_dir()}; set STREAMRNN_DATA to the folder that holds nab/")
    s = nab.load()
    assert len(s) == 29
    for one in s:
        assert np.isfinite(one.x).all()
        assert len(one.t) == len(one.x)
        assert all(0 <= first <= last < len(one.x) for first, last in one.windows)
        assert all(a[1] < b[0] for a, b in zip(one.windows, one.windows[1:], strict=False))
    assert nab.score(s, [[] for _ in s]) == 0.0
    assert nab.score(s, [[first for first, _ in one.windows] for one in s]) == pytest.approx(100.0)


def test_a_data_folder_can_be_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMRNN_DATA", str(tmp_path / "b"))
    assert nab.data_dir() == tmp_path / "b"
    assert nab.data_dir(tmp_path) == tmp_path
    with pytest.raises(FileNotFoundError):
        nab.load(tmp_path)
