"""Networks that begin with an embedding, from PyTorch, ONNX and Keras, against the originals on random tokens."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_graphs import Graph
from safetensors.numpy import save_file

from streamrnn import Engine, Model
from streamrnn.errors import SourceError
from streamrnn.model import EmbeddingSpec

T = 23
TORCH = find_spec("torch") is not None
KERAS = TORCH and find_spec("keras") is not None

needs_torch = pytest.mark.skipif(not TORCH, reason="PyTorch is not installed (extra parity)")
needs_keras = pytest.mark.skipif(not KERAS, reason="Keras and torch are not installed (extra parity)")

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")


def tokens(n=60, seed=1):
    return np.random.default_rng(seed).integers(0, T, n)


def own(model, x):
    return Engine(model, capacity=1).step_many(["s"] * len(x), x).y


def assert_imported(model, against):
    assert model.spec.layers[0] == EmbeddingSpec(T, 6)
    assert model.spec.tokens == T
    parity = model.spec.provenance["parity"]
    assert parity["against"].startswith(against)
    assert parity["max_difference"] <= 1e-5


# PyTorch


def talker(cell="LSTM", **options):
    from torch import nn

    class Talker(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(T, 6, **options)
            self.rnn = getattr(nn, cell)(6, 9, batch_first=True)
            self.out = nn.Linear(9, T)

        def forward(self, x):
            return self.out(self.rnn(self.embedding(x))[0])

    return Talker()


@needs_torch
@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_modules_of_torch_forecast_tokens(cell, tmp_path):
    import torch

    torch.manual_seed(3)
    module = talker(cell, padding_idx=0)
    model = Model.from_torch(module, head="forecast", detector={"surprise_mean": 4.0})
    assert_imported(model, "torch")
    assert model.spec.head == "forecast"
    x = tokens()
    with torch.no_grad():
        theirs = module(torch.from_numpy(x)[None]).softmax(-1)[0].numpy()
    assert np.abs(own(model, x) - theirs).max() <= 1e-6
    # A state dict names the table, and its file may have any order.
    again = Model.from_torch(module.state_dict(), head="forecast", detector={"surprise_mean": 4.0})
    assert again.fingerprint == model.fingerprint
    assert any("embedding, by its name" in note for note in again.spec.provenance["notes"])
    save_file({k: v.numpy() for k, v in module.state_dict().items()}, tmp_path / "m.safetensors")
    assert_imported(Model.from_torch(tmp_path / "m.safetensors"), "torch")


@needs_torch
def test_a_table_that_changes_as_it_is_read_is_refused():
    with pytest.raises(SourceError, match="embedding has max_norm"):
        Model.from_torch(talker(max_norm=1.0))


@needs_torch
def test_an_embedding_in_the_middle_is_refused():
    from torch import nn

    with pytest.raises(SourceError, match="only the first layer can be one"):
        Model.from_torch(nn.Sequential(nn.GRU(3, 1), nn.Embedding(T, 6)), check=False)


# ONNX


def graph(kind=TensorProto.INT64, shape=("batch", "time"), cast=None):
    g = Graph(n_in=6, seed=2)
    g.inputs = [helper.make_tensor_value_info("x", kind, list(shape))]
    if cast is not None:
        g.node("Cast", to=cast)
    g.node("Gather", g.last, first=g.random(T, 6), axis=0)
    if shape[0] == "batch" or (shape[0] == 1 and len(shape) > 1):
        g.node("Transpose", perm=[1, 0, 2])
    elif len(shape) == 1:
        g.node("Unsqueeze", g.constant(np.array([1])))
    g.cell("GRU", 7, linear_before_reset=1)
    g.dense(T)
    return g


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"kind": TensorProto.INT32},
        {"kind": TensorProto.INT32, "cast": TensorProto.INT64},
        {"kind": TensorProto.FLOAT, "cast": TensorProto.INT32},
        {"shape": ("time", 1)},
        {"shape": (12, 1)},
        {"shape": (1, "time")},
        {"shape": ("time",)},
    ],
    ids=str,
)
def test_graphs_with_a_gather_from_a_table(how, tmp_path):
    path = graph(**how).save(tmp_path / "m.onnx")
    model = Model.from_onnx(path, head="forecast")
    assert_imported(model, "onnxruntime")
    assert model.spec.outputs[0] == "p0"


def test_a_softmax_at_the_end_may_be_a_forecast(tmp_path):
    g = graph()
    g.node("Softmax", axis=-1)
    path = g.save(tmp_path / "m.onnx")
    logits = Model.from_onnx(graph().save(tmp_path / "n.onnx"), head="forecast")
    assert Model.from_onnx(path).spec.head == "classify"
    assert Model.from_onnx(path, head="forecast").fingerprint == logits.fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g.node("Gather", g.last, first=g.random(6, T), axis=1), "looks up columns"),
        (lambda g: g.node("OneHot", g.constant(np.array(T)), g.constant(np.array([0.0, 1.0], np.float32))), "OneHot"),
        (lambda g: g.node("Add", g.constant(np.array(1))), "Add"),
    ],
)
def test_other_ways_to_read_tokens_are_refused(change, message, tmp_path):
    g = Graph(n_in=6, shape=("time", 1))
    g.inputs = [helper.make_tensor_value_info("x", TensorProto.INT64, ["time", 1])]
    change(g)
    if "Add" in message:
        g.node("Gather", g.last, first=g.random(T, 6), axis=0)
    g.width = 6
    onnx.save(g.proto(check=False), tmp_path / "m.onnx")
    with pytest.raises(SourceError, match=message):
        Model.from_onnx(tmp_path / "m.onnx")


def test_a_table_behind_a_layer_is_refused(tmp_path):
    g = Graph()
    g.cell("GRU", 7, linear_before_reset=1)
    g.node("Cast", to=TensorProto.INT64)
    g.node("Gather", g.last, first=g.random(T, 6), axis=0)
    onnx.save(g.proto(check=False), tmp_path / "m.onnx")
    with pytest.raises(SourceError, match="another type than float32"):
        Model.from_onnx(tmp_path / "m.onnx")


@needs_torch
@pytest.mark.filterwarnings("ignore")
def test_an_export_of_torch_and_the_module_are_the_same_network(tmp_path):
    import torch

    module = talker("LSTM").eval()
    x = torch.zeros(1, 5, dtype=torch.int64)
    torch.onnx.export(
        module, (x,), tmp_path / "m.onnx", dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "batch", 1: "time"}}
    )
    model = Model.from_onnx(tmp_path / "m.onnx")
    assert_imported(model, "onnxruntime")
    assert np.abs(own(model, tokens()) - own(Model.from_torch(module), tokens())).max() <= 1e-6


# Keras


def keras_model(mask_zero=False):
    import keras

    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(T, 6, mask_zero=mask_zero),
            keras.layers.GRU(9, return_sequences=True),
            keras.layers.Dense(T, activation="softmax"),
        ]
    )


@pytest.fixture
def backend(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")


@needs_keras
@pytest.mark.parametrize("suffix", [".keras", ".h5", None])
@pytest.mark.filterwarnings("ignore:You are saving")
def test_models_of_keras_and_their_files(suffix, tmp_path, backend):
    network = keras_model()
    source = network
    if suffix:
        source = tmp_path / f"m{suffix}"
        network.save(source)
    model = Model.from_keras(source, head="forecast")
    assert_imported(model, "keras")
    x = tokens()
    theirs = np.asarray(network(x[None], training=False).detach())[0]
    assert np.abs(own(model, x) - theirs).max() <= 1e-6


@needs_keras
def test_a_mask_of_token_0_is_refused(backend):
    with pytest.raises(SourceError, match="masks token 0"):
        Model.from_keras(keras_model(mask_zero=True))
