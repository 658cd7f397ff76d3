"""`streamrnn bench`: what it says, in what form, and that it times nothing that is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from streamrnn import Engine, Model
from streamrnn.cli import bench, run
from streamrnn.measure import Report


@pytest.fixture
def short(monkeypatch):
    """The same in a second."""
    monkeypatch.setattr(bench, "BATCHES", (1, 40))
    monkeypatch.setattr(bench, "CALLS", 60)
    monkeypatch.setattr(bench, "ROUNDS", 2)
    monkeypatch.setattr(bench, "WARM", 5)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    Model.random("gru", n_in=3, hidden=8, n_out=2, seed=1).save(path)
    return path


def test_json_of_a_model_file(short, model, capsys):
    assert run(["bench", str(model), "--threads", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["model"] == str(model) and said["threads"] == 2
    assert (said["n_in"], said["n_out"]) == (3, 2)
    rows = {(row["question"], row["name"], row.get("streams")): row for row in said["rows"]}
    assert set(rows) == {
        ("step", "p50", None),
        ("step", "p99", None),
        ("step", "p99.9", None),
        ("step", "max", None),
        ("batch", "step_many", 1),
        ("batch", "step_many", 40),
        ("stream", "total", None),
    }
    for row in rows.values():
        assert 0 < row["low"] <= row["median"] <= row["high"]
    assert rows["step", "p50", None]["median"] <= rows["step", "p99", None]["median"]
    assert rows["step", "p50", None]["rounds"] == 2
    assert rows["step", "p99.9", None]["median"] <= rows["step", "max", None]["median"]
    assert rows["batch", "step_many", 40]["rounds"] == 2
    assert said["machine"]["cores"] >= 1 and said["versions"]["streamrnn"]


def test_a_table_for_people(short, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["bench", "--n-in", "2"]) == 0
    said = capsys.readouterr().out
    assert "adaptive, 2 channels, on" in said and "checked" in said
    assert (
        "step from Python, p99.9" in said
        and "engine.step(handle, x)" in said
        and "step_many of 40" in said
        and "memory of a stream" in said
    )
    assert "…" not in said, "something does not fit into 80 columns"


@pytest.mark.parametrize(("load", "noted"), [(0.9, False), (1.1, True), (None, False)])
def test_a_busy_machine_is_named(load, noted, monkeypatch):
    monkeypatch.setattr("streamrnn.measure.machine", lambda: {"load": load, "cores": 2})
    report = Report("bench")
    bench.busy(report)
    assert [note.startswith("1.1 programs ran on 2 processors") for note in report.notes] == [True] * noted


def test_progress_is_for_terminals_and_on_stderr(short, monkeypatch, capsys):
    assert run(["bench", "--n-in", "1", "--json"]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert run(["bench", "--n-in", "1", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "timing batches" in err
    json.loads(out)


def test_a_wrong_result_is_not_timed(short, monkeypatch):
    step = Engine.step

    def wrong(self, *args, **kwargs):
        out = step(self, *args, **kwargs)
        return out._replace(y=np.nextafter(out.y, np.float32(np.inf)))

    monkeypatch.setattr(Engine, "step", wrong)
    monkeypatch.setattr(bench, "single", lambda *_: pytest.fail("timed"))
    with pytest.raises(SystemExit, match="not timed"):
        run(["bench", "--n-in", "1"])


def test_no_such_model(capsys):
    assert run(["bench", "nowhere.safetensors"]) == 2
    assert "nowhere.safetensors" in capsys.readouterr().err


def test_channels_are_the_model_s_where_it_is_a_file(model, capsys):
    assert run(["bench", str(model), "--n-in", "4"]) == 2
    assert "takes 3 channels" in capsys.readouterr().err


def test_what_does_not_fit_into_memory_is_left_out_or_refused(short, monkeypatch, capsys):
    monkeypatch.setattr("streamrnn.measure.available_memory", lambda: 80_000_000)
    monkeypatch.setattr(bench, "BATCHES", (1, 40, 10_000))
    assert run(["bench", "--n-in", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [row["streams"] for row in said["rows"] if row["question"] == "batch"] == [1, 40]
    assert "[10000]" in said["notes"][0]
    assert run(["bench", "--threads", "1000"]) == 2
    assert "lower --threads" in capsys.readouterr().err


def test_a_large_network_is_not_stepped_for_minutes(short, monkeypatch, capsys):
    monkeypatch.setattr(bench, "PATIENCE", 0.0)
    monkeypatch.setattr(bench, "CALLS", 10**9)
    monkeypatch.setattr(bench, "WARM", 10**9)
    assert run(["bench", "--n-in", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"]
