"""A model laid out for compiled code: one flat buffer of packed weights and a table that says where things are.

The layout is data, not code: one compiled `advance` runs every model, so nothing is compiled when a model is loaded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn.kernels import normalise, rls, score
from streamrnn.model import Model, ModelSpec

__all__ = ["Layout", "Program", "Slab", "Work", "build_program", "new_slab", "new_work", "state_names"]

TILE = 32
"""Streams that one wave steps together: enough to reuse each weight from the nearest cache."""

RNN_TANH, RNN_RELU, LSTM, GRU, RESERVOIR = range(5)
KINDS = {"rnn_tanh": RNN_TANH, "rnn_relu": RNN_RELU, "lstm": LSTM, "gru": GRU, "reservoir": RESERVOIR}

# Columns of Program.layers, int64.
KIND, N_IN, HIDDEN, STATE, W_IH, W_HH, BIAS, LEAK = range(8)
LAYER_COLUMNS = 8

# Entries of Program.sizes, int64. X_HELD to Y_PREV are offsets in a slab's float32 row; STATS to W in its float64 row.
(
    S_IN,
    S_NET,
    S_OUT,
    S_HEAD,
    S_ONLINE,
    S_NORMALISER,
    S_CLOCK,
    S_W_OUT,
    S_B_OUT,
    S_MEAN,
    S_X_HELD,
    S_SEEN,
    S_U_PREV,
    S_Y_PREV,
    S_P,
    S_W,
    S_FEATURES,
    S_RING,
) = range(18)

FORECAST, CLASSIFY, REGRESS = range(3)
NORMALISER_NONE, NORMALISER_FIXED, NORMALISER_CAUSAL = range(3)
HEAD_CODES = {"forecast": FORECAST, "classify": CLASSIFY, "regress": REGRESS}
NORMALISER_CODES = {"none": NORMALISER_NONE, "fixed": NORMALISER_FIXED, "causal": NORMALISER_CAUSAL}

LINE = 16  # float32 in a cache line


class Program(NamedTuple):
    """sizes int64 (18,), layers int64 (depth, LAYER_COLUMNS), weights float32 (all,), detector and learning float64."""

    sizes: npt.NDArray[np.int64]
    layers: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    detector: npt.NDArray[np.float64]
    learning: npt.NDArray[np.float64]


class Slab(NamedTuple):
    """What belongs to streams, a row for each slot: `state` float32 (h and c of every layer, then the last sample seen,
    which channels were ever seen, the network's last input, the last output), `adapt` float64 (normaliser, P and w of
    the online readout), `detector` float64, `ring` float32 (capacity, length, n_in + n_out + 1)."""

    state: npt.NDArray[np.float32]
    adapt: npt.NDArray[np.float64]
    detector: npt.NDArray[np.float64]
    ring: npt.NDArray[np.float32]


class Work(NamedTuple):
    """Scratch of one thread: x, u, z float32 (TILE, ...), rows and slots int64 (TILE,), phi, gain float64 (F,),
    forecast float32 (n_out,)."""

    x: npt.NDArray[np.float32]
    u: npt.NDArray[np.float32]
    z: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]
    slots: npt.NDArray[np.int64]
    outs: npt.NDArray[np.int64]
    phi: npt.NDArray[np.float64]
    gain: npt.NDArray[np.float64]
    forecast: npt.NDArray[np.float32]


class Layout(NamedTuple):
    """Where each named part of a stream's row stands: name -> (array, first column, shape)."""

    parts: dict[str, tuple[str, int, tuple[int, ...]]]
    state_width: int
    adapt_width: int
    detector_width: int


