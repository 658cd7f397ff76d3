"""`streamrnn import`, and what `streamrnn info` then says: files, flags, a TOML beside, one line for what is wrong."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from streamrnn import Model
from streamrnn.cli import run

DATA = Path(__file__).parent / "data"


def brought(capsys, *arguments):
    """(exit status, standard output, standard error) of `streamrnn import`."""
    status = run(["import", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_a_forecast_s_horizon_and_spread_are_said_by_flags_or_a_file(out, capsys, tmp_path):
    from onnx_graphs import Graph

    graph = Graph()
    graph.cell("GRU", 5, linear_before_reset=1)
    graph.dense(9)
    source = graph.save(tmp_path / "m.onnx")
    flags = ("--head", "forecast", "--horizon", "10", "--spread", "quantile", "--quantiles", "0.2,0.8")
    status, _, said = brought(capsys, source, "-o", out, *flags)
    assert (status, said) == (0, "")
    spec = Model.load(out).spec
    assert (spec.horizon, spec.spread, spec.quantiles) == (10, "quantile", (0.2, 0.8))
    assert spec.outputs[-1] == "x2_q80"
    assert spec.provenance["parity"]["max_difference"] <= 1e-5
    (tmp_path / "m.toml").write_text('head = "forecast"\nhorizon = 10\nspread = "quantile"\nquantiles = [0.2, 0.8]\n')
    assert brought(capsys, source, "-o", tmp_path / "again.safetensors")[0] == 0
    assert Model.load(tmp_path / "again.safetensors").fingerprint == Model.load(out).fingerprint
    for wrong, message in (
        (("--horizon", "0"), "horizon is 0"),
        (("--horizon", "x"), "horizon: 'x' is not a number"),
        (("--spread", "none"), "quantiles"),
        (("--spread", "gaussian", "--quantiles", "0.1,0.9"), "n_out = 2 n_in"),
        (("--quantiles", "0.9,0.1"), "between 0 and 0.5"),
    ):
        status, printed, said = brought(capsys, source, "-o", tmp_path / "no.safetensors", *wrong)
        assert (status, printed) == (2, "")
        assert message in said
        assert not (tmp_path / "no.safetensors").exists()


@pytest.fixture
def out(tmp_path):
    return tmp_path / "m.safetensors"


def test_a_file_becomes_a_model_that_other_commands_take(out, capsys, tmp_path):
    arguments = ("--features", "hr,resp,spo2", "--units", "1/min,1/min,%")
    status, printed, said = brought(capsys, DATA / "torch-gru.onnx", "-o", out, *arguments)
    assert (status, said) == (0, "")
    assert "gru 3 -> 5" in printed
    assert "layer norm 5" in printed
    assert "largest difference" in printed
    assert "over 1,000 steps against onnxruntime" in printed
    model = Model.load(out)
    assert model.spec.features == ("hr", "resp", "spo2")
    assert model.spec.provenance["parity"]["max_difference"] <= 1e-5

    assert run(["info", str(out), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["provenance"]["source"] == "torch-gru.onnx"
    assert [layer.get("kind", "recurrent") for layer in facts["layers"]] == ["recurrent", "layer_norm", "dense"]
    assert facts["step"]["flops"] == 2 * (3 * 5 * (3 + 5) + 3 * 5 + 5 * 7 + 7 * 2)
    assert facts["step"]["weight_bytes"] == 4 * facts["parameters"]
    assert 0 < facts["step"]["burst_us"] < facts["step"]["alone_us"]

    assert run(["info", str(out), "--measure"]) == 0
    text = capsys.readouterr().out
    assert all(part in text for part in ("predicted", "measured", "FLOPs", "parity"))

    (tmp_path / "bed.csv").write_text("time_s,hr,spo2,resp\n" + "".join(f"{i},80,97,15\n" for i in range(5)))
    assert run(["score", str(tmp_path / "bed.csv"), "--model", str(out)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 5
    assert float(rows[0]["resp"]) == 15.0


def test_json(out, capsys):
    status, printed, _ = brought(capsys, DATA / "torch-rnn.onnx", "-o", out, "--json")
    assert status == 0
    assert json.loads(printed)["provenance"]["parity"]["steps"] == 1000


def test_a_toml_beside_the_source_and_flags_above_it(out, capsys, tmp_path):
    shutil.copy(DATA / "torch-lstm.onnx", tmp_path / "net.onnx")
    (tmp_path / "net.toml").write_text(
        'features = ["a", "b", "c"]\nhead = "classify"\nmean = [1, 2, 3.5]\nscale = [1, 1, 2]\n'
        "[detector]\nthreshold = 2\nhold = 5\n"
    )
    status, _, said = brought(capsys, tmp_path / "net.onnx", "-o", out, "--features", "x,y,z", "--detector", "hold=7")
    assert (status, said) == (0, "")
    spec = Model.load(out).spec
    assert spec.features == ("x", "y", "z")
    assert (spec.head, spec.normaliser) == ("classify", "fixed")
    assert dict(spec.detector) == {"threshold": 2.0, "hold": 7.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("features = 3", "must be a list"),
        ('horizon = "ten"', "must be a whole number"),
        ("colour = 3", "unknown key 'colour'"),
        ("features = [", "cannot read"),
        ('mean = ["a", "b", "c"]\nscale = [1, 1, 1]', "'a' is not a number"),
        ('order = ["rnn"]', "order says nothing about a network from onnx"),
    ],
)
def test_a_wrong_toml_is_refused(text, message, out, capsys, tmp_path):
    (tmp_path / "m.toml").write_text(text)
    status, _, said = brought(capsys, DATA / "torch-lstm.onnx", "-o", out, "--meta", tmp_path / "m.toml")
    assert status == 2
    assert message in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([DATA / "keras-export-gru.onnx"], "Loop"),
        ([DATA / "none.onnx"], "none.onnx"),
        ([DATA / "make_keras.py"], "--from torch, onnx or keras"),
        ([DATA / "make_keras.py", "--from", "onnx"], "no ONNX file"),
        ([DATA / "make_keras.py", "--from", "caffe"], "torch, onnx, keras"),
        ([DATA / "torch-gru.onnx", "--tolerance", "1e-12"], "--tolerance"),
        ([DATA / "torch-gru.onnx", "--head", "oracle"], "'oracle'"),
        ([DATA / "torch-gru.onnx", "--detector", "threshold"], "--detector threshold=4"),
        ([DATA / "torch-gru.onnx", "--mean", "1,b,3", "--scale", "1,1,1"], "'b' is not a number"),
        ([DATA / "torch-gru.onnx", "--mean", "1,nan,3", "--scale", "1,1,1"], "mean (--mean) is nan for channel 1"),
        ([DATA / "torch-gru.onnx", "--mean", "1,2,3", "--scale", "1,1,0"], "scale (--scale) is 0 for channel 2"),
        ([DATA / "torch-gru.onnx", "--features", "a,b"], "features needs 3 names, one a channel; it has 2: a, b"),
        ([DATA / "torch-gru.onnx", "--features", "a,b,a"], "'a' is there twice"),
        ([DATA / "torch-gru.onnx", "--detector", "hold=long"], "--detector hold: 'long' is not a number"),
        ([DATA / "torch-gru.onnx", "--head", "forecast", "--horizon", "2.5"], "'2.5' is not a whole number"),
        ([DATA / "torch-gru.onnx", "--meta", DATA / "none.toml"], "none.toml: No such file or directory"),
        ([DATA], "--from torch, onnx or keras"),
        ([DATA, "--from", "torch"], "Is a directory"),
        ([DATA / "torch-gru.onnx", "--order", "a,b"], "order says nothing"),
        ([DATA / "keras-lstm.weights.h5"], "--config"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(arguments, message, out, capsys):
    out.write_bytes(b"what was there before")
    status, printed, said = brought(capsys, *arguments, "-o", out, "--force")
    assert status == 2
    assert printed == ""
    assert message in said
    assert said.count("\n") == 1
    assert out.read_bytes() == b"what was there before"
    assert list(out.parent.iterdir()) == [out]


def test_a_file_that_is_there_is_replaced_only_when_asked(out, capsys):
    source = out.with_name("net.safetensors")
    Model.random("gru", n_in=3, hidden=4).save(source)
    out.write_bytes(b"what was there before")
    status, _, said = brought(capsys, DATA / "torch-gru.onnx", "-o", out)
    assert status == 2
    assert "--force" in said
    assert out.read_bytes() == b"what was there before"
    assert brought(capsys, DATA / "torch-gru.onnx", "-o", out, "--force")[0] == 0
    assert Model.load(out).spec.n_out == 2
    before = source.read_bytes()
    status, _, said = brought(capsys, source, "-o", source, "--force")
    assert status == 2
    assert "is what is read" in said
    assert source.read_bytes() == before


def test_the_libraries_are_loaded_only_when_they_are_needed():
    code = (
        "import sys, streamrnn.model.importers, streamrnn.model.importers.torch, streamrnn.model.importers.onnx, "
        "streamrnn.model.importers.keras\n"
        "print(sorted({'torch', 'onnx', 'onnxruntime', 'keras', 'h5py'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
