"""Model files and specifications: what is saved comes back, and what is wrong is refused by name."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from networks import CASES, FORMS, case_id, form, network
from safetensors.numpy import load_file, save_file

from streamrnn import Engine, Model
from streamrnn.errors import ModelError
from streamrnn.model.spec import LayerSpec, ModelSpec


def parts(path):
    """(header, tensor bytes) of a safetensors file."""
    data = path.read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + n]), data[8 + n :]


def write_parts(path, header, body):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


@pytest.fixture
def saved(tmp_path):
    model = Model.random("lstm", n_in=3, hidden=(5, 4), n_out=2, seed=1, features=["a", "b", "c"])
    path = tmp_path / "m.safetensors"
    model.save(path)
    return model, path


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_a_saved_model_comes_back_bit_for_bit(case, tmp_path):
    model = network(case, seed=2)
    path = tmp_path / "m.safetensors"
    model.save(path)
    again = Model.load(path)
    assert again.spec == model.spec
    assert again.fingerprint == model.fingerprint
    assert {k: v.tobytes() for k, v in again.arrays.items()} == {k: v.tobytes() for k, v in model.arrays.items()}
    again.save(tmp_path / "n.safetensors")
    assert (tmp_path / "n.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", FORMS)
def test_every_form_comes_back_bit_for_bit(name, tmp_path):
    model = form(name, seed=2)
    model.save(tmp_path / "m.safetensors")
    again = Model.load(tmp_path / "m.safetensors")
    assert again.spec == model.spec
    assert again.fingerprint == model.fingerprint
    header, _ = parts(tmp_path / "m.safetensors")
    assert json.loads(header["__metadata__"]["streamrnn"])["format"] == 2


def test_what_format_1_can_hold_is_written_as_format_1(saved):
    model, path = saved
    header, _ = parts(path)
    spec = json.loads(header["__metadata__"]["streamrnn"])
    assert spec["format"] == 1
    assert spec["layers"][0] == {"cell": "lstm", "n_in": 3, "hidden": 5}
    # The fingerprint that this model had before there was a format 2: saved states still belong to it.
    assert model.fingerprint == "b75321cc6849c6f3"


def test_an_adaptive_model_comes_back(tmp_path):
    model = Model.adaptive(2, hidden=8, seed=3, features=["hr", "spo2"], units=["1/min", "%"])
    model.save(tmp_path / "m.safetensors")
    again = Model.load(tmp_path / "m.safetensors")
    assert again.spec == model.spec
    x = np.arange(40.0).reshape(20, 2)
    a, b = (Engine(m, capacity=1).step_many(["s"] * 20, x) for m in (model, again))
    assert a.y.tobytes() == b.y.tobytes()


def test_arrays_have_pytorch_names_and_cannot_be_changed(saved):
    model, _ = saved
    assert set(model.arrays) == {
        *(f"{p}_{q}_l{i}" for p in ("weight", "bias") for q in ("ih", "hh") for i in (0, 1)),
        "readout.weight",
        "readout.bias",
    }
    assert model.arrays["weight_ih_l1"].shape == (16, 5)
    with pytest.raises(ValueError, match="read-only"):
        model.arrays["readout.bias"][0] = 1
    with pytest.raises(TypeError):
        model.arrays["readout.bias"] = np.zeros(2)


def weights_digest(model):
    return hashlib.sha256(b"".join(a.tobytes() for a in model.arrays.values())).hexdigest()[:16]


def test_the_seed_fixes_every_bit():
    # A change of this digest changes what every saved seed means.
    assert weights_digest(Model.random("lstm", n_in=2, hidden=3, n_out=1, seed=7)) == "29a61f82c825d1f3"
    assert weights_digest(Model.random("lstm", n_in=2, hidden=3, n_out=1, seed=8)) != "29a61f82c825d1f3"


def test_the_fingerprint_covers_numbers_and_meaning_but_not_provenance():
    model = Model.random("gru", n_in=2, hidden=3, n_out=1, seed=1)
    noted = Model(model.spec.with_provenance(note="x"), model.arrays)
    renamed = Model(replace(model.spec, features=("a", "b")), model.arrays)
    assert noted.fingerprint == model.fingerprint
    assert renamed.fingerprint != model.fingerprint
    assert Model.random("gru", n_in=2, hidden=3, n_out=1, seed=2).fingerprint != model.fingerprint


def spans(data):
    """Where each tensor's bytes are in a whole file, first to last: (name, shape, begin, end)."""
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + n])
    found = [
        (name, tuple(entry["shape"]), *(8 + n + offset for offset in entry["data_offsets"]))
        for name, entry in header.items()
        if name != "__metadata__"
    ]
    return 8 + n, sorted(found, key=lambda span: span[2])


