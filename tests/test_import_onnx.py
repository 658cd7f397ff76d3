"""ONNX: files of four exporters and graphs of every form, against ONNX Runtime; what cannot be read, in words."""

from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import samples
from onnx_graphs import Graph

from streamrnn import Engine, Model
from streamrnn.errors import SourceError

DATA = Path(__file__).parent / "data"
STEPS = 50


def layers(model):
    return [getattr(layer, "cell", layer.kind) for layer in model.spec.layers]


def parity(model):
    found = model.spec.provenance["parity"]
    assert isinstance(found, dict), found
    assert found["steps"] == 1000
    return found["max_difference"]


@pytest.mark.parametrize(
    ("name", "found", "head"),
    [
        ("torch-lstm", ["lstm", "lstm"], "regress"),
        ("torch-dynamo-lstm", ["lstm", "lstm"], "regress"),
        ("torch-gru", ["gru", "layer_norm", "dense"], "regress"),
        ("torch-dynamo-gru", ["gru", "layer_norm", "dense"], "regress"),
        ("torch-rnn", ["rnn_relu"], "classify"),
        ("torch-step", ["lstm", "lstm"], "regress"),
        ("torch-dynamo-step", ["lstm", "lstm"], "regress"),
        ("keras-export-lstm", ["lstm", "lstm"], "regress"),
        ("keras-export-norm", ["lstm", "layer_norm", "dense"], "regress"),
        ("tf2onnx-lstm", ["lstm", "lstm"], "regress"),
        ("tf2onnx-norm", ["lstm", "layer_norm", "dense"], "regress"),
    ],
)
def test_what_exporters_write_is_understood(name, found, head):
    model = Model.from_onnx(DATA / f"{name}.onnx")
    assert layers(model) == found
    assert model.spec.head == head
    assert parity(model) <= 1e-5
    assert "onnxruntime" in model.spec.provenance["parity"]["against"]
    assert len(model.spec.provenance["sha256"]) == 64


def test_both_exporters_of_torch_give_the_same_model():
    old, new = (Model.from_onnx(DATA / f"torch-{name}.onnx") for name in ("lstm", "dynamo-lstm"))
    assert old.fingerprint == new.fingerprint


def test_the_exports_of_keras_give_what_keras_gave():
    expected = np.load(DATA / "keras-norm.npz")
    model = Model.from_onnx(DATA / "keras-export-norm.onnx")
    y = Engine(model, capacity=1).step_many(["s"] * len(expected["x"]), expected["x"]).y
    assert np.abs(y - expected["y"]).max() <= 1e-5


