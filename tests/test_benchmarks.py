"""The benchmarks' own arithmetic: floors that can fail, tables from figures, and a document with a place for each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import floors
import gpu
import peers
import pytest
import report
from cases import LSTM, PARITY, STAC, TIMED, Case
from contestants import CONTESTANTS

from streamrnn.measure import Report


def test_every_shape_that_is_timed_is_compared_with_the_oracle():
    assert all(case in PARITY for row in TIMED.values() for case in row)


def test_weights_of_a_case():
    assert Case("lstm", 4, (16,), 4).weights == 4 * 16 * (4 + 16)
    assert Case("gru", 3, (5, 7), 1).weights == 3 * 5 * (3 + 5) + 3 * 7 * (5 + 7)
    assert STAC["LSTM_A"].weights == 2 * 4 * 100 * 200
    assert LSTM[0].flops == 2 * LSTM[0].weights


def test_a_ratio_below_its_floor_fails():
    limits = floors.read_floors()
    assert all(value > 0 for value in limits.values())
    fine = {name: 1.01 * value for name, value in limits.items()}
    assert floors.failures(fine, limits) == []
    (slow,) = floors.failures(fine | {"tile_of_fma": 0.9 * limits["tile_of_fma"]}, limits)
    assert slow.startswith("tile_of_fma is ")
    assert len(floors.failures(dict.fromkeys(limits, float("nan")), limits)) == len(limits)
    with pytest.raises(KeyError, match="elman"):
        floors.failures({k: v for k, v in fine.items() if k != "elman_of_lstm"}, limits)


def test_a_regression_fails_at_the_third_attempt(monkeypatch, capsys):
    limits, asked = floors.read_floors(), []
    slow = {name: 0.5 * value for name, value in limits.items()}
    monkeypatch.setattr(floors, "check", lambda: None)
    monkeypatch.setattr(floors, "ratios", lambda: asked.append(1) or slow)
    with pytest.raises(SystemExit, match="slower than it was"):
        floors.main()
    assert len(asked) == floors.ATTEMPTS
    fine = {name: 2 * value for name, value in limits.items()}
    monkeypatch.setattr(floors, "ratios", lambda: asked.append(1) or (fine if len(asked) == 5 else slow))
    floors.main()
    assert len(asked) == 5


@pytest.mark.parametrize("name", [name for name, (_, needs) in CONTESTANTS.items() if needs is None])
def test_our_own_contestants_are_the_network_that_the_oracle_is(name):
    streams = 1 if name in ("streamrnn loop", "streamrnn engine.step") else 5
    assert peers.wrong_by(LSTM[0], streams, CONTESTANTS[name][0](LSTM[0], streams)) <= peers.TOLERANCE


def figures() -> dict[str, Report]:
    """Reports with a row for every question that the document asks."""
    kernels, peers, memory, start, wire = (Report(n) for n in ("kernels", "peers", "memory", "start", "wire"))
    kernels.add("ceilings", "fma", "GFLOP/s", [240.0])
    for hidden in (16, 64):
        for cell in ("lstm", "gru"):
            for question in ("step", "tile"):
                kernels.add(
                    question, cell, "ns", [9.0, 10.0, 11.0], hidden=hidden, gflops=100.0, ceiling="l1", of_ceiling=0.5
                )
            kernels.add("batch", cell, "ns", [123_456.0], hidden=hidden, streams=1024)
        kernels.add("hidden", "bare", "ns", [10.0], hidden=hidden, streams=1)
        for question, names in (
            ("single", ("streamrnn engine.step", "a")),
            ("many", ("streamrnn step_many, no detector", "streamrnn step_many", "a", "b")),
        ):
            for i, name in enumerate(names):
                peers.add(question, name, "ns", [100.0 * 1.5**i], hidden=hidden, streams=1024)
    for q in (50, 99):
        peers.add("stac", "a", "ns", [2000.0], shape="LSTM_A", percentile=q, weight_bytes=640_000)
    kernels.add("streams", "batch", "ns", [5.0], hidden=32, streams=1000)
    memory.add("stream", "lstm-16", "bytes", [1800.0], streams=100)
    start.add("start", "first", "s", [22.0])
    wire.add("throughput", "native", "samples/s", [500_000.0], endpoint="ipc")
    for rate in (1000, 10_000):
        wire.add("open", "native", "us", [40.0, 50.0], rate=rate, q=99.9)
    return {r.benchmark: r for r in (kernels, peers, memory, start, wire)}


def test_the_document_has_a_place_for_every_table(tmp_path, monkeypatch):
    document = tmp_path / "benchmarks.md"
    document.write_text(report.DOCUMENT.read_text())
    monkeypatch.setattr(report, "DOCUMENT", document)
    monkeypatch.setattr(report, "plots", lambda results: [])
    for name, figure in figures().items():
        figure.write(tmp_path / "results" / f"{name}.json")
    monkeypatch.setattr("sys.argv", ["report.py", "--results", str(tmp_path / "results")])
    report.main()
    text = document.read_text()
    assert "not measured yet" not in text
    assert "| lstm | 123,000 | 123,000 |" in text
    assert "| **the best of them, 1,024, no detector** | **2.25x** | **2.25x** |" in text
    assert "| **the best of them, 1,024, with score** | **1.50x** | **1.50x** |" in text
    assert "| LSTM_A, a | 2 | 2 | 320 |" in text
    assert "| native | 1,000 | 99.9 | 45 µs | 42.5 to 47.5 |" in text
    assert "(benchmarks-rate.png)" in text
    assert text.count("Measured 20") == 5, "each benchmark says where and when it ran"
    report.main()
    assert document.read_text() == text


def test_a_part_without_marks_is_an_error():
    assert report.replaced("<!-- begin a -->\nold\n<!-- end a -->\n", "a", "new") == (
        "<!-- begin a -->\nnew\n<!-- end a -->\n"
    )
    with pytest.raises(ValueError, match="begin b"):
        report.replaced("<!-- begin a -->\nold\n<!-- end a -->\n", "b", "new")


def test_plots_where_matplotlib_is(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="plots need matplotlib: pip install -e '.[bench]'")
    monkeypatch.setattr(report, "DOCS", tmp_path)
    drawn = report.plots({name: json.loads(json.dumps(r.as_dict())) for name, r in figures().items()})
    assert [p.name for p in drawn] == ["benchmarks-hidden.png", "benchmarks-streams.png", "benchmarks-rate.png"]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in drawn)


@pytest.mark.parametrize(
    ("value", "text"), [(0.01234, "0.0123"), (99.94, "99.9"), (1234.5, "1,230"), (2e6, "2,000,000")]
)
def test_numbers(value, text):
    assert report.number(value) == text


def test_where_no_gpu_can_be_used_its_benchmark_says_so_and_measures_nothing(tmp_path):
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "NUMBA_ENABLE_CUDASIM": "0"}
    command = [sys.executable, str(Path(gpu.__file__)), f"--json={tmp_path}/gpu.json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env)
    assert done.returncode == gpu.NO_GPU == 77
    assert done.stderr.startswith("no GPU can be used, and nothing was measured: ")
    assert "looked for numba-cuda (" in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "gpu.json").exists()


def test_where_the_gpu_overtakes():
    assert gpu.crossover({1: 9.0, 64: 9.0}, {1: 1.0, 64: 2.0}) is None
    assert gpu.crossover({1: 9.0, 64: 9.0, 256: 9.0}, {1: 10.0, 64: 2.0, 256: 10.0}) == 256
    assert gpu.crossover({1: 9.0, 64: 9.0}, {1: 10.0, 64: 10.0}) == 1