def make_layout(spec: ModelSpec) -> Layout:
    """Give every quantity of a stream a place in its rows, each float32 row a whole number of cache lines."""
    parts: dict[str, tuple[str, int, tuple[int, ...]]] = {}
    at = 0
    for i, layer in enumerate(spec.layers):
        parts[f"h_l{i}"] = ("state", at, (layer.hidden,))
        if layer.cell == "lstm":
            parts[f"c_l{i}"] = ("state", at + layer.hidden, (layer.hidden,))
        at += layer.state_size
    for name, width in (
        ("x_held", spec.n_in),
        ("seen", spec.n_in),
        ("u_prev", spec.n_net),
        ("y_prev", spec.n_out),
    ):
        parts[name] = ("state", at, (width,))
        at += width
    adapt = 0
    if spec.readout == "online":
        F = spec.n_features
        for name, shape in (("stats", (spec.n_in, normalise.STATS)), ("P", (F, F)), ("w", (spec.n_out, F))):
            parts[name] = ("adapt", adapt, shape)
            adapt += shape[0] * shape[1]
    detector = score.size(spec.n_in, spec.clock)
    parts["detector"] = ("detector", 0, (detector,))
    return Layout(parts, -(-at // LINE) * LINE, adapt, detector)


def state_names(spec: ModelSpec) -> tuple[str, ...]:
    """Names of the arrays that make up a stream's state."""
    return tuple(make_layout(spec).parts)


def _pack_layer(model: Model, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(W_ih, W_hh, b, leak) of a layer as the kernels take them: input-major, biases summed where they may be."""
    layer = model.spec.layers[i]
    W_ih, W_hh, b_ih, b_hh = (model.arrays[f"{p}_l{i}"] for p in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    leak = model.arrays.get(f"leak_l{i}", np.zeros(0, np.float32))
    if layer.cell != "gru":
        return W_ih.T, W_hh.T, b_ih + b_hh, leak
    r, z, n = (slice(k * layer.hidden, (k + 1) * layer.hidden) for k in range(3))
    bias = np.concatenate([b_ih[n], b_ih[r] + b_hh[r], b_ih[z] + b_hh[z], b_hh[n]])
    return np.concatenate([W_ih[n], W_ih[r], W_ih[z]]).T, W_hh.T, bias, leak


def build_program(model: Model, ring: int) -> Program:
    """Pack a model's weights and write down where each part of the arithmetic finds its numbers."""
    spec, layout = model.spec, make_layout(model.spec)
    chunks: list[np.ndarray] = []
    used = 0

    def place(array: np.ndarray) -> int:
        nonlocal used
        flat = np.ascontiguousarray(array, np.float32).ravel()
        padded = np.zeros(-(-flat.size // LINE) * LINE, np.float32)
        padded[: flat.size] = flat
        chunks.append(padded)
        start, used = used, used + padded.size
        return start

    layers = np.zeros((len(spec.layers), LAYER_COLUMNS), np.int64)
    for i, layer in enumerate(spec.layers):
        W_ih, W_hh, bias, leak = _pack_layer(model, i)
        layers[i] = (
            KINDS[layer.cell],
            layer.n_in,
            layer.hidden,
            layout.parts[f"h_l{i}"][1],
            place(W_ih),
            place(W_hh),
            place(bias),
            place(leak),
        )
    sizes = np.zeros(18, np.int64)
    sizes[[S_IN, S_NET, S_OUT, S_RING]] = spec.n_in, spec.n_net, spec.n_out, ring
    sizes[S_HEAD] = HEAD_CODES[spec.head]
    sizes[S_NORMALISER] = NORMALISER_CODES[spec.normaliser]
    sizes[[S_ONLINE, S_CLOCK]] = spec.readout == "online", spec.clock
    for entry, name in ((S_X_HELD, "x_held"), (S_SEEN, "seen"), (S_U_PREV, "u_prev"), (S_Y_PREV, "y_prev")):
        sizes[entry] = layout.parts[name][1]
    if spec.readout == "online":
        sizes[[S_P, S_W, S_FEATURES]] = layout.parts["P"][1], layout.parts["w"][1], spec.n_features
    else:
        sizes[S_W_OUT] = place(model.arrays["readout.weight"].T)
        sizes[S_B_OUT] = place(model.arrays["readout.bias"])
    if spec.normaliser == "fixed":
        # Mean, then scale, side by side.
        sizes[S_MEAN] = place(np.concatenate([model.arrays["normaliser.mean"], model.arrays["normaliser.scale"]]))
    return Program(
        sizes,
        layers,
        np.concatenate(chunks),
        np.array([spec.detector.get(k, v) for k, v in score.SETTINGS.items()], np.float64),
        np.array([spec.learning.get(k, v) for k, v in rls.SETTINGS.items()], np.float64),
    )


def new_slab(model: Model, capacity: int, ring: int) -> Slab:
    """Zeroed rows for every slot. The operating system commits a page when it is first written, not before."""
    layout, spec = make_layout(model.spec), model.spec
    return Slab(
        np.zeros((capacity, layout.state_width), np.float32),
        np.zeros((capacity, layout.adapt_width), np.float64),
        np.zeros((capacity, layout.detector_width), np.float64),
        np.zeros((capacity, ring, spec.n_in + spec.n_out + 1), np.float32),
    )


def new_work(model: Model) -> Work:
    spec = model.spec
    widest = max(4 * layer.hidden for layer in spec.layers)
    features = spec.n_features if spec.readout == "online" else 0
    return Work(
        np.zeros((TILE, spec.n_in), np.float32),
        np.zeros((TILE, spec.n_net), np.float32),
        np.zeros((TILE, max(widest, spec.n_out)), np.float32),
        np.arange(TILE, dtype=np.int64),
        np.zeros(TILE, np.int64),
        np.zeros(TILE, np.int64),
        np.zeros(features, np.float64),
        np.zeros(features, np.float64),
        np.zeros(spec.n_out, np.float32),
    )