@given(cut=st.integers(0, 10_000))
@example(cut=-1)
@example(cut=-4)
@example(cut=-100)
@settings(max_examples=100, deadline=None)
def test_a_truncated_file_is_refused_and_says_what_is_cut(cut, tmp_path_factory):
    path = tmp_path_factory.mktemp("m") / "m.safetensors"
    Model.random("gru", n_in=2, hidden=3, n_out=1).save(path)
    data = path.read_bytes()
    body, tensors = spans(data)
    kept = cut % len(data)
    path.write_bytes(data[:kept])
    with pytest.raises(ModelError) as caught:
        Model.load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    if kept >= body:
        name, shape, begin, end = next(t for t in tensors if t[3] > kept)
        assert f"tensor {name!r} needs bytes {begin} to {end} for shape {shape}; the file ends at {kept}" in message
    else:
        assert f"header needs bytes 8 to {body}; the file ends at {kept}" in message or kept < 8


@given(at=st.integers(0, 100_000), byte=st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_a_damaged_byte_gives_a_model_error_or_a_legal_model(at, byte, tmp_path_factory):
    path = tmp_path_factory.mktemp("m") / "m.safetensors"
    Model.random("rnn", n_in=2, hidden=3, n_out=1).save(path)
    data = bytearray(path.read_bytes())
    data[at % len(data)] = byte
    path.write_bytes(data)
    try:
        model = Model.load(path)
    except ModelError:
        return
    assert all(np.isfinite(a).all() for a in model.arrays.values())


@pytest.mark.parametrize("more", [1, 4, 1024])
def test_bytes_after_the_last_tensor_are_refused(saved, more):
    _, path = saved
    data = path.read_bytes()
    path.write_bytes(data + b"\0" * more)
    name = spans(data)[1][-1][0]
    message = f"has {more} bytes after its last tensor {name!r}, which ends at {len(data)}"
    with pytest.raises(ModelError, match=message):
        Model.load(path)


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ([0, 10**9], r"spans 1000000000 bytes; .*shape \(20,\) needs 80"),
        ([0, 76], r"spans 76 bytes; .*shape \(20,\) needs 80"),
        ([-80, 0], "data_offsets"),
        ([80, 0], "data_offsets"),
        ([0.0, 80.0], "data_offsets"),
        ([False, 80], "data_offsets"),
        ([0, 80, 80], "data_offsets"),
        (None, "data_offsets"),
        ("0 to 80", "data_offsets"),
        ([0, 2**80], "spans"),
        ([80, 160], r"begins at \d+ where what is before it ends at \d+"),
    ],
)
def test_a_tensor_whose_place_is_wrong_is_named(saved, offsets, message):
    _, path = saved
    header, body = parts(path)
    header["bias_hh_l0"]["data_offsets"] = offsets
    write_parts(path, header, body)
    with pytest.raises(ModelError, match=f"tensor '[a-z_0-9.]+'.*({message})"):
        Model.load(path)


