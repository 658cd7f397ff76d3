"""What a network is, without its numbers: layers, head, features, normalisation, detector settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from streamrnn.errors import ModelError

from .checks import choice, integer, names, plain, reals
from .layers import (
    MAX_WIDTH,
    ActivationSpec,
    AnyLayer,
    DenseSpec,
    LayerSpec,
    Shapes,
    layer_from_json,
    layer_to_json,
)

__all__ = ["FORMAT", "HEADS", "ModelSpec", "array_shapes"]

FORMAT: Final = 2
"""Latest version of the file format that is read and written; a model that format 1 can hold is written as that.

1: plain recurrent layers with a linear or an online readout. 2: layers of every kind, and no readout.
"""

HEADS: Final = ("forecast", "classify", "regress")
NORMALISERS: Final = ("none", "fixed", "causal")
READOUTS: Final = ("linear", "online", "none")

MAX_LAYERS: Final = 64


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The whole network: a chain of layers of any kind, and what comes before and after it.

    `head` is what y means: "forecast" (the next sample, so n_out = n_in), "classify" (class probabilities) or
    "regress" (raw). `normaliser` is "none", "fixed" (per-channel mean and scale, in the weights) or "causal" (learned
    for each stream as it runs). `readout` is "linear", "online" (learned for each stream by recursive least squares) or
    "none" (y is what the last layer gives). `clock` adds the sine and cosine of the time of day to the first layer's
    inputs where a sample carries real time. `detector` overrides settings of kernels.score.SETTINGS, `learning` those
    of kernels.rls.SETTINGS.
    """

    n_in: int
    n_out: int
    layers: tuple[AnyLayer, ...]
    head: str = "regress"
    features: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    normaliser: str = "none"
    readout: str = "linear"
    clock: bool = False
    detector: Mapping[str, float] = field(default_factory=dict)
    learning: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "n_in", integer("n_in", self.n_in, 1, MAX_WIDTH))
        put(self, "n_out", integer("n_out", self.n_out, 1, MAX_WIDTH))
        if not isinstance(self.layers, (list, tuple)) or not all(isinstance(x, AnyLayer) for x in self.layers):
            raise ModelError(f"layers is {self.layers!r:.60}; it must be a list of layers, the first one first")
        put(self, "layers", tuple(self.layers))
        put(self, "features", names("features", self.features) or tuple(f"x{i}" for i in range(self.n_in)))
        put(self, "units", names("units", self.units) or ("",) * self.n_in)
        put(self, "detector", reals("detector", self.detector))
        put(self, "learning", reals("learning", self.learning))
        put(self, "provenance", plain("provenance", self.provenance))
        self._check()

    def _check(self) -> None:
        if not 1 <= len(self.layers) <= MAX_LAYERS:
            raise ModelError(f"the model has {len(self.layers)} layers; it needs 1 to {MAX_LAYERS}")
        choice("head", self.head, HEADS)
        choice("normaliser", self.normaliser, NORMALISERS)
        choice("readout", self.readout, READOUTS)
        if not isinstance(self.clock, bool):
            raise ModelError(f"clock is {self.clock!r:.60}; it must be True or False")
        width = self.n_net
        for i, layer in enumerate(self.layers):
            if layer.n_in != width:
                raise ModelError(f"layer {i} takes {layer.n_in} inputs but is given {width}; set its n_in to {width}")
            width = layer.width
        self._check_end(width)
        if self.head == "forecast" and self.n_out != self.n_in:
            raise ModelError(f"a forecast head needs n_out = n_in = {self.n_in}; n_out is {self.n_out}")
        if self.readout == "online" and (self.head != "forecast" or self.normaliser != "causal"):
            raise ModelError("an online readout learns forecasts of causally normalised samples; use them together")
        if self.normaliser == "causal" and self.readout != "online":
            raise ModelError("the causal normaliser belongs to the online readout; use normaliser 'fixed' or 'none'")
        for name, given in (("features", self.features), ("units", self.units)):
            if len(given) != self.n_in:
                raise ModelError(f"{name} needs {self.n_in} names, one a channel; it has {len(given)}: {given!r}")
        if len(set(self.features)) != self.n_in:
            raise ModelError(f"features must differ from each other: {self.features!r}")

    def _check_end(self, width: int) -> None:
        """The last layer and what becomes of it belong together."""
        last = self.layers[-1]
        if self.readout == "online" and not (isinstance(last, LayerSpec) and last.plain):
            raise ModelError("an online readout reads the state of a plain recurrent layer; let one be the last")
        if self.readout == "none" and self.n_out != width:
            raise ModelError(f"without a readout n_out is the last layer's width {width}; n_out is {self.n_out}")
        if self.readout == "none" and self.head == "classify":
            ends = isinstance(last, (DenseSpec, ActivationSpec)) and last.activation in ("softmax", "sigmoid")
            if not ends:
                raise ModelError(
                    "a classify head without a readout needs probabilities: let the last layer end in softmax or "
                    "sigmoid, or use readout 'linear'"
                )

    @property
    def format(self) -> int:
        """The oldest version of the file format that can hold this model."""
        plain = all(isinstance(layer, LayerSpec) and layer.plain for layer in self.layers)
        return 1 if plain and self.readout != "none" else 2

    @property
    def n_net(self) -> int:
        """Inputs of the first layer: the channels, and two for the time of day."""
        return self.n_in + (2 if self.clock else 0)

    @property
    def n_features(self) -> int:
        """Regressors of the online readout: the last layer's units, its inputs, and a constant."""
        return self.layers[-1].width + self.n_net + 1

    @property
    def outputs(self) -> tuple[str, ...]:
        """A name for each output: the feature it forecasts, or y0, y1, ..."""
        return self.features if self.head == "forecast" else tuple(f"y{i}" for i in range(self.n_out))

    def with_provenance(self, **more: Any) -> ModelSpec:
        return replace(self, provenance={**self.provenance, **more})

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, so that equal specifications have equal text."""
        out: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        out["layers"] = [layer_to_json(layer) for layer in self.layers]
        for name in ("detector", "learning", "provenance"):
            out[name] = dict(out[name])
        return json.dumps({"format": self.format, **out}, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read `to_json`'s text; a wrong version, key or type is a ModelError that names it."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"the model's metadata is not JSON: {error}") from None
        if not isinstance(data, dict):
            raise ModelError("the model's metadata is not a JSON object")
        version = data.pop("format", None)
        if type(version) is not int or not 1 <= version <= FORMAT:  # True and 1.0 equal 1
            raise ModelError(f"the model's format is {version!r}; this streamrnn reads formats 1 to {FORMAT}")
        unknown = sorted(set(data) - set(cls.__slots__))
        if unknown:
            raise ModelError(f"the model's metadata has unknown keys: {', '.join(unknown)}")
        missing = [name for name in ("n_in", "n_out", "layers") if name not in data]
        if missing:
            raise ModelError(f"the model's metadata lacks {', '.join(missing)}")
        for name, kind in _JSON_TYPES.items():
            if name in data and not isinstance(data[name], kind):
                raise ModelError(f"{name} in the model's metadata is {type(data[name]).__name__}, not {kind.__name__}")
        data["layers"] = tuple(layer_from_json(layer) for layer in data["layers"])
        return cls(**data)


_JSON_TYPES: Final = {
    "layers": list,
    "head": str,
    "features": list,
    "units": list,
    "normaliser": str,
    "readout": str,
    "clock": bool,
    "detector": dict,
    "learning": dict,
    "provenance": dict,
}


def array_shapes(spec: ModelSpec) -> Shapes:
    """Name and shape of every array that a model of this specification has, in PyTorch's names and layout."""
    shapes: Shapes = {}
    for i, layer in enumerate(spec.layers):
        shapes |= layer.shapes(i)
    if spec.readout == "linear":
        shapes["readout.weight"] = (spec.n_out, spec.layers[-1].width)
        shapes["readout.bias"] = (spec.n_out,)
    if spec.normaliser == "fixed":
        shapes["normaliser.mean"] = (spec.n_in,)
        shapes["normaliser.scale"] = (spec.n_in,)
    return shapes
