"""Keras: files read without Keras against what Keras once gave, and against Keras where it is installed."""

from __future__ import annotations

import json
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from networks import samples

from streamrnn import Engine, Model
from streamrnn.errors import SourceError

pytest.importorskip("h5py", reason="h5py is not installed (extra import)")

DATA = Path(__file__).parent / "data"
KERAS = find_spec("keras") is not None and find_spec("torch") is not None

# Of Keras with torch, at every get_weights().
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")

needs_keras = pytest.mark.skipif(not KERAS, reason="Keras and torch are not installed (extra parity)")


def own(model, x):
    return Engine(model, capacity=1).step_many(["s"] * len(x), x).y


def cells(model):
    return [getattr(layer, "cell", layer.kind) for layer in model.spec.layers]


@pytest.mark.parametrize(
    ("name", "found", "head"),
    [
        ("keras-lstm.keras", ["lstm", "lstm"], "regress"),
        ("keras-lstm.h5", ["lstm", "lstm"], "regress"),
        ("keras-lstm.weights.h5", ["lstm", "lstm"], "regress"),
        ("keras-gru.keras", ["gru_reset_before", "layer_norm", "dense"], "regress"),
        ("keras-gru-after.keras", ["gru"], "classify"),
        ("keras-norm.keras", ["lstm", "layer_norm", "dense"], "regress"),
        ("keras-simple.keras", ["rnn_tanh", "rnn_relu", "dense"], "regress"),
    ],
)
def test_files_give_what_keras_gave(name, found, head):
    config = DATA / "keras-lstm.json" if "weights" in name else None
    model = Model.from_keras(DATA / name, config=config)
    assert cells(model) == found
    assert model.spec.head == head
    stem = name.split(".")[0]
    expected = np.load(DATA / f"{stem}.npz")
    y = own(model, expected["x"])[-len(expected["y"]) :]
    assert np.abs(y - expected["y"]).max() <= 1e-5
    parity = model.spec.provenance["parity"]
    if KERAS:
        assert parity["max_difference"] <= 1e-5
        assert parity["against"].startswith("keras")
    else:
        assert "not compared" in parity


def test_the_file_and_the_export_of_one_model_are_the_same_network():
    pytest.importorskip("onnx")
    onnx, file = Model.from_onnx(DATA / "keras-export-lstm.onnx"), Model.from_keras(DATA / "keras-lstm.keras")
    assert onnx.fingerprint == file.fingerprint


def rewritten(tmp_path, change):
    """The Keras file of a GRU with another configuration."""
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(DATA / "keras-gru.keras") as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                change(config["config"]["layers"])
                data = json.dumps(config).encode()
            new.writestr(name, data)
    return path


def renamed(index, name):
    return lambda layers: layers[index].update(class_name=name)


def set_to(index, **values):
    return lambda layers: layers[index]["config"].update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed(1, "Bidirectional"), "Bidirectional.*future"),
        (renamed(2, "MultiHeadAttention"), "MultiHeadAttention.*whole sequence"),
        (renamed(2, "Lambda"), "Lambda.*code.*never run"),
        (renamed(2, "MyLayer"), r"MyLayer.*known are LSTM"),
        (renamed(3, "Masking"), "Masking.*NaN"),
        (set_to(1, go_backwards=True), "go_backwards"),
        (set_to(1, activation="gelu"), "'gelu'; known are"),
        (set_to(1, use_bias=False), r"has 3 weights; it needs 2|belong to no layer"),
        (set_to(1, units=6), "has shape"),
        (set_to(2, axis=1), "axis 1"),
        (set_to(2, rms_scaling=True), "root mean square"),
        (lambda layers: layers.pop(3), "dense.*belong to no layer"),
        (lambda layers: layers.pop(1), "belong to no layer"),
    ],
)
def test_what_cannot_be_brought_over_is_named(change, message, tmp_path):
    with pytest.raises(SourceError, match=message):
        Model.from_keras(rewritten(tmp_path, change))