def in_runtime(path, x, axis=0):
    """All steps by ONNX Runtime, float32 (T, n_out)."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    shape = [1, 1, x.shape[1]]
    shape[axis] = len(x)
    (y,) = session.run(None, {"x": x.reshape(shape)})
    return y.reshape(len(x), -1)


def check(graph, path, tolerance=1e-5):
    """Import the graph, and compare with ONNX Runtime by means that share nothing with the importer."""
    graph.save(path)
    model = Model.from_onnx(path)
    x = samples(STEPS, 3, seed=3)
    y = Engine(model, capacity=1).step_many(["s"] * STEPS, x).y
    truth = in_runtime(path, x)
    assert np.ptp(truth, axis=0).max() > 1e-4  # something is computed
    assert np.abs(y - truth).max() <= tolerance
    assert parity(model) <= tolerance
    return model


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("op", "attributes", "cell"),
    [
        ("RNN", {}, "rnn_tanh"),
        ("RNN", {"activations": ["Relu"], "clip": 0.8}, "rnn_relu"),
        ("RNN", {"activations": ["Sigmoid"]}, "rnn_sigmoid"),
        ("LSTM", {}, "lstm"),
        ("LSTM", {"clip": 0.3}, "lstm"),
        ("LSTM", {"activations": ["Sigmoid", "Relu", "Tanh"]}, "lstm"),
        ("GRU", {}, "gru_reset_before"),
        ("GRU", {"linear_before_reset": 0, "clip": 0.4}, "gru_reset_before"),
        ("GRU", {"linear_before_reset": 1}, "gru"),
        ("GRU", {"linear_before_reset": 1, "clip": 0.4}, "gru"),
        ("GRU", {"linear_before_reset": 1, "activations": ["Sigmoid", "Relu"]}, "gru"),
    ],
)
def test_every_form_of_cell_computes_what_onnx_runtime_computes(op, attributes, cell, bias, tmp_path):
    graph = Graph()
    graph.cell(op, 7, bias=bias, **attributes)
    model = check(graph, tmp_path / "m.onnx")
    assert layers(model) == [cell]
    assert model.spec.readout == "none"


@given(seed=st.integers(0, 1000), ops=st.lists(st.sampled_from(["RNN", "LSTM", "GRU"]), min_size=1, max_size=3))
@settings(max_examples=10, deadline=None)
def test_random_chains_agree(seed, ops, tmp_path_factory):
    graph = Graph(seed=seed)
    for k, op in enumerate(ops):
        graph.cell(op, 3 + (seed + k) % 5, **({"linear_before_reset": seed % 2} if op == "GRU" else {}))
    graph.node("LayerNormalization", graph.random(graph.width), graph.random(graph.width), epsilon=1e-3)
    graph.dense(6)
    graph.node(["Relu", "Tanh", "Sigmoid"][seed % 3])
    graph.dense(4)
    graph.node("Softmax", axis=-1)
    model = check(graph, tmp_path_factory.mktemp("m") / "m.onnx", 1e-4)
    assert model.spec.head == "classify"


def test_gemm_with_its_factors_and_a_flattened_batch(tmp_path):
    graph = Graph()
    graph.cell("LSTM", 5)
    graph.node("Reshape", graph.constant(np.array([-1, 5])))
    graph.node("Gemm", graph.random(2, 5), graph.random(2), transB=1, alpha=0.5, beta=2.0)
    check(graph, tmp_path / "m.onnx")


def test_a_normaliser_in_front_becomes_the_models(tmp_path):
    graph = Graph()
    graph.node("Sub", graph.constant(np.array([5, -3, 100], "f")))
    graph.node("Div", graph.constant(np.array([2, 0.5, 30], "f")))
    graph.cell("GRU", 5)
    model = check(graph, tmp_path / "m.onnx")
    assert model.spec.normaliser == "fixed"
    assert model.arrays["normaliser.mean"].tolist() == pytest.approx([5, -3, 100], rel=1e-5)
    assert model.arrays["normaliser.scale"].tolist() == pytest.approx([2, 0.5, 30], rel=1e-5)


def test_a_scale_after_a_dense_layer_goes_into_it(tmp_path):
    graph = Graph()
    graph.cell("GRU", 5)
    graph.dense(4)
    graph.node("Mul", graph.constant(np.array([2, 3, 4, -1], "f")))
    graph.node("Relu")
    graph.dense(2)
    assert layers(check(graph, tmp_path / "m.onnx")) == ["gru_reset_before", "dense"]


def test_a_layer_norm_in_pieces_is_seen(tmp_path):
    graph = Graph()
    graph.cell("LSTM", 6)
    h = graph.last
    graph.node("ReduceMean", axes=[-1], keepdims=1)
    graph.node("Sub", graph.last, first=h)
    centred = graph.last
    graph.node("Pow", graph.constant(np.float32(2)))
    graph.node("ReduceMean", axes=[-1], keepdims=1)
    graph.node("Add", graph.constant(np.float32(1e-3)))
    graph.node("Sqrt")
    graph.node("Div", graph.last, first=centred)
    graph.node("Mul", graph.random(6))
    graph.node("Add", graph.random(6))
    graph.dense(2)
    model = check(graph, tmp_path / "m.onnx")
    assert layers(model) == ["lstm", "layer_norm"]
    assert model.spec.layers[1].epsilon == pytest.approx(1e-3)


def test_the_batch_may_come_first(tmp_path):
    graph = Graph(shape=("batch", "time", 3))
    graph.node("Transpose", perm=[1, 0, 2])
    graph.cell("LSTM", 5)
    path = graph.save(tmp_path / "m.onnx")
    model = Model.from_onnx(path)
    x = samples(STEPS, 3, seed=3)
    y = Engine(model, capacity=1).step_many(["s"] * STEPS, x).y
    assert np.abs(y - in_runtime(path, x, axis=1)).max() <= 1e-5


def test_a_layout_with_the_batch_first_is_read_though_the_runtime_cannot_run_it(tmp_path):
    graph = Graph(shape=("batch", "time", 3))
    graph.cell("LSTM", 5, layout=1)
    plain = Graph()
    plain.cell("LSTM", 5)
    model = Model.from_onnx(graph.save(tmp_path / "m.onnx"))
    assert "ONNX Runtime cannot run" in model.spec.provenance["parity"]
    assert model.fingerprint == Model.from_onnx(plain.save(tmp_path / "n.onnx")).fingerprint


def test_a_fixed_window_is_compared_window_by_window_and_said(tmp_path):
    graph = Graph(shape=(20, 1, 3))
    names = graph.cell("LSTM", 5, squeeze=False)
    graph.node("Squeeze", graph.constant(np.array([0])), first=names[1])
    graph.dense(2)
    model = Model.from_onnx(graph.save(tmp_path / "m.onnx"))
    assert parity(model) <= 1e-5
    assert any("20 steps at a time" in note for note in model.spec.provenance["notes"])


def test_arithmetic_on_the_state_that_a_layer_ends_with(tmp_path):
    graph = Graph()
    names = graph.cell("GRU", 5, squeeze=False)
    graph.node("Mul", graph.constant(np.array([1, 2, 3, 4, 5], "f")), first=names[1])
    graph.dense(2)
    model = Model.from_onnx(graph.save(tmp_path / "m.onnx"))
    assert layers(model) == ["gru_reset_before", "dense"]
    assert parity(model) <= 1e-5


def test_weights_beside_the_file_are_read(tmp_path):
    model = onnx.load(DATA / "torch-lstm.onnx")
    onnx.save_model(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=16)
    assert (tmp_path / "m.data").stat().st_size > 1000
    assert Model.from_onnx(tmp_path / "m.onnx").fingerprint == Model.from_onnx(DATA / "torch-lstm.onnx").fingerprint
    (tmp_path / "m.data").write_bytes(b"")
    with pytest.raises(SourceError, match="damaged|no ONNX file"):
        Model.from_onnx(tmp_path / "m.onnx")


def test_a_constant_of_any_size_is_not_made(tmp_path):
    graph = Graph()
    graph.node("ConstantOfShape", first=graph.constant(np.array([10**6, 10**6])))
    zeros = graph.last
    graph.last = "x"
    graph.cell("GRU", 5, rest=("", zeros))
    with pytest.raises(SourceError, match="1e\\+12 elements"):
        Model.from_onnx(graph.save(tmp_path / "m.onnx"))


def test_an_output_is_named_where_there_are_several(tmp_path):
    graph = Graph()
    graph.cell("LSTM", 5)
    h = graph.last
    graph.dense(2)
    first = graph.last
    graph.last, graph.width = h, 5
    graph.dense(3)
    path = graph.save(tmp_path / "m.onnx", first, graph.last)
    with pytest.raises(SourceError, match="branches.*--graph-output"):
        Model.from_onnx(path)
    assert Model.from_onnx(path, output=first).spec.n_out == 2
    assert Model.from_onnx(path, output=graph.last).spec.n_out == 3
    with pytest.raises(SourceError, match="no output 'z'"):
        Model.from_onnx(path, output="z")


def test_a_difference_above_the_tolerance_fails_unless_told_otherwise():
    with pytest.raises(SourceError, match=r"differs from the original.*limit is 1e-12.*--tolerance"):
        Model.from_onnx(DATA / "torch-gru.onnx", tolerance=1e-12)
    model = Model.from_onnx(DATA / "torch-gru.onnx", check=False, tolerance=1e-12)
    assert model.spec.provenance["parity"] == "not compared: switched off"


def test_metadata_is_given_beside(tmp_path):
    model = Model.from_onnx(
        DATA / "torch-lstm.onnx",
        features=["a", "b", "c"],
        units=["V", "", "1/min"],
        head="classify",
        mean=[1, 2, 3],
        scale=[4, 5, 6],
        detector={"threshold": 2.0},
    )
    assert model.spec.features == ("a", "b", "c")
    assert model.spec.units == ("V", "", "1/min")
    assert model.spec.head == "classify"
    assert model.arrays["normaliser.scale"].tolist() == [4, 5, 6]
    assert model.spec.detector["threshold"] == 2.0
    model.save(tmp_path / "m.safetensors")
    again = Model.load(tmp_path / "m.safetensors")
    assert again.fingerprint == model.fingerprint
    assert again.spec.provenance == model.spec.provenance


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"features": ["a"]}, "features needs 3 names"),
        ({"head": "forecast"}, "n_out"),
        ({"head": "oracle"}, "'oracle'"),
        ({"mean": [1, 2, 3]}, "mean and scale"),
        ({"mean": [1, 2], "scale": [1, 2]}, "mean has 2 values"),
        ({"mean": [0, 0, 0], "scale": [1, 0, 1]}, "is 0 for channel 1; it must be above 0"),
        ({"detector": {"treshold": 1.0}}, "'treshold'"),
    ],
)
def test_wrong_metadata_is_refused(metadata, message):
    with pytest.raises(SourceError, match=message):
        Model.from_onnx(DATA / "torch-lstm.onnx", check=False, **metadata)


def test_without_onnx_the_message_names_the_extra(monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name.split(".")[0] == "onnx":
            raise ImportError("No module named 'onnx'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr("streamrnn.model.importers.needs.import_module", absent)
    with pytest.raises(SourceError, match=r"pip install 'streamrnn\[import\]'"):
        Model.from_onnx(DATA / "torch-lstm.onnx")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"none\.onnx"):
        Model.from_onnx(tmp_path / "none.onnx")
