"""Keras' layers as parts: from a layer's class, its configuration and its weights in Keras' order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamrnn.errors import SourceError

from .parts import Array, Part, activation, blocks_of, dense, embedding, norm, recurrent

__all__ = ["NOTHING", "Layer", "layers_of", "parts_of"]

NOTHING = ("InputLayer", "Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout", "Identity")
"""Layers that do nothing once training is over."""

_ACTIVATIONS = ("linear", "relu", "tanh", "sigmoid", "softmax")
_CELLS = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}
_WHY = {
    "Bidirectional": "it needs the future of the stream; train a layer that runs forwards only",
    "MultiHeadAttention": "attention looks at the whole sequence, and a live stream has no future",
    "Attention": "attention looks at the whole sequence, and a live stream has no future",
    "AdditiveAttention": "attention looks at the whole sequence, and a live stream has no future",
    "Conv1D": "a convolution sees a window of samples, not one",
    "GlobalAveragePooling1D": "it needs the whole sequence, and a live stream has no end",
    "GlobalMaxPooling1D": "it needs the whole sequence, and a live stream has no end",
    "Flatten": "it puts the steps of a sequence side by side, and a live stream has no end",
    "RepeatVector": "an encoder and decoder needs the whole sequence before its first output",
    "Lambda": "it holds code, which is never run",
    "Masking": "missing values are NaN here, and are filled by the engine; train without it",
    "BatchNormalization": "fold it into the layer before it, or use LayerNormalization",
}


@dataclass(frozen=True)
class Layer:
    """A layer of Keras: `weights` in the order of its get_weights()."""

    kind: str
    config: Mapping[str, Any]
    weights: Sequence[Array]

    @property
    def name(self) -> str:
        return f"layer {self.config.get('name', '')!r} ({self.kind})"


def layers_of(config: object) -> list[tuple[str, dict[str, Any]]]:
    """(class, configuration) of each layer of a model's configuration, in order; SourceError for what is no chain."""
    if not isinstance(config, Mapping) or not isinstance(config.get("config"), Mapping):
        raise SourceError("the model's configuration is not that of a Keras model")
    kind, inner = config.get("class_name"), config["config"]
    if kind not in ("Sequential", "Functional", "Model"):
        raise SourceError(
            f"the model is a {kind!r}, whose code is not in the file; only Sequential and Functional models are read. "
            "Export it to ONNX, or build the same layers as a Sequential model"
        )
    found: list[tuple[str, dict[str, Any]]] = []
    before: str | None = None
    for layer in inner.get("layers") or []:
        if not isinstance(layer, Mapping) or not isinstance(layer.get("config"), Mapping):
            raise SourceError("a layer in the model's configuration is not that of a Keras layer")
        name, own = str(layer.get("class_name")), dict(layer["config"])
        own.setdefault("name", str(layer.get("name", "")))
        if kind != "Sequential" and name != "InputLayer":
            _check_chain(own["name"], layer.get("inbound_nodes"), before)
        before = own["name"]
        if name in ("Sequential", "Functional"):
            raise SourceError(f"layer {own['name']!r} is a model within the model; put its layers into one model")
        if name == "TimeDistributed":
            inner = own["layer"]
            name, own = inner["class_name"], {**inner["config"], "name": own["name"], "wrapper": name}
        known = name in NOTHING or name in _CELLS or name in _STATELESS or name == "Normalization"
        if not known:
            names = ", ".join([*_CELLS, *_STATELESS, "Normalization", "Dropout"])
            raise SourceError(f"layer {own['name']!r} ({name}) is not read: {_WHY.get(name, f'known are {names}')}")
        found.append((name, own))
    return found


def _check_chain(name: str, nodes: Any, before: str | None) -> None:
    """A functional model is a chain where each layer is called once, on the layer before it."""
    histories = list(_histories(nodes))
    if len(nodes or []) != 1 or len(histories) != 1 or histories[0] != before:
        raise SourceError(
            f"layer {name!r} is called on {histories or 'nothing'} and comes after {before!r}: the network branches, "
            "and only a chain of layers is read"
        )


def _histories(nodes: Any) -> list[str]:
    """Names of the layers that a configuration's inbound nodes mention."""
    if isinstance(nodes, Mapping):
        if "keras_history" in nodes:
            return [str(nodes["keras_history"][0])]
        return [name for value in nodes.values() for name in _histories(value)]
    if isinstance(nodes, (list, tuple)):
        if len(nodes) >= 3 and isinstance(nodes[0], str) and isinstance(nodes[1], int):
            return [nodes[0]]  # how Keras 2 writes it
        return [name for value in nodes for name in _histories(value)]
    return []


def parts_of(layers: Sequence[Layer]) -> tuple[list[Part], tuple[Array, Array] | None]:
    """The parts, and (mean, scale) where the first layer is a Normalization."""
    parts: list[Part] = []
    normaliser: tuple[Array, Array] | None = None
    recurrent_left = sum(layer.kind in _CELLS for layer in layers)
    for layer in layers:
        width = parts[-1].layer.width if parts else 0
        if layer.kind in NOTHING:
            continue
        if layer.kind == "Normalization":
            if parts or normaliser:
                raise SourceError(f"{layer.name} must be the first layer")
            normaliser = _normaliser(layer)
        elif layer.kind in _CELLS:
            recurrent_left -= 1
            if recurrent_left and not layer.config.get("return_sequences"):
                raise SourceError(
                    f"{layer.name} gives only its last output to another recurrent layer, which is not read"
                )
            parts += _recurrent(layer)
        else:
            parts += _STATELESS[layer.kind](layer, width)
    return parts, normaliser


