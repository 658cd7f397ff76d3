"""What a network is, without its numbers: layers, head, features, normalisation, detector settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from streamrnn.errors import ModelError

from .checks import choice, integer, is_list, names, plain, real, reals
from .layers import (
    MAX_WIDTH,
    ActivationSpec,
    AnyLayer,
    DenseSpec,
    EmbeddingSpec,
    LayerSpec,
    Shapes,
    layer_from_json,
    layer_to_json,
)

__all__ = ["FORMAT", "HEADS", "QUANTILES", "ModelSpec", "array_shapes"]

FORMAT: Final = 3
"""Latest version of the file format that is read and written; a model that an older one can hold is written as that.

1: plain recurrent layers with a linear or an online readout. 2: layers of every kind but an embedding, and no readout.
3: an embedding, a horizon, a spread.
"""

HEADS: Final = ("forecast", "classify", "regress")
NORMALISERS: Final = ("none", "fixed", "causal")
READOUTS: Final = ("linear", "online", "none")

SPREADS: Final[Mapping[str, int]] = MappingProxyType({"none": 1, "gaussian": 2, "quantile": 3})
"""Outputs of a forecast for each channel, by its spread."""

QUANTILES: Final = (0.1, 0.9)

MAX_LAYERS: Final = 64
MAX_HORIZON: Final = 4096
MAX_KEPT: Final = 1 << 20
"""Numbers of past forecasts that a stream may keep: 4 MiB."""

_FORMAT_3: Final = ("horizon", "spread", "quantiles")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The whole network: a chain of layers of any kind, and what comes before and after it.

    `head` is what y means: "forecast" (the next sample, so n_out = n_in), "classify" (class probabilities) or
    "regress" (raw). `normaliser` is "none", "fixed" (per-channel mean and scale, in the weights) or "causal" (learned
    for each stream as it runs). `readout` is "linear", "online" (learned for each stream by recursive least squares) or
    "none" (y is what the last layer gives). `clock` adds the sine and cosine of the time of day to the first layer's
    inputs where a sample carries real time. `detector` overrides settings of kernels.score.SETTINGS, `learning` those
    of kernels.rls.SETTINGS.

    `horizon` is how many samples ahead a forecast is. With `spread` "gaussian" it has a standard deviation behind the
    mean of each channel, n_out = 2 n_in; with "quantile" the quantiles low and high of `quantiles` behind the median,
    n_out = 3 n_in: all means first, then all of the next. A first layer of kind "embedding" makes the input one token:
    n_in = 1; a forecast is then the probabilities of the next token, n_out = n_tokens.
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
    horizon: int = 1
    spread: str = "none"
    quantiles: tuple[float, float] = QUANTILES

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "n_in", integer("n_in", self.n_in, 1, MAX_WIDTH))
        put(self, "n_out", integer("n_out", self.n_out, 1, MAX_WIDTH))
        if not isinstance(self.layers, (list, tuple)) or not all(isinstance(x, AnyLayer) for x in self.layers):
            raise ModelError(f"layers is {self.layers!r:.60}; it must be a list of layers, the first one first")
        put(self, "layers", tuple(self.layers))
        put(self, "horizon", integer("horizon", self.horizon, 1, MAX_HORIZON))
        put(self, "quantiles", _pair(self.quantiles))
        given = names("features", self.features)
        put(self, "features", given or (("token",) if self.tokens else tuple(f"x{i}" for i in range(self.n_in))))
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
        self._check_tokens()
        width = self.n_net
        for i, layer in enumerate(self.layers):
            if layer.n_in != width:
                raise ModelError(f"layer {i} takes {layer.n_in} inputs but is given {width}; set its n_in to {width}")
            width = layer.width
        self._check_forecast()
        self._check_end(width)
        if self.readout == "online" and (self.head != "forecast" or self.normaliser != "causal"):
            raise ModelError("an online readout learns forecasts of causally normalised samples; use them together")
        if self.normaliser == "causal" and self.readout != "online":
            raise ModelError("the causal normaliser belongs to the online readout; use normaliser 'fixed' or 'none'")
        for name, given in (("features", self.features), ("units", self.units)):
            if len(given) != self.n_in:
                said = ", ".join(given)
                raise ModelError(f"{name} needs {self.n_in} names, one a channel; it has {len(given)}: {said:.200}")
        twice = [name for i, name in enumerate(self.features) if name in self.features[:i]]
        if twice:
            raise ModelError(f"features must differ from each other, and {twice[0]!r} is there twice; rename one")
        if len(set(self.outputs)) != self.n_out:
            said = ", ".join(self.outputs)
            raise ModelError(f"a feature has the name of another's spread: {said:.200}; rename it")

    def _check_tokens(self) -> None:
        """An embedding is the first layer, and nothing comes between the token and it."""
        for i, layer in enumerate(self.layers):
            if i > 0 and isinstance(layer, EmbeddingSpec):
                raise ModelError(f"layer {i} is an embedding; only the first layer, which is given a token, can be one")
        if not self.tokens:
            return
        if self.n_in != 1:
            raise ModelError(f"n_in is {self.n_in} in front of an embedding, which takes one token: use 1")
        if self.clock:
            raise ModelError("clock adds two inputs, and an embedding takes one token: use clock=False")
        if self.normaliser != "none":
            raise ModelError(f"normaliser is {self.normaliser!r}; a token is no quantity: use 'none'")
        if self.spread != "none":
            raise ModelError(f"spread is {self.spread!r}; the forecast of a token is probabilities: use 'none'")

    def _check_forecast(self) -> None:
        """What belongs to a forecast: its width, its horizon, its spread."""
        choice("spread", self.spread, tuple(SPREADS))
        if self.spread != "quantile" and self.quantiles != QUANTILES:
            said = ",".join(f"{q:g}" for q in self.quantiles)
            raise ModelError(f"quantiles is {said} with spread {self.spread!r}; use spread 'quantile'")
        if self.head != "forecast":
            for name, value, plain in (("horizon", self.horizon, 1), ("spread", self.spread, "none")):
                if value != plain:
                    raise ModelError(f"{name} is {value!r} with head {self.head!r}; only a forecast has one")
            return
        each = SPREADS[self.spread]
        if self.n_out != each * self.n_point:
            what = "n_tokens" if self.tokens else "n_in" if each == 1 else f"{each} n_in, with spread {self.spread!r},"
            raise ModelError(f"a forecast head needs n_out = {what} = {each * self.n_point}; n_out is {self.n_out}")
        if self.horizon * self.n_point > MAX_KEPT:
            raise ModelError(
                f"horizon is {self.horizon} with {self.n_point} forecasts a sample; a stream keeps all of them, at "
                f"most {MAX_KEPT}: use a horizon of at most {MAX_KEPT // self.n_point}"
            )
        if self.readout == "online" and (self.horizon > 1 or self.spread != "none"):
            raise ModelError("an online readout forecasts the next sample; use horizon 1 and spread 'none'")

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
        if self.readout == "none" and self.head == "forecast" and self.tokens:
            ends = isinstance(last, (DenseSpec, ActivationSpec)) and last.activation == "softmax"
            if not ends:
                raise ModelError(
                    "a forecast of tokens without a readout needs probabilities: let the last layer end in softmax, or "
                    "use readout 'linear'"
                )

    @property
    def format(self) -> int:
        """The oldest version of the file format that can hold this model."""
        if self.tokens or self.horizon > 1 or self.spread != "none":
            return 3
        plain = all(isinstance(layer, LayerSpec) and layer.plain for layer in self.layers)
        return 1 if plain and self.readout != "none" else 2

    @property
    def tokens(self) -> int:
        """How many tokens there are where the input is one, else 0."""
        first = self.layers[0] if self.layers else None
        return first.n_tokens if isinstance(first, EmbeddingSpec) else 0

    @property
    def n_point(self) -> int:
        """How many of a forecast's outputs say what the sample will be, its spread aside; they are the first ones."""
        return self.tokens or self.n_in

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
        """A name for each output: hr, hr_sd or hr_q10 for a feature's forecast, p0, ... for tokens', else y0, ..."""
        if self.head != "forecast":
            return tuple(f"y{i}" for i in range(self.n_out))
        if self.tokens:
            return tuple(f"p{i}" for i in range(self.n_out))
        spread = {"none": (), "gaussian": ("sd",), "quantile": tuple(f"q{100 * q:g}" for q in self.quantiles)}
        return self.features + tuple(f"{f}_{part}" for part in spread[self.spread] for f in self.features)

    def with_provenance(self, **more: Any) -> ModelSpec:
        return replace(self, provenance={**self.provenance, **more})

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, so that equal specifications have equal text."""
        out: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        out["layers"] = [layer_to_json(layer) for layer in self.layers]
        for name in ("detector", "learning", "provenance"):
            out[name] = dict(out[name])
        if self.format < FORMAT:
            out = {name: value for name, value in out.items() if name not in _FORMAT_3}
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
        known = set(cls.__slots__) - (set() if version >= 3 else set(_FORMAT_3))
        unknown = sorted(set(data) - known)
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
    "horizon": int,
    "spread": str,
    "quantiles": list,
}


def _pair(value: Any) -> tuple[float, float]:
    """Two quantiles about the median."""
    said = f"{','.join(map(str, value)) if is_list(value) else repr(value):.60}"
    if not is_list(value) or len(value) != 2:
        raise ModelError(f"quantiles is {said}; it must be two numbers, a low and a high one")
    low, high = (real("quantiles", q, 0.0, 1.0) for q in value)
    if not 0.0 < low < 0.5 < high < 1.0:
        raise ModelError(f"quantiles is {said}; the low one must be between 0 and 0.5, the high one up to 1")
    return low, high


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
