"""ONNX graphs that a live stream cannot run, and files that are damaged: refused in words that name what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_graphs import Graph

from streamrnn import Model
from streamrnn.errors import SourceError

DATA = Path(__file__).parent / "data"


def bidirectional(g):
    g.cell("LSTM", 5, directions=2, direction="bidirectional", squeeze=False)


def backwards(g):
    g.cell("GRU", 5, direction="reverse")


def peepholes(g):
    g.cell("LSTM", 5, rest=("", "", "", g.random(1, 15)))


def coupled(g):
    g.cell("LSTM", 5, input_forget=1)


def started(g):
    g.cell("GRU", 5, rest=("", g.random(1, 1, 5)))


def lengths(g):
    g.cell("GRU", 5, rest=(g.constant(np.array([2], np.int32)),))


def strange_activation(g):
    g.cell("RNN", 5, activations=["Softsign"])


def residual(g):
    g.cell("LSTM", 3)
    g.node("Add", "x")


def attention(g):
    g.cell("LSTM", 5)
    h = g.last
    g.node("Transpose", perm=[1, 2, 0])
    g.node("MatMul", g.last, first=h)


def pooled(g):
    g.cell("LSTM", 5)
    g.node("ReduceMean", axes=[0])


def over_time(g):
    g.cell("LSTM", 5)
    g.node("Softmax", axis=0)


def first_step(g):
    g.cell("LSTM", 5)
    g.node("Gather", g.constant(np.array(0)), axis=0)
    g.dense(2)


def flattened(g):
    g.cell("LSTM", 5)
    g.node("Reshape", g.constant(np.array([1, -1])))
    g.dense(2)


def logs(g):
    g.cell("LSTM", 5)
    g.node("LogSoftmax")


def unused(g):
    g.cell("LSTM", 5)
    g.constant(np.ones(7, "f"), "forgotten")


def nothing_recurrent(g):
    g.dense(5)


def shifted_norm(g):
    g.cell("LSTM", 5)
    g.node("Mul", g.last)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (bidirectional, "bidirectional LSTM.*future.*forwards only"),
        (backwards, "'reverse'"),
        (peepholes, "peepholes"),
        (coupled, "input_forget"),
        (started, "state that is not zero"),
        (lengths, "lengths of sequences"),
        (strange_activation, "'Softsign'; known are"),
        (residual, "joins branches"),
        (attention, "MatMul"),
        (pooled, "shape"),
        (over_time, "softmax over other than the features"),
        (first_step, "other than all steps, or the last"),
        (flattened, "several steps at once"),
        (logs, "LogSoftmax.*logits"),
        (unused, "'forgotten'"),
        (nothing_recurrent, "no recurrent layer"),
        (shifted_norm, "neither a layer norm nor"),
    ],
)
def test_what_a_live_stream_cannot_do_is_refused_by_name(build, message, tmp_path):
    graph = Graph()
    build(graph)
    path = graph.save(tmp_path / "m.onnx")
    with pytest.raises(SourceError, match=f"(?s){message}"):
        Model.from_onnx(path)


def test_an_operator_of_another_domain_is_named(tmp_path):
    graph = Graph()
    graph.cell("LSTM", 5)
    graph.node("FusedGelu", domain="com.microsoft")
    path = graph.save(tmp_path / "m.onnx", check=False)
    with pytest.raises(SourceError, match=r"FusedGelu.*com\.microsoft"):
        Model.from_onnx(path)


@pytest.mark.parametrize(
    ("shape", "kind", "message"),
    [
        (("t", "b", 3), TensorProto.INT64, "INT64"),
        (("t", "b", "f"), TensorProto.FLOAT, "number of features"),
        ((4, 4, 3), TensorProto.FLOAT, "batch of 1"),
        ((3,), TensorProto.FLOAT, "must be"),
    ],
)
def test_an_input_that_is_no_stream_of_samples_is_refused(shape, kind, message, tmp_path):
    graph = Graph()
    graph.cell("LSTM", 5)
    graph.inputs = [helper.make_tensor_value_info("x", kind, list(shape))]
    onnx.save(graph.proto(check=False), tmp_path / "m.onnx")
    with pytest.raises(SourceError, match=message):
        Model.from_onnx(tmp_path / "m.onnx")


def test_loops_of_exporters_are_refused_with_the_way_out():
    with pytest.raises(SourceError, match="Loop.*Keras or PyTorch model itself"):
        Model.from_onnx(DATA / "keras-export-gru.onnx")
    with pytest.raises(SourceError, match="unrolled.*dynamo=False"):
        Model.from_onnx(DATA / "torch-dynamo-rnn.onnx")


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e30])
def test_a_number_that_no_model_holds_is_named_as_in_the_file(value, tmp_path):
    graph = onnx.load(DATA / "torch-gru.onnx")
    tensor = next(t for t in graph.graph.initializer if onnx.numpy_helper.to_array(t).ndim == 1)
    array = onnx.numpy_helper.to_array(tensor).copy()
    array[-1] = value
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    onnx.save(graph, tmp_path / "m.onnx")
    with pytest.raises(
        SourceError,
        match=rf"tensor '{tensor.name}' of shape .* holds {value:g} at \[{len(array) - 1}\]".replace("+", r"\+"),
    ):
        Model.from_onnx(tmp_path / "m.onnx")


@given(at=st.integers(0, 100_000), byte=st.integers(0, 255), cut=st.integers(0, 100_000))
@settings(max_examples=40, deadline=None)
def test_a_damaged_file_is_refused_or_read(at, byte, cut, tmp_path_factory):
    data = bytearray((DATA / "torch-gru.onnx").read_bytes())
    data[at % len(data)] = byte
    path = tmp_path_factory.mktemp("m") / "m.onnx"
    path.write_bytes(data[: 1 + cut % len(data)] if cut % 2 else data)
    try:
        Model.from_onnx(path)
    except SourceError:
        return
