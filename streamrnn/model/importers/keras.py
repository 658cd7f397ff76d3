"""Keras: a model, or its file (.keras, .h5). Files are read without Keras; Keras is the original to compare with."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streamrnn.errors import SourceError

from ..layers import EmbeddingSpec
from .keras_config import NOTHING, Layer, layers_of, parts_of
from .keras_file import read_layers
from .needs import file_facts, installed, need, reason
from .parts import Array, Source, floats

__all__ = ["SUFFIXES", "read"]

SUFFIXES = (".keras", ".h5", ".hdf5")


_KEPT = {
    "LSTM": ("units", "activation", "recurrent_activation", "use_bias", "return_sequences"),
    "GRU": ("units", "activation", "recurrent_activation", "use_bias", "return_sequences", "reset_after"),
    "SimpleRNN": ("units", "activation", "use_bias", "return_sequences"),
    "Dense": ("units", "activation", "use_bias"),
    "Embedding": ("input_dim", "output_dim"),
    "LayerNormalization": ("epsilon", "center", "scale"),
    "Activation": ("activation",),
    "ReLU": (),
    "Softmax": (),
}
"""By class, the settings that a layer is built again with: plain values, which cannot name code as a file's can."""


def _rebuilt(layers: Sequence[Layer]) -> Any:
    """The layers as a new model of Keras, with their weights as Keras keeps them."""
    keras = need("keras", "comparing with the original")
    made, n_in = [], 0
    for layer in layers:
        if layer.kind in _KEPT:
            made.append(
                getattr(keras.layers, layer.kind)(
                    **{k: layer.config[k] for k in _KEPT[layer.kind] if k in layer.config}
                )
            )
        elif layer.kind == "Normalization":
            given: Sequence[Any] = layer.weights[:2] or [layer.config.get(key) for key in ("mean", "variance")]
            mean, variance = (np.asarray(w, np.float32).ravel() for w in given)
            made.append(keras.layers.Normalization(mean=mean, variance=variance))
        first = layer.weights[0] if layer.weights else np.zeros((0, 0))
        n_in = n_in or (first.size if layer.kind in ("Normalization", "LayerNormalization") else len(first))
    tokens = bool(made) and type(made[0]).__name__ == "Embedding"
    model = keras.Sequential([keras.Input((None,), dtype="int32") if tokens else keras.Input((None, n_in)), *made])
    weighted = [layer for layer in layers if layer.kind in _KEPT]
    for layer, new in zip(weighted, (m for m in made if type(m).__name__ in _KEPT), strict=True):
        new.set_weights([np.asarray(w) for w in layer.weights])
    return model


class KerasReference:
    """A model of Keras, called with a whole sequence."""

    def __init__(self, model: Any, n_out: int, tokens: bool) -> None:
        """Raises what Keras raises for a first call, and SourceError where it gives another shape."""
        keras = need("keras", "comparing with the original")
        self.against = f"keras {keras.__version__} with {keras.backend.backend()}"
        self._keras, self._model, self._n_out = keras, model, n_out
        shape = model.input_shape
        self._tokens = tokens
        self.length: int | None = shape[1] if len(shape) == (2 if tokens else 3) else None
        self(np.zeros((self.length or 3, 1 if tokens else shape[-1]), np.float32))

    def __call__(self, x: Array) -> Array:
        given = x[None, :, 0].astype(np.int32) if self._tokens else x[None]
        y = np.asarray(self._keras.ops.convert_to_numpy(self._model(given, training=False)), np.float32)
        if y.shape[-1] != self._n_out or y.size not in (self._n_out, self._n_out * len(x)):
            raise SourceError(f"the model gives an output of shape {y.shape} for {len(x)} steps of one sequence")
        return y.reshape(-1, self._n_out)


def read(source: object, *, config: str | os.PathLike[str] | None = None) -> Source:
    """The network of a Keras model or its file; `config` is the to_json() that belongs to weights alone."""
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        facts = {"made_by": "streamrnn import", "format": f"Keras {path.suffix}", **file_facts(path)}
        layers = read_layers(path, None if config is None else Path(config))
    elif hasattr(source, "get_weights") and hasattr(source, "layers") and hasattr(source, "to_json"):
        facts = {"made_by": "Model.from_keras", "format": "Keras model", "source": type(source).__name__}
        layers = _of_model(source)
    else:
        raise SourceError(f"an object of type {type(source).__name__} is no Keras model or file")
    parts, normaliser = parts_of(layers)
    made = Source(parts, facts)
    if normaliser is not None:
        made.mean, made.scale = normaliser
    made.window = _window(layers)
    if made.parts:
        _add_reference(made, layers if isinstance(source, (str, os.PathLike)) else source)
    return made


def _window(layers: Sequence[Layer]) -> int | None:
    """The number of steps that an input layer fixes."""
    rank = 2 if any(layer.kind == "Embedding" for layer in layers) else 3
    for layer in layers:
        shape = layer.config.get("batch_shape") or layer.config.get("batch_input_shape")
        if isinstance(shape, (list, tuple)) and len(shape) == rank and isinstance(shape[1], int):
            return shape[1]
    return None


def _of_model(model: Any) -> list[Layer]:
    from json import loads  # noqa: PLC0415

    described = layers_of(loads(model.to_json()))
    by_name = {layer.name: layer for layer in model.layers}
    found = []
    for kind, own in described:
        layer = by_name.get(own["name"])
        if layer is None and kind not in NOTHING:
            raise SourceError(f"layer {own['name']!r} of the configuration is not in the model")
        weights = [] if layer is None else [np.asarray(w) for w in layer.get_weights()]
        arrays = [floats(f"weight {k} of {own['name']}", w) for k, w in enumerate(weights) if w.dtype.kind == "f"]
        if kind == "Normalization" and layer is not None:
            arrays = [floats("weight of Normalization", np.asarray(w, np.float32)) for w in weights]
        found.append(Layer(kind, own, arrays))
    return found


def _choose_backend() -> None:
    """Keras stops where its default, TensorFlow, is not there: take what is, unless someone has chosen."""
    if "keras" in sys.modules or os.environ.get("KERAS_BACKEND") or installed("tensorflow"):
        return
    os.environ["KERAS_BACKEND"] = next((name for name in ("torch", "jax") if installed(name)), "numpy")


def _add_reference(made: Source, source: Any) -> None:
    """Keras with whatever backend it is set up with: on the user's model, or on a file's layers built anew."""
    if not installed("keras"):
        made.why_not = "keras is not installed"
        return
    _choose_backend()
    try:
        need("keras", "comparing with the original")
    except SourceError as error:
        made.why_not = str(error)
        return
    try:
        model = _rebuilt(source) if isinstance(source, list) else source
        tokens = isinstance(made.parts[0].layer, EmbeddingSpec)
        made.reference = KerasReference(model, made.parts[-1].layer.width, tokens)
    except SourceError:
        raise
    except Exception as error:  # Keras and its backends each raise their own
        made.why_not = f"Keras cannot run it ({reason(error)})"