def _take(layer: Layer, count: int) -> list[Array]:
    if len(layer.weights) != count:
        raise SourceError(f"{layer.name} has {len(layer.weights)} weights; it needs {count}")
    return list(layer.weights)


def _activation(layer: Layer, key: str = "activation") -> str:
    name = layer.config.get(key) or "linear"
    if isinstance(name, Mapping):
        name = name.get("class_name", name)
    if name not in _ACTIVATIONS:
        raise SourceError(f"{layer.name} uses {key} {name!r}; known are {', '.join(_ACTIVATIONS)}")
    return str(name)


def _recurrent(layer: Layer) -> list[Part]:
    config, gates = layer.config, _CELLS[layer.kind]
    for key in ("go_backwards", "return_state"):
        if config.get(key):
            raise SourceError(f"{layer.name} has {key}=True, which a live stream cannot do; build it without")
    if config.get("zero_output_for_mask"):
        raise SourceError(f"{layer.name} masks steps; missing values are NaN here: build it without")
    biased = config.get("use_bias", True)
    W, R, *rest = _take(layer, 3 if biased else 2)
    rows = gates * int(config.get("units", 0))
    b_ih = b_hh = np.zeros(rows, np.float32)
    if biased and rest[0].ndim == 2:
        b_ih, b_hh = rest[0]
    elif biased:
        b_ih = rest[0]
    W_ih, W_hh = W.T, R.T
    act = _activation(layer)
    acts: tuple[str, ...] = ()
    if layer.kind == "SimpleRNN":
        cell = f"rnn_{act}"
    elif layer.kind == "LSTM":  # i f c o, as here
        cell, acts = "lstm", (_activation(layer, "recurrent_activation"), act, act)
    else:
        # z r h there, r z n here.
        cell = "gru" if config.get("reset_after", True) else "gru_reset_before"
        acts = (_activation(layer, "recurrent_activation"), act)
        W_ih, W_hh, b_ih, b_hh = (blocks_of(a, (1, 0, 2)) for a in (W_ih, W_hh, b_ih, b_hh))
    W_ih, W_hh = np.ascontiguousarray(W_ih), np.ascontiguousarray(W_hh)
    return [recurrent(layer.name, cell, W_ih, W_hh, b_ih, b_hh, activations=acts, gates=gates)]


def _embedding(layer: Layer, width: int) -> list[Part]:  # noqa: ARG001 - as the other kinds
    if layer.config.get("mask_zero"):
        raise SourceError(
            f"{layer.name} masks token 0; every token of a stream is a step: build it with mask_zero=False"
        )
    (W,) = _take(layer, 1)
    return [embedding(layer.name, W)]


def _dense(layer: Layer, width: int) -> list[Part]:  # noqa: ARG001 - as the other kinds
    biased = layer.config.get("use_bias", True)
    W, *b = _take(layer, 2 if biased else 1)
    return [dense(layer.name, np.ascontiguousarray(W.T), b[0] if b else None, _activation(layer))]


def _layer_norm(layer: Layer, width: int) -> list[Part]:
    config = layer.config
    axis = config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if axis not in (-1, 2):
        raise SourceError(f"{layer.name} normalises over axis {axis!r}; only the features, -1, are read")
    if config.get("rms_scaling"):
        raise SourceError(f"{layer.name} scales by the root mean square, which is not read; use the plain form")
    scaled, centred = config.get("scale", True), config.get("center", True)
    weights = _take(layer, bool(scaled) + bool(centred))
    weight = weights.pop(0) if scaled else None
    bias = weights.pop(0) if centred else None
    n = width or (weight.size if weight is not None else bias.size if bias is not None else 0)
    return [norm(layer.name, n, weight, bias, float(config.get("epsilon", 1e-3)))]


def _one_activation(layer: Layer, width: int) -> list[Part]:
    act = {"ReLU": "relu", "Softmax": "softmax"}.get(layer.kind) or _activation(layer)
    odd = [k for k in ("max_value", "negative_slope", "threshold") if layer.config.get(k)]
    if odd or layer.config.get("axis", -1) not in (-1, [-1]):
        raise SourceError(f"{layer.name} has {odd[0] if odd else 'an axis'}, which is not read; use the plain form")
    if not width:
        raise SourceError(f"{layer.name} is the first layer, which is not read; put a Dense layer before it")
    return [activation(layer.name, width, act)]


_STATELESS: dict[str, Callable[[Layer, int], list[Part]]] = {
    "Dense": _dense,
    "Embedding": _embedding,
    "LayerNormalization": _layer_norm,
    "Activation": _one_activation,
    "ReLU": _one_activation,
    "Softmax": _one_activation,
}


def _normaliser(layer: Layer) -> tuple[Array, Array]:
    if layer.weights:
        mean, variance, *_ = _take(layer, 3)
    else:
        mean, variance = (np.array(layer.config.get(key), np.float32) for key in ("mean", "variance"))
    if layer.config.get("invert"):
        raise SourceError(f"{layer.name} is inverted, which is not read")
    scale = np.maximum(np.sqrt(variance.reshape(-1)), np.float32(1e-7))
    return mean.reshape(-1).astype(np.float32), scale.astype(np.float32)