def test_an_oversized_claim_is_refused_before_reading(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(ModelError, match="is not a safetensors file: it begins as text or another format does"):
        Model.load(path)
    path.write_bytes(struct.pack("<Q", 1000) + b"{}")
    with pytest.raises(ModelError, match="its header needs bytes 8 to 1008; the file ends at 10"):
        Model.load(path)


def test_a_header_above_the_limit_is_refused(saved, monkeypatch):
    _, path = saved
    monkeypatch.setattr("streamrnn.model.file.MAX_HEADER", 100)
    with pytest.raises(ModelError, match="header.*may have 100"):
        Model.load(path)


def test_a_file_above_the_limit_is_refused(saved, monkeypatch):
    _, path = saved
    monkeypatch.setattr("streamrnn.model.file.MAX_FILE", 100)
    with pytest.raises(ModelError, match="100"):
        Model.load(path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    path = tmp_path / "m.safetensors"
    os.mkfifo(path)
    with pytest.raises(ModelError, match="m.safetensors is not a regular file"):
        Model.load(path)


def test_a_device_without_end_and_a_folder_are_refused(tmp_path):
    for path in ("/dev/zero", tmp_path):
        with pytest.raises(ModelError, match="not a regular file"):
            Model.load(path)


def test_a_file_that_grows_while_it_is_read_is_not_read_to_its_end(saved, monkeypatch):
    _, path = saved
    fstat = os.fstat

    def then_grow(fd):
        found = fstat(fd)
        with path.open("ab") as file:
            file.write(bytes(100_000))
        return found

    monkeypatch.setattr("os.fstat", then_grow)
    with pytest.raises(ModelError, match="grew beyond its"):
        Model.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update({"readout.weight": np.zeros((2, 5), "f")}), r"'readout.weight'.*\[2, 4\]"),
        (lambda t: t.update({"extra": np.zeros(3, "f")}), "unknown tensor 'extra'"),
        (lambda t: t.pop("bias_hh_l1"), r"'bias_hh_l1' is missing; its shape must be \(16,\)"),
        (lambda t: t.update({"bias_hh_l0": np.zeros(20)}), "'bias_hh_l0' is F64.*must be F32"),
        (
            lambda t: t["weight_hh_l0"].__setitem__((7, 2), np.nan),
            r"'weight_hh_l0' of shape \(20, 5\) holds nan at \[7, 2\]",
        ),
        (lambda t: t["weight_hh_l0"].__setitem__((0, 0), np.inf), "'weight_hh_l0'.*inf"),
        (lambda t: t["weight_hh_l0"].__setitem__((0, 0), 1e13), "'weight_hh_l0'.*1e\\+12"),
    ],
)
def test_a_wrong_tensor_is_named(saved, change, message):
    _, path = saved
    header, _ = parts(path)
    tensors = {k: v.copy() for k, v in load_file(path).items()}
    change(tensors)
    save_file(tensors, path, metadata=header["__metadata__"])
    with pytest.raises(ModelError, match=message):
        Model.load(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 4, "format is 4.*reads formats 1 to 3"),
        ("format", True, "format is True"),
        ("format", 1.0, "format is 1.0"),
        ("n_in", 4, "layer 0 takes 3 inputs"),
        ("n_in", "3", "n_in is '3'"),
        ("n_out", 0, "n_out is 0"),
        ("head", "oracle", "'oracle'.*forecast"),
        ("features", ["a", "a", "b"], "differ"),
        ("features", [1, 2, 3], "names"),
        ("layers", [], "0 layers"),
        ("layers", [{"cell": "lstm"}], "cell, n_in and hidden"),
        ("layers", [{"cell": "sru", "n_in": 3, "hidden": 5}], "'sru'"),
        ("layers", [7], "layer in the model's metadata is int"),
        ("layers", [{"kind": "attention"}], "'attention'.*layer_norm"),
        ("layers", [{"kind": [1]}], r"kind \[1\]"),
        ("layers", [{"kind": "dense", "n_in": 3}], "n_in, n_out, activation"),
        ("layers", [{"kind": "dense", "n_in": 3, "n_out": 4, "activation": "gelu"}], "'gelu'.*relu"),
        ("layers", [{"kind": "layer_norm", "n_in": 3, "epsilon": 0}], "epsilon is 0"),
        ("layers", [{"kind": "layer_norm", "n_in": 3, "epsilon": "1"}], "epsilon is '1'"),
        ("layers", [{"cell": "gru", "n_in": 3, "hidden": 5, "proj": 2}], "proj is 2.*gru"),
        ("layers", [{"cell": "lstm", "n_in": 3, "hidden": 5, "proj": 6}], "proj is 6"),
        ("layers", [{"cell": "lstm", "n_in": 3, "hidden": 5, "clip": -1}], "clip is -1"),
        ("layers", [{"cell": "lstm", "n_in": 3, "hidden": 5, "activations": ["tanh"]}], "takes 3 activations"),
        ("layers", [{"cell": "gru", "n_in": 3, "hidden": 5, "activations": "tanh"}], "must be a list"),
        (
            "layers",
            [{"cell": "gru", "n_in": 3, "hidden": 5, "activations": ["tanh", "softmax"]}],
            "'softmax' of a cell",
        ),
        ("readout", "none", "n_out is the last layer's width 4; n_out is 2"),
        ("layers", 5, "layers in the model's metadata is int"),
        ("detector", {"threshold": "high"}, "detector.threshold"),
        ("detector", {"treshold": 1.0}, "unknown detector setting 'treshold'"),
        ("surprise", 1, "unknown keys: surprise"),
        ("clock", 1, "clock"),
        ("horizon", 2, "unknown keys: horizon"),
    ],
)
def test_wrong_metadata_is_named(saved, key, value, message):
    _, path = saved
    header, body = parts(path)
    spec = json.loads(header["__metadata__"]["streamrnn"])
    spec[key] = value
    header["__metadata__"]["streamrnn"] = json.dumps(spec)
    write_parts(path, header, body)
    with pytest.raises(ModelError, match=message):
        Model.load(path)


