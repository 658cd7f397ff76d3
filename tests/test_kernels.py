"""One step of each cell against the float64 oracle, and against ONNX Runtime on the same weights."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from graph import step_graph
from networks import CASES, FORMS, case_id, form, network, samples
from reference import Network, layer_norm, reservoir_step

from streamrnn import Engine, Model
from streamrnn.kernels import norm, rnn
from streamrnn.kernels.product import STREAMS, pack, padded, padded_bias
from streamrnn.kernels.vector import LANES
from streamrnn.model import LayerSpec, ModelSpec
from streamrnn.model.weights import random_weights

STEPS = 1000
TOLERANCE = 2e-5


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_a_thousand_steps_agree_with_the_oracle(case):
    model = network(case, seed=3)
    x = samples(STEPS, model.spec.n_in, seed=4)
    engine = Engine(model, capacity=1)
    y = engine.step_many(["s"] * STEPS, x).y
    oracle = Network([layer.cell for layer in model.spec.layers], model.arrays)
    truth = np.array([oracle.step(row) for row in x])
    # A rectified network's outputs grow with its inputs, so its error is relative to them.
    scale = np.maximum(1, np.abs(truth))
    assert np.abs((y - truth) / scale).max() <= TOLERANCE
    state = engine.state("s").arrays
    for i, h in enumerate(oracle.h):
        assert np.abs((state[f"h_l{i}"] - h) / np.maximum(1, np.abs(h))).max() <= TOLERANCE


@pytest.mark.parametrize("name", FORMS)
def test_every_form_and_kind_of_layer_agrees_with_the_oracle(name):
    model = form(name, seed=3)
    x = samples(STEPS, model.spec.n_in, seed=4)
    engine = Engine(model, capacity=1)
    y = engine.step_many(["s"] * STEPS, x).y
    oracle = Network(model.describe()["layers"], model.arrays)
    truth = np.array([oracle.step(row) for row in x])
    assert np.ptp(truth, axis=0).min() > 1e-3  # something is computed
    assert np.abs((y - truth) / np.maximum(1, np.abs(truth))).max() <= TOLERANCE
    state = engine.state("s").arrays
    for i, (h, c) in enumerate(zip(oracle.h, oracle.c, strict=True)):
        for letter, part in (("h", h), ("c", c)):
            if part.size:
                assert np.abs((state[f"{letter}_l{i}"] - part) / np.maximum(1, np.abs(part))).max() <= TOLERANCE


UNBOUNDED = {
    "lstm": LayerSpec("lstm", 3, 20, proj=20, activations=("relu", "linear", "linear")),
    "gru": LayerSpec("gru", 3, 20, activations=("linear", "relu")),
    "gru-before": LayerSpec("gru_reset_before", 3, 20, activations=("linear", "linear")),
    "rnn": LayerSpec("rnn_linear", 3, 20),
}


@pytest.mark.parametrize("name", [*FORMS, *UNBOUNDED])
def test_no_weights_and_no_inputs_make_an_infinity(name):
    if name in FORMS:
        model = form(name, seed=3)
    else:
        spec = ModelSpec(3, 20, (UNBOUNDED[name],), readout="none")
        model = Model(spec, random_weights(spec, 3))
    large = {k: np.clip(a * np.float32(3e12), -1e12, 1e12) for k, a in model.arrays.items()}
    engine = Engine(Model(model.spec, large), capacity=1)
    x = (1e30 * np.random.default_rng(1).normal(size=(50, 3))).astype("f")
    assert np.isfinite(engine.step_many(["s"] * 50, x).y).all()
    assert all(np.isfinite(a).all() for k, a in engine.state("s").arrays.items() if k[:2] in ("h_", "c_"))


@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 33, 100])
@pytest.mark.parametrize(("mean", "scale"), [(0, 1), (1e4, 1), (0, 1e-6), (-3e8, 1e6)])
def test_layer_norm_agrees_with_the_oracle_far_from_zero(size, mean, scale):
    rng = np.random.default_rng(size)
    x = (mean + scale * rng.normal(size=(3, size))).astype("f")
    weight, bias = rng.normal(size=(2, size)).astype("f")
    out = np.zeros((3, size + 2), "f")
    norm.layer_norm(x, np.arange(3), 0, out, 2, weight, bias, np.float32(1e-5), 3)
    truth = np.array([layer_norm(row.astype(float), weight, bias, np.float32(1e-5)) for row in x])
    assert np.abs(out[:, 2:] - truth).max() <= 2e-6
    assert not out[:, :2].any()


def test_reservoir_agrees_with_the_oracle():
    rng = np.random.default_rng(5)
    n_in, H, n = 3, 37, 4
    W_ih, W_hh = rng.normal(size=(H, n_in)).astype("f"), (rng.normal(size=(H, H)) / H).astype("f")
    b, leak = rng.normal(size=H).astype("f"), rng.uniform(0.01, 1, H).astype("f")
    h = rng.normal(size=(n, H))
    state, rows, z = h.astype("f"), np.arange(n), np.zeros((STREAMS, padded(H) + LANES), "f")
    packed = pack(W_ih.T), pack(W_hh.T)
    h = state.astype(float)
    for _ in range(STEPS):
        x = rng.normal(size=(n, n_in)).astype("f")
        rnn.reservoir(x, rows, 0, state, rows, 0, *packed, padded_bias(b)[:H], leak, z, n)
        h = np.array([reservoir_step(x[s], h[s], W_ih, W_hh, b, np.zeros(H), leak) for s in range(n)])
    assert np.abs(state - h).max() <= TOLERANCE


def _onnx_step(model: Model) -> tuple[onnxruntime.InferenceSession, list[str]]:
    """One step of the same network in ONNX Runtime, its states passed in and out."""
    proto, states = step_graph(model, readout=True)
    onnx.checker.check_model(proto)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session, states


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_a_thousand_steps_agree_with_onnx_runtime(case):
    model = network(case, seed=6)
    x = samples(STEPS, model.spec.n_in, seed=7)
    y = Engine(model, capacity=1).step_many(["s"] * STEPS, x).y
    session, states = _onnx_step(model)
    feed = {p.name: np.zeros(p.shape, np.float32) for p in session.get_inputs()}
    names = ["y", *(f"{s}_new" for s in states)]
    truth = []
    for row in x:
        feed["x"] = row[None, None]
        out = dict(zip(names, session.run(names, feed), strict=True))
        feed.update({s: out[f"{s}_new"] for s in states})
        truth.append(out["y"][0, 0])
    truth = np.array(truth)
    assert np.abs((y - truth) / np.maximum(1, np.abs(truth))).max() <= TOLERANCE