def test_settings_that_name_code_are_not_followed(tmp_path, monkeypatch):
    """A file may name any module and class as an initialiser; nothing of it is imported."""
    (tmp_path / "harmful.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    harm = {"module": "harmful", "class_name": "Harm", "config": {}, "registered_name": None}
    model = Model.from_keras(rewritten(tmp_path, set_to(1, kernel_initializer=harm, kernel_constraint=harm)))
    assert cells(model)[0] == "gru_reset_before"


@pytest.mark.parametrize("how", ["link", "external", "virtual"])
def test_weights_in_other_files_are_not_followed(how, tmp_path):
    import h5py

    path, secret = tmp_path / "m.weights.h5", tmp_path / "secret"
    path.write_bytes((DATA / "keras-lstm.weights.h5").read_bytes())
    secret.write_bytes(bytes(4096))
    name, other = "layers/dense/vars/1", tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["w"] = np.zeros(2, "f")
    with h5py.File(path, "r+") as file:
        del file[name]
        if how == "link":
            file[name] = h5py.ExternalLink(str(other), "w")
        elif how == "external":
            file.create_dataset(name, (2,), "f", external=[(str(secret), 0, 8)])
        else:
            layout = h5py.VirtualLayout((2,), "f")
            layout[:] = h5py.VirtualSource(str(other), "w", (2,))
            file.create_virtual_dataset(name, layout)
    with pytest.raises(SourceError, match="another file"):
        Model.from_keras(path, config=DATA / "keras-lstm.json")


def test_a_window_of_the_original_is_said(tmp_path):
    model = Model.from_keras(rewritten(tmp_path, set_to(0, batch_shape=[None, 20, 3])))
    assert "20 steps at a time" in model.spec.provenance["notes"][-1]


def test_weights_alone_need_the_configuration():
    with pytest.raises(SourceError, match=r"weights alone.*--config"):
        Model.from_keras(DATA / "keras-lstm.weights.h5")


@pytest.mark.parametrize("cut", [0, 3, 1000, 20_000])
@pytest.mark.parametrize("name", ["keras-gru.keras", "keras-lstm.h5"])
def test_truncated_files_are_refused(name, cut, tmp_path):
    path = tmp_path / name
    path.write_bytes((DATA / name).read_bytes()[:cut])
    with pytest.raises(SourceError, match="damaged"):
        Model.from_keras(path)


@pytest.mark.parametrize(
    "config",
    [b"", b"[]", b"{}", b'{"class_name": "Custom", "config": {}}', b'{"class_name": "Sequential", "config": {}}'],
)
def test_a_wrong_configuration_is_refused(config, tmp_path):
    (tmp_path / "c.json").write_bytes(config)
    with pytest.raises(SourceError):
        Model.from_keras(DATA / "keras-lstm.weights.h5", config=tmp_path / "c.json")


def test_without_h5py_the_message_names_the_extra(monkeypatch):
    def absent(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("streamrnn.model.importers.needs.import_module", absent)
    with pytest.raises(SourceError, match=r"pip install 'streamrnn\[import\]'"):
        Model.from_keras(DATA / "keras-gru.keras")


@pytest.fixture
def keras(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    module = pytest.importorskip("keras")
    module.utils.set_random_seed(3)
    return module


CHAINS = {
    "lstm": lambda k: [k.LSTM(5, return_sequences=True), k.LSTM(4, return_sequences=True), k.Dense(2)],
    "lstm-relu": lambda k: [k.LSTM(20, activation="relu", recurrent_activation="sigmoid", return_sequences=True)],
    "gru-before": lambda k: [k.GRU(20, reset_after=False, return_sequences=True), k.Dense(3, "tanh")],
    "gru-no-bias": lambda k: [k.GRU(5, use_bias=False, return_sequences=True), k.Dense(3, use_bias=False)],
    "gru-before-no-bias": lambda k: [k.GRU(5, use_bias=False, reset_after=False, return_sequences=True)],
    "simple": lambda k: [k.SimpleRNN(5, "sigmoid", return_sequences=True), k.Dropout(0.4), k.Dense(1, "sigmoid")],
    "simple-linear": lambda k: [k.Dense(4, "relu"), k.SimpleRNN(5, "linear", return_sequences=True), k.ReLU()],
    "norm": lambda k: [k.LayerNormalization(), k.GRU(6, return_sequences=True), k.LayerNormalization(scale=False)],
    "softmax": lambda k: [k.GRU(6, return_sequences=True), k.Dense(4), k.Softmax()],
    "normalised": lambda k: [k.Normalization(mean=[1, 2, 3], variance=[4, 9, 1]), k.LSTM(6, return_sequences=True)],
    "each-step": lambda k: [k.LSTM(6, return_sequences=True), k.TimeDistributed(k.Dense(4, "relu"))],
}


@needs_keras
@pytest.mark.parametrize("name", CHAINS)
def test_models_compute_what_keras_computes(name, keras, tmp_path):
    model = keras.Sequential([keras.Input((None, 3)), *CHAINS[name](keras.layers)])
    rng = np.random.default_rng(4)
    for layer in model.layers:
        if layer.name.startswith("normalization"):
            continue
        # Small where nothing bounds the state: it would grow without end.
        size = 0.02 if name in ("lstm-relu", "simple-linear") else 0.2
        layer.set_weights([0.3 * w + size * rng.normal(size=w.shape) for w in layer.get_weights()])
    brought = Model.from_keras(model)
    x = samples(60, 3, seed=2)
    truth = np.asarray(keras.ops.convert_to_numpy(model(x[None])))[0]
    assert np.abs(own(brought, x) - truth).max() <= 1e-5
    assert brought.spec.provenance["parity"]["max_difference"] <= 1e-5
    model.save(tmp_path / "m.keras")
    assert Model.from_keras(tmp_path / "m.keras").fingerprint == brought.fingerprint


@needs_keras
def test_an_original_that_runs_to_infinity_is_called_that(keras):
    model = keras.Sequential([keras.Input((None, 3)), keras.layers.SimpleRNN(5, "linear", return_sequences=True)])
    model.set_weights([3 * w + 1 for w in model.get_weights()])
    with pytest.raises(SourceError, match="infinite or undefined.*grows without bound"):
        Model.from_keras(model)


@needs_keras
def test_functional_models_are_read_where_they_are_chains(keras, tmp_path):
    x = keras.Input((None, 3))
    h = keras.layers.GRU(5, return_sequences=True)(x)
    chain = keras.Model(x, keras.layers.Dense(2)(h))
    brought = Model.from_keras(chain)
    chain.save(tmp_path / "m.keras")
    assert Model.from_keras(tmp_path / "m.keras").fingerprint == brought.fingerprint
    branched = keras.Model(x, keras.layers.Concatenate()([h, keras.layers.Dense(2)(h)]))
    with pytest.raises(SourceError, match="branches"):
        Model.from_keras(branched)


@needs_keras
def test_only_the_last_output_is_compared_on_beginnings(keras):
    model = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(5), keras.layers.Dense(2)])
    assert Model.from_keras(model).spec.provenance["parity"]["max_difference"] <= 1e-5