def test_metadata_that_is_not_ours_or_not_json_is_refused(saved):
    _, path = saved
    header, body = parts(path)
    for metadata in ({}, {"streamrnn": "[" * 100_000}, {"streamrnn": "[]"}, {"streamrnn": "{"}):
        write_parts(path, {**header, "__metadata__": metadata}, body)
        with pytest.raises(ModelError):
            Model.load(path)


def test_a_missing_file_is_refused_with_its_name(tmp_path):
    with pytest.raises(ModelError, match="none.safetensors"):
        Model.load(tmp_path / "none.safetensors")


def test_a_failed_save_leaves_the_old_file(saved, monkeypatch):
    model, path = saved
    before = path.read_bytes()

    def fail(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="No space"):
        model.save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "arguments",
    [
        {"n_in": 0, "hidden": 4},
        {"n_in": 2, "hidden": 0},
        {"n_in": 2, "hidden": (4, 5), "layers": 3},
        {"n_in": 2, "hidden": 4, "layers": 0},
        {"n_in": 2, "hidden": 4, "cell": "transformer"},
        {"n_in": 2, "hidden": 4, "seed": -1},
        {"n_in": 2, "hidden": 4, "head": "forecast", "n_out": 3},
        {"n_in": 2.0, "hidden": 4},
    ],
)
def test_impossible_networks_are_refused(arguments):
    with pytest.raises(ModelError):
        Model.random(**arguments)


def test_a_specification_is_frozen():
    spec = ModelSpec(n_in=1, n_out=1, layers=(LayerSpec("lstm", 1, 2),), provenance={"by": "me"})
    with pytest.raises(AttributeError):
        spec.n_in = 2
    with pytest.raises(TypeError):
        spec.provenance["by"] = "you"
