"""One layer as its kernel takes it: which kernel, its packed weights, and a row of numbers that says where they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn.kernels import activate, forms
from streamrnn.kernels.numerics import LIMIT
from streamrnn.kernels.product import pack, padded
from streamrnn.model import ActivationSpec, DenseSpec, EmbeddingSpec, LayerSpec, Model, NormSpec
from streamrnn.model.layers import AnyLayer

__all__ = ["ACTIVATION_CODES", "Packed", "Row", "pack_layer", "scratch_columns"]

Floats = npt.NDArray[np.float32]

# Which kernel steps a layer. From FORM on it is forms.form, and FORM + family says which.
RNN_TANH, RNN_RELU, LSTM, GRU, RESERVOIR, DENSE, NORM, COPY, EMBED, FORM = range(10)
_PLAIN = {"rnn_tanh": RNN_TANH, "rnn_relu": RNN_RELU, "lstm": LSTM, "gru": GRU, "reservoir": RESERVOIR}
_FAMILIES = {"lstm": forms.LSTM, "gru": forms.GRU_AFTER, "gru_reset_before": forms.GRU_BEFORE}

ACTIVATION_CODES = {
    "linear": activate.LINEAR,
    "relu": activate.RELU,
    "tanh": activate.TANH,
    "sigmoid": activate.SIGMOID,
    "softmax": activate.SOFTMAX,
}


class Row(NamedTuple):
    """A layer's numbers in Program.layers, int64.

    `kind` which kernel; `width` how much it hands on, at column `out` of the stream's state if `stored`, else of
    Work.u; w_ih, w_hh, w_2, bias, other and limit are places in the weights, `size_2` the length of W_2, or an
    embedding's tokens; the rest are
    codes of activations.
    """

    kind: int
    n_in: int
    hidden: int
    width: int
    stored: int
    out: int
    w_ih: int
    w_hh: int
    w_2: int
    size_2: int
    bias: int
    other: int
    limit: int
    act_gate: int
    act: int
    act_out: int


KIND, N_IN, HIDDEN, WIDTH, STORED, OUT, W_IH, W_HH, W_2, SIZE_2, BIAS, OTHER, PARAMETER, ACT_GATE, ACT, ACT_OUT = range(
    len(Row._fields)
)
_NONE = np.zeros(0, np.float32)


@dataclass(frozen=True)
class Packed:
    """A layer's weights: `other` is a reservoir's leak; `limit` a cell's clip, or a layer norm's epsilon."""

    kind: int
    bias: Floats = field(default_factory=lambda: _NONE)
    W_ih: Floats = field(default_factory=lambda: _NONE)
    W_hh: Floats = field(default_factory=lambda: _NONE)
    W_2: Floats = field(default_factory=lambda: _NONE)
    other: Floats = field(default_factory=lambda: _NONE)
    limit: float = 0.0
    activations: tuple[str, str, str] = ("linear", "linear", "linear")


def pack_layer(model: Model, i: int) -> Packed:
    """The i-th layer of a model; matrices input-major in blocks of columns, biases summed where they may be."""
    layer = model.spec.layers[i]
    if isinstance(layer, LayerSpec):
        return _recurrent(model, i, layer)
    weight, bias = model.arrays.get(f"weight_l{i}", _NONE), model.arrays.get(f"bias_l{i}", _NONE)
    if isinstance(layer, EmbeddingSpec):
        return Packed(EMBED, W_ih=weight)
    if isinstance(layer, DenseSpec):
        return Packed(DENSE, bias, W_ih=pack(weight.T), activations=("linear", layer.activation, "linear"))
    if isinstance(layer, NormSpec):
        return Packed(NORM, bias, W_ih=weight, limit=layer.epsilon)
    assert isinstance(layer, ActivationSpec)
    return Packed(COPY, activations=("linear", layer.activation, "linear"))


def _recurrent(model: Model, i: int, layer: LayerSpec) -> Packed:
    W_ih, W_hh, b_ih, b_hh = (model.arrays[f"{p}_l{i}"] for p in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    W_2, H = _NONE, layer.hidden
    bias = b_ih + b_hh
    if layer.cell in ("gru", "gru_reset_before"):
        r, z, n = (slice(k * H, (k + 1) * H) for k in range(3))
        W_ih = np.concatenate([W_ih[n], W_ih[r], W_ih[z]])
        after = layer.cell == "gru"
        last = b_hh[n] if after else np.zeros(H, np.float32)
        bias = np.concatenate([b_ih[n] if after else bias[n], bias[r], bias[z], last])
        if not after:
            W_hh, W_2 = W_hh[: 2 * H], pack(W_hh[n].T)
    elif layer.proj:
        W_2 = pack(model.arrays[f"weight_hr_l{i}"].T)
    kind = _PLAIN[layer.cell] if layer.plain else FORM + _FAMILIES.get(layer.cell, forms.ELMAN)
    acts = layer.all_activations
    gate, act, out = (acts + ("linear",) * 3)[:3] if len(acts) > 1 else ("linear", acts[0], "linear")
    return Packed(
        kind,
        bias,
        pack(W_ih.T),
        pack(W_hh.T),
        W_2,
        model.arrays.get(f"leak_l{i}", _NONE),
        layer.clip or float(LIMIT),
        (gate, act, out),
    )


def scratch_columns(layer: AnyLayer) -> int:
    """Columns of scratch that a layer's kernel needs for each stream."""
    if not isinstance(layer, LayerSpec):
        return int(padded(layer.width))
    H = layer.hidden
    if not layer.plain:
        return int(forms.tail(H) + padded(H))
    # A GRU's second product begins at its second block of columns, and ends in whole blocks.
    return int(max(padded(4 * H), H + padded(3 * H)))
