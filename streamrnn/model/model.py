"""A model: a frozen specification and its read-only arrays."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from streamrnn.errors import ModelError
from streamrnn.kernels import rls, surprise
from streamrnn.kernels.score import COMPONENTS, RANGES, SETTINGS

from . import file
from .builtin import BUILTINS, builtin_path
from .checks import integer, integers, is_list, names, real
from .layers import MAX_WIDTH, LayerSpec, layer_to_json
from .spec import MAX_LAYERS, ModelSpec
from .weights import Array, adaptive_weights, check_arrays, random_weights

if TYPE_CHECKING:
    from .importers import Metadata

__all__ = ["Model"]

_Ranges = Mapping[str, tuple[float, float]]

_ALIASES = {"rnn": "rnn_tanh", "elman": "rnn_tanh"}


@dataclass(frozen=True, eq=False)
class Model:
    """What every stream's state is advanced by; immutable, shared by all streams.

    >>> model = Model.random(cell="lstm", n_in=4, hidden=8, n_out=2, seed=1)
    >>> model.arrays["weight_hh_l0"].shape
    (32, 8)
    """

    spec: ModelSpec
    arrays: Mapping[str, Array]
    """Read-only float32 arrays under PyTorch's names: weight_ih_l0, ..., readout.weight, readout.bias."""

    def __init__(self, spec: ModelSpec, arrays: Mapping[str, npt.ArrayLike]) -> None:
        """Check and copy `arrays` (`spec.array_shapes`); a wrong one is a ModelError that names it and its shape."""
        if not isinstance(spec, ModelSpec):
            raise ModelError(f"the specification is {spec!r:.60}; it must be a ModelSpec")
        if not isinstance(arrays, Mapping):
            raise ModelError(f"the arrays are {arrays!r:.60}; they must be a map of arrays by name")
        check_detector(spec.detector, spec.tokens > 0)
        _check_settings("learning", spec.learning, rls.RANGES)
        object.__setattr__(self, "spec", spec)
        object.__setattr__(self, "arrays", check_arrays(spec, arrays))

    @classmethod
    def random(
        cls,
        cell: str = "lstm",
        *,
        n_in: int,
        hidden: int | Sequence[int],
        layers: int | None = None,
        n_out: int | None = None,
        seed: int = 0,
        head: str = "regress",
        features: Sequence[str] = (),
        detector: Mapping[str, float] | None = None,
    ) -> Model:
        """An untrained network, for tests and benchmarks.

        `cell` is "rnn" (tanh), "rnn_relu", "lstm" or "gru"; `hidden` one width, or one for each layer; `n_out`
        defaults to n_in; `detector` overrides settings (kernels.score.SETTINGS) within their RANGES. Weights are
        uniform in ±1/sqrt(hidden), the same bits for a seed everywhere. Raises ModelError for what no network can have.
        """
        one_each = len(hidden) if is_list(hidden) else 1
        depth = integer("layers", one_each if layers is None else layers, 1, MAX_LAYERS)
        widths = integers("hidden", hidden, depth, 1, MAX_WIDTH)
        cell = _ALIASES.get(cell, cell) if isinstance(cell, str) else cell
        seed = integer("seed", seed, 0)
        spec = ModelSpec(
            n_in=n_in,
            n_out=n_in if n_out is None else n_out,
            layers=tuple(LayerSpec(cell, i, h) for i, h in zip((n_in, *widths[:-1]), widths, strict=True)),
            head=head,
            features=names("features", features),
            detector={} if detector is None else detector,
            provenance={"made_by": "Model.random", "seed": seed},
        )
        return cls(spec, random_weights(spec, seed))

    @classmethod
    def adaptive(
        cls,
        n_in: int,
        hidden: int = 64,
        seed: int = 0,
        *,
        features: Sequence[str] = (),
        units: Sequence[str] = (),
        clock: bool = True,
        radius: float = 0.9,
        input_scale: float = 0.5,
        fastest: float = 1.0,
        slowest: float = 64.0,
        detector: Mapping[str, float] | None = None,
        learning: Mapping[str, float] | None = None,
    ) -> Model:
        """The model that needs no training: a random reservoir whose readout each stream learns as it runs.

        `radius` is the recurrent matrix's spectral radius, `input_scale` the size of input weights, `fastest` and
        `slowest` the units' time constants in samples; `clock` adds the time of day as two inputs wherever samples
        carry real time. `detector` and `learning` override settings (kernels.score.SETTINGS, kernels.rls.SETTINGS)
        within their RANGES. Raises ModelError for what no model can have.
        """
        n_in = integer("n_in", n_in, 1, MAX_WIDTH)
        hidden = integer("hidden", hidden, 1, MAX_WIDTH)
        seed = integer("seed", seed, 0)
        if not isinstance(clock, bool):
            raise ModelError(f"clock is {clock!r:.60}; it must be True or False")
        spec = ModelSpec(
            n_in=n_in,
            n_out=n_in,
            layers=(LayerSpec("reservoir", n_in + 2 * clock, hidden),),
            head="forecast",
            features=names("features", features),
            units=names("units", units),
            normaliser="causal",
            readout="online",
            clock=clock,
            detector={} if detector is None else detector,
            learning={} if learning is None else learning,
            provenance={"made_by": "Model.adaptive", "seed": seed},
        )
        return cls(spec, adaptive_weights(spec, seed, radius, input_scale, fastest, slowest))

    @classmethod
    def from_torch(
        cls,
        source: object,
        *,
        order: Sequence[str] | None = None,
        nonlinearity: str | None = None,
        check: bool = True,
        tolerance: float = 1e-4,
        **metadata: Any,
    ) -> Model:
        """The network of a torch.nn.Module, of its state dict, or of a file of that (.safetensors, .pt).

        The result is run against the original for 1,000 steps unless `check` is off; provenance["parity"] says the
        largest difference, and above `tolerance` a SourceError is raised, as for what cannot be read. `order` names the
        modules one after the other where that is not clear, `nonlinearity` the activation of an nn.RNN in a state dict.
        `metadata` is what a network does not say: features, units, head, horizon, spread, mean, scale, detector
        (importers.Metadata).
        """
        from .importers import finish, torch  # noqa: PLC0415 - only who imports pays for it

        read = torch.read(source, order=order, nonlinearity=nonlinearity)
        return finish(read, _metadata(metadata), check=check, tolerance=tolerance)

    @classmethod
    def from_onnx(
        cls,
        path: str | os.PathLike[str],
        *,
        output: str | None = None,
        check: bool = True,
        tolerance: float = 1e-4,
        **metadata: Any,
    ) -> Model:
        """The network of an .onnx file with RNN, LSTM or GRU nodes; the rest as in `from_torch`.

        `output` names the graph's output that is y, where there are several. ONNX Runtime is the original.
        """
        from .importers import finish, onnx  # noqa: PLC0415

        return finish(onnx.read(path, output=output), _metadata(metadata), check=check, tolerance=tolerance)

    @classmethod
    def from_keras(
        cls,
        source: object,
        *,
        config: str | os.PathLike[str] | None = None,
        check: bool = True,
        tolerance: float = 1e-4,
        **metadata: Any,
    ) -> Model:
        """The network of a Keras model, or of its file (.keras, .h5); the rest as in `from_torch`.

        `config` is the file with the model's to_json(), which a .weights.h5 needs beside it.
        """
        from .importers import finish, keras  # noqa: PLC0415

        return finish(keras.read(source, config=config), _metadata(metadata), check=check, tolerance=tolerance)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Model:
        """Read a model file; anything wrong with it is a ModelError that names the tensor and the expected shape."""
        spec, arrays = file.read(path)
        try:
            return cls(spec, arrays)
        except ModelError as error:
            raise ModelError(f"{os.fspath(path)}: {error}") from None

    @classmethod
    def builtin(cls, name: str) -> Model:
        """A model that comes with the package, ready for use (docs/models.md); ModelError for a name that is none.

        >>> Model.builtin("vitals").spec.features
        ('hr', 'pulse', 'resp', 'spo2')
        """
        return cls.load(builtin_path(name))

    @staticmethod
    def builtins() -> tuple[str, ...]:
        """The names that `builtin` takes."""
        return BUILTINS

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file with the specification as JSON metadata, atomically."""
        file.write(path, self.spec, dict(self.arrays))

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of a SHA-256 over the specification (provenance aside) and all weights."""
        digest = hashlib.sha256(replace(self.spec, provenance={}).to_json().encode())
        for name in sorted(self.arrays):
            digest.update(name.encode() + b"\0")
            digest.update(self.arrays[name].tobytes())
        return digest.hexdigest()[:16]

    @property
    def parameters(self) -> int:
        """How many numbers the model holds."""
        return sum(a.size for a in self.arrays.values())

    def cause_name(self, code: int) -> str | None:
        """The words for a cause code: channel and component, as in "spo2:level"; None for -1.

        >>> Model.adaptive(2, hidden=4, features=["hr", "spo2"]).cause_name(-1) is None
        True
        """
        return None if code < 0 else self._causes[code]

    @property
    def cause_names(self) -> tuple[str, ...]:
        """The words of every cause by its code; empty for codes that stand for nothing."""
        return tuple(self._causes.get(code, "") for code in range(max(self._causes) + 1))

    @cached_property
    def _causes(self) -> dict[int, str]:
        return {
            channel * 8 + k: f"{feature}:{component}"
            for channel, feature in enumerate(self.spec.features)
            for k, component in enumerate(COMPONENTS)
            if (component == "surprise") == (self.spec.tokens > 0)
        }

    def __repr__(self) -> str:
        layers = ", ".join(
            f"{layer.cell if isinstance(layer, LayerSpec) else layer.kind} {layer.width}" for layer in self.spec.layers
        )
        return f"Model({self.spec.head}: {self.spec.n_in} -> [{layers}] -> {self.spec.n_out}, {self.fingerprint})"

    def describe(self) -> dict[str, Any]:
        """The model as plain values, for people and programs."""
        spec = self.spec
        return {
            "fingerprint": self.fingerprint,
            "head": spec.head,
            "n_in": spec.n_in,
            "n_out": spec.n_out,
            "layers": [layer_to_json(layer) for layer in spec.layers],
            "features": list(spec.features),
            "units": list(spec.units),
            "normaliser": spec.normaliser,
            "readout": spec.readout,
            "clock": spec.clock,
            "horizon": spec.horizon,
            "spread": spec.spread,
            "quantiles": list(spec.quantiles),
            "tokens": spec.tokens,
            # Those of tokens are p0, p1, ..., as many as there are.
            "outputs": [] if spec.tokens else list(spec.outputs),
            "detector": {k: spec.detector.get(k, v) for k, v in SETTINGS.items() if k in _ranges(spec.tokens > 0)},
            "learning": {**rls.SETTINGS, **spec.learning} if spec.readout == "online" else {},
            "parameters": self.parameters,
            "provenance": dict(spec.provenance),
        }


def check_detector(settings: Mapping[str, float], tokens: bool) -> None:
    """ModelError for a setting that no detector has, of tokens or of channels, or that is out of its range."""
    _check_settings("detector", settings, _ranges(tokens))


def _ranges(tokens: bool) -> _Ranges:
    """Ranges of the settings that belong to such a model: tokens have no envelopes, and channels no surprise."""
    apart = {"threshold", "release", "hold", "longest"}
    return {k: v for k, v in RANGES.items() if k in apart or (k in surprise.SETTINGS) == tokens}


def _check_settings(kind: str, given: Mapping[str, float], ranges: _Ranges) -> None:
    for name, value in given.items():
        if name not in ranges:
            raise ModelError(f"unknown {kind} setting {name!r}; known are {', '.join(ranges)}")
        real(f"{kind}.{name}", value, *ranges[name])


def _metadata(values: Mapping[str, Any]) -> Metadata:
    from .importers import Metadata  # noqa: PLC0415

    return Metadata(**values)
