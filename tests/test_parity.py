"""The benchmark that prints how far results are from the truth: what it measures, and that it can fail."""

from __future__ import annotations

import json
import sys

import networks  # noqa: F401  (which lets benchmarks be imported)
import numpy as np
import parity
import pytest
from cases import Case

SMALL = (Case("lstm", 3, (7,), 2), Case("gru", 2, (5, 4), 1))


@pytest.fixture(autouse=True)
def few_cases(monkeypatch):
    monkeypatch.setattr(parity, "PARITY", SMALL)


def run(monkeypatch, tmp_path, *options):
    monkeypatch.setattr(sys, "argv", ["parity.py", "--steps", "30", "--json", str(tmp_path / "p.json"), *options])
    parity.main()
    return json.loads((tmp_path / "p.json").read_text())["rows"]


def test_differences_are_those_of_float32(monkeypatch, tmp_path, capsys):
    rows = run(monkeypatch, tmp_path, "--cpus")
    assert {(row["question"], row["name"]) for row in rows} == {
        (question, case.name) for question in ("oracle", "onnx", "own") for case in SMALL
    }
    assert all(0 < row["median"] < parity.TOLERANCE for row in rows)
    assert "digest on this CPU" in capsys.readouterr().out


def test_a_wrong_result_fails(monkeypatch, tmp_path):
    right = parity.ours
    monkeypatch.setattr(parity, "ours", lambda case, x: right(case, x) + np.float32(1e-3))
    with pytest.raises(SystemExit, match="lstm-3-7-2.*from oracle"):
        run(monkeypatch, tmp_path, "--cpus")


def test_another_digest_fails(monkeypatch, tmp_path):
    monkeypatch.setattr(parity, "digest_on", lambda cpu, steps: "0" * 64)
    with pytest.raises(SystemExit, match="haswell gives other bits"):
        run(monkeypatch, tmp_path, "--cpus", "haswell")


def test_a_difference_is_relative_above_one():
    assert parity.apart(np.array([0.5, 101.0]), np.array([0.25, 100.0])) == 0.25
    assert parity.apart(np.array([np.nan]), np.array([0.0])) != 0.0
