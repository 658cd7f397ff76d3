"""The benchmark of ten million samples: it compares with the last value, and it can fail."""

from __future__ import annotations

import json
import sys

import networks  # noqa: F401  (which lets benchmarks be imported)
import numpy as np
import pytest
import stability


def run(monkeypatch, tmp_path, *scenarios):
    argv = ["stability.py", "--samples", "100_000", "--hidden", "8", "--json", str(tmp_path / "s.json"), "--only"]
    monkeypatch.setattr(sys, "argv", [*argv, *scenarios])
    stability.main()
    return json.loads((tmp_path / "s.json").read_text())["scenarios"]


def test_noise_is_forecast_better_than_by_its_last_value(monkeypatch, tmp_path):
    found = run(monkeypatch, tmp_path, "noise", "spikes", "constant", "gaps")
    ratio, worse = np.array([rows[-1][3:] for rows in found.values()]).T
    assert list(found) == ["constant", "noise", "spikes", "gaps"]
    np.testing.assert_allclose(ratio[:3], [1.0, 0.71, 0.71], atol=0.03)
    assert ratio[3] < 0.9
    assert not worse.any()


def test_a_forecast_that_is_worse_fails(monkeypatch, tmp_path):
    """A scale that falls by twelve orders of magnitude and rises again before the model has followed."""

    def alternating(i, rng):
        return np.where((i // 20_000) % 2 == 0, 1e-6, 1e6) * rng.normal(size=len(i))

    monkeypatch.setattr(stability, "SCENARIOS", (alternating,))
    with pytest.raises(SystemExit, match="alternating: worse than the last value"):
        run(monkeypatch, tmp_path)


def test_neither_a_spike_nor_a_gap_decides():
    x = np.ones(1000)
    ours, naive = np.full(1000, 0.5), np.full(1000, 1.0)
    ours[:3], naive[3:5], ours[10] = 1e30, 1e30, np.nan
    assert stability.by_last_value(ours, naive, x) == pytest.approx(0.5, rel=1e-5)
    assert stability.by_last_value(np.zeros(9), np.zeros(9), np.zeros(9)) == 1.0
    assert stability.by_last_value(np.full(9, np.nan), np.full(9, np.nan), np.full(9, np.nan)) == 1.0
