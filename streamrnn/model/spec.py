"""What a network is, without its numbers: layers, head, features, normalisation, detector settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from streamrnn.errors import ModelError

from .checks import choice, integer, names, plain, reals

__all__ = ["CELLS", "FORMAT", "GATES", "HEADS", "LayerSpec", "ModelSpec", "array_shapes"]

FORMAT: Final = 1
"""Version of the file format; a file of another version is refused."""

GATES: Final[Mapping[str, int]] = MappingProxyType({"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3, "reservoir": 1})
"""Rows of weight_ih and weight_hh for each hidden unit, by cell."""

CELLS: Final = tuple(GATES)
HEADS: Final = ("forecast", "classify", "regress")
NORMALISERS: Final = ("none", "fixed", "causal")
READOUTS: Final = ("linear", "online")

MAX_WIDTH: Final = 65_536
MAX_LAYERS: Final = 64


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """One recurrent layer: its cell (CELLS), inputs and hidden units."""

    cell: str
    n_in: int
    hidden: int

    def __post_init__(self) -> None:
        choice("cell", self.cell, CELLS)
        for name in ("n_in", "hidden"):
            object.__setattr__(self, name, integer(f"a layer's {name}", getattr(self, name), 1, MAX_WIDTH))

    @property
    def state_size(self) -> int:
        """float32 numbers of state for each stream: h, and for an LSTM c."""
        return 2 * self.hidden if self.cell == "lstm" else self.hidden


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The whole network.

    `head` is what y means: "forecast" (the next sample, so n_out = n_in), "classify" (class probabilities) or
    "regress" (raw). `normaliser` is "none", "fixed" (per-channel mean and scale, in the weights) or "causal" (learned
    for each stream as it runs). `readout` is "linear" or "online" (learned for each stream by recursive least
    squares). `clock` adds the sine and cosine of the time of day to the first layer's inputs where a sample carries
    real time. `detector` overrides settings of kernels.score.SETTINGS, `learning` those of kernels.rls.SETTINGS.
    """

    n_in: int
    n_out: int
    layers: tuple[LayerSpec, ...]
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
        if not isinstance(self.layers, (list, tuple)) or not all(isinstance(x, LayerSpec) for x in self.layers):
            raise ModelError(f"layers is {self.layers!r:.60}; it must be a list of LayerSpec, the first layer first")
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
            width = layer.hidden
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

    @property
    def n_net(self) -> int:
        """Inputs of the first layer: the channels, and two for the time of day."""
        return self.n_in + (2 if self.clock else 0)

    @property
    def n_features(self) -> int:
        """Regressors of the online readout: the last layer's units, its inputs, and a constant."""
        return self.layers[-1].hidden + self.n_net + 1

    @property
    def outputs(self) -> tuple[str, ...]:
        """A name for each output: the feature it forecasts, or y0, y1, ..."""
        return self.features if self.head == "forecast" else tuple(f"y{i}" for i in range(self.n_out))

    def with_provenance(self, **more: Any) -> ModelSpec:
        return replace(self, provenance={**self.provenance, **more})

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, so that equal specifications have equal text."""
        out: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        out["layers"] = [asdict(layer) for layer in self.layers]
        for name in ("detector", "learning", "provenance"):
            out[name] = dict(out[name])
        return json.dumps({"format": FORMAT, **out}, sort_keys=True, allow_nan=False)

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
        if type(version) is not int or version != FORMAT:  # True and 1.0 equal 1
            raise ModelError(f"the model's format is {version!r}; this streamrnn reads format {FORMAT}")
        unknown = sorted(set(data) - set(cls.__slots__))
        if unknown:
            raise ModelError(f"the model's metadata has unknown keys: {', '.join(unknown)}")
        missing = [name for name in ("n_in", "n_out", "layers") if name not in data]
        if missing:
            raise ModelError(f"the model's metadata lacks {', '.join(missing)}")
        for name, kind in _JSON_TYPES.items():
            if name in data and not isinstance(data[name], kind):
                raise ModelError(f"{name} in the model's metadata is {type(data[name]).__name__}, not {kind.__name__}")
        try:
            data["layers"] = tuple(LayerSpec(**layer) for layer in data["layers"])
        except TypeError:
            raise ModelError("each layer in the model's metadata needs exactly cell, n_in and hidden") from None
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


def array_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Name and shape of every array that a model of this specification has, in PyTorch's names and layout."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i, layer in enumerate(spec.layers):
        rows = GATES[layer.cell] * layer.hidden
        shapes[f"weight_ih_l{i}"] = (rows, layer.n_in)
        shapes[f"weight_hh_l{i}"] = (rows, layer.hidden)
        shapes[f"bias_ih_l{i}"] = (rows,)
        shapes[f"bias_hh_l{i}"] = (rows,)
        if layer.cell == "reservoir":
            shapes[f"leak_l{i}"] = (layer.hidden,)
    if spec.readout == "linear":
        shapes["readout.weight"] = (spec.n_out, spec.layers[-1].hidden)
        shapes["readout.bias"] = (spec.n_out,)
    if spec.normaliser == "fixed":
        shapes["normaliser.mean"] = (spec.n_in,)
        shapes["normaliser.scale"] = (spec.n_in,)
    return shapes
