"""The kinds of layer that a network is a chain of, each with its sizes and the arrays that belong to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar, Final

from streamrnn.errors import ModelError

from .checks import choice, integer, real

__all__ = [
    "ACTIVATIONS",
    "CELLS",
    "GATES",
    "MAX_WIDTH",
    "ActivationSpec",
    "AnyLayer",
    "DenseSpec",
    "EmbeddingSpec",
    "LayerSpec",
    "NormSpec",
    "Shapes",
    "layer_from_json",
    "layer_to_json",
]

GATES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "rnn_tanh": 1,
        "rnn_relu": 1,
        "rnn_sigmoid": 1,
        "rnn_linear": 1,
        "lstm": 4,
        "gru": 3,
        "gru_reset_before": 3,
        "reservoir": 1,
    }
)
"""Rows of weight_ih and weight_hh for each hidden unit, by cell."""

CELLS: Final = tuple(GATES)

ACTIVATIONS: Final = ("linear", "relu", "tanh", "sigmoid", "softmax")
"""What may follow a dense layer. Inside a cell, all but softmax."""

_GATED: Final = ("lstm", "gru", "gru_reset_before")
_OWN_ACTIVATIONS: Final = {
    "lstm": ("sigmoid", "tanh", "tanh"),
    "gru": ("sigmoid", "tanh"),
    "gru_reset_before": ("sigmoid", "tanh"),
}

MAX_WIDTH: Final = 65_536

_LARGEST: Final = 1e12

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """One recurrent layer: its cell (CELLS), inputs and hidden units.

    "gru_reset_before" multiplies h by the reset gate before the product, "gru" after it. `proj` above 0 is an LSTM
    whose h is projected to that many numbers (H. Sak et al. 2014, PyTorch's proj_size). `clip` above 0 bounds the
    pre-activations of gates and candidate, as ONNX Runtime takes ONNX's attribute of that name. `activations` are those
    of the gates, of the candidate and, for an LSTM, of the cell's output; none given means the cell's own.
    """

    kind: ClassVar[str] = "recurrent"

    cell: str
    n_in: int
    hidden: int
    proj: int = 0
    clip: float = 0.0
    activations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        choice("cell", self.cell, CELLS)
        _whole(self, "a layer", "n_in", "hidden")
        object.__setattr__(self, "proj", integer("a layer's proj", self.proj, 0, self.hidden))
        if self.proj and self.cell != "lstm":
            raise ModelError(f"proj is {self.proj} in a layer of {self.cell}; only an LSTM has a projection")
        object.__setattr__(self, "clip", real("a layer's clip", self.clip, 0.0, _LARGEST))
        if self.clip and self.cell == "reservoir":
            raise ModelError("a reservoir has no clip; leave it out")
        self._check_activations()

    def _check_activations(self) -> None:
        own = _OWN_ACTIVATIONS.get(self.cell, ())
        given = tuple(self.activations)
        if given and len(given) != len(own):
            raise ModelError(f"a layer of {self.cell} takes {len(own)} activations; it has {len(given)}: {given!r}")
        for name in given:
            if name not in ACTIVATIONS or name == "softmax":
                raise ModelError(f"activation {name!r} of a cell; use one of {', '.join(ACTIVATIONS[:-1])}")
        # One way to say the ordinary cell, so that equal networks have equal fingerprints.
        object.__setattr__(self, "activations", () if given == own else given)

    @property
    def width(self) -> int:
        """Numbers that the layer hands on."""
        return self.proj or self.hidden

    @property
    def state_size(self) -> int:
        """float32 numbers of state for each stream: h, and for an LSTM c."""
        return self.width + self.hidden if self.cell == "lstm" else self.hidden

    @property
    def all_activations(self) -> tuple[str, ...]:
        """The activations, the cell's own where none are given; an Elman network's is in its cell's name."""
        if self.cell in _GATED:
            return self.activations or _OWN_ACTIVATIONS[self.cell]
        return ("tanh" if self.cell == "reservoir" else self.cell.removeprefix("rnn_"),)

    @property
    def plain(self) -> bool:
        """Whether a kernel of its own computes this form; the others share one (kernels/forms.py)."""
        odd = self.cell in ("gru_reset_before", "rnn_sigmoid", "rnn_linear")
        return not (odd or self.proj or self.clip or self.activations)

    def shapes(self, i: int) -> Shapes:
        """Name and shape of each of the layer's arrays, where it is the i-th of the chain; PyTorch's names."""
        rows = GATES[self.cell] * self.hidden
        shapes: Shapes = {
            f"weight_ih_l{i}": (rows, self.n_in),
            f"weight_hh_l{i}": (rows, self.width),
            f"bias_ih_l{i}": (rows,),
            f"bias_hh_l{i}": (rows,),
        }
        if self.cell == "reservoir":
            shapes[f"leak_l{i}"] = (self.hidden,)
        if self.proj:
            shapes[f"weight_hr_l{i}"] = (self.proj, self.hidden)
        return shapes

    def multiplications(self) -> int:
        """Fused multiply-adds of the layer's products in one step."""
        return GATES[self.cell] * self.hidden * (self.n_in + self.width) + self.proj * self.hidden

    def __str__(self) -> str:
        more = [f"projected to {self.proj}"] * bool(self.proj) + [f"clip {self.clip:g}"] * bool(self.clip)
        more += [", ".join(self.activations)] * bool(self.activations)
        return f"{self.cell} {self.n_in} -> {self.hidden}" + "".join(f", {part}" for part in more)


@dataclass(frozen=True, slots=True)
class EmbeddingSpec:
    """A row of a table for a token: the first layer of a network whose input is one integer from 0 to n_tokens - 1.

    It computes what a one-hot vector times the table would, without the product.
    """

    kind: ClassVar[str] = "embedding"
    state_size: ClassVar[int] = 0
    n_in: ClassVar[int] = 1

    n_tokens: int
    width: int

    def __post_init__(self) -> None:
        _whole(self, "an embedding", "n_tokens", "width")

    def shapes(self, i: int) -> Shapes:
        return {f"weight_l{i}": (self.n_tokens, self.width)}

    def multiplications(self) -> int:
        return 0

    def __str__(self) -> str:
        return f"embedding of {self.n_tokens} tokens -> {self.width}"


@dataclass(frozen=True, slots=True)
class DenseSpec:
    """act(W x + b), with one of ACTIVATIONS."""

    kind: ClassVar[str] = "dense"
    state_size: ClassVar[int] = 0

    n_in: int
    n_out: int
    activation: str = "linear"

    def __post_init__(self) -> None:
        _whole(self, "a dense layer", "n_in", "n_out")
        choice("activation", self.activation, ACTIVATIONS)

    @property
    def width(self) -> int:
        return self.n_out

    def shapes(self, i: int) -> Shapes:
        return {f"weight_l{i}": (self.n_out, self.n_in), f"bias_l{i}": (self.n_out,)}

    def multiplications(self) -> int:
        return self.n_in * self.n_out

    def __str__(self) -> str:
        return f"dense {self.n_in} -> {self.n_out}, {self.activation}"


@dataclass(frozen=True, slots=True)
class NormSpec:
    """Layer normalisation over the features: (x - mean) / sqrt(var + epsilon) * weight + bias."""

    kind: ClassVar[str] = "layer_norm"
    state_size: ClassVar[int] = 0

    n_in: int
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        _whole(self, "a layer norm", "n_in")
        object.__setattr__(self, "epsilon", real("a layer norm's epsilon", self.epsilon, 1e-30, _LARGEST))

    @property
    def width(self) -> int:
        return self.n_in

    def shapes(self, i: int) -> Shapes:
        return {f"weight_l{i}": (self.n_in,), f"bias_l{i}": (self.n_in,)}

    def multiplications(self) -> int:
        return 3 * self.n_in

    def __str__(self) -> str:
        return f"layer norm {self.n_in}, epsilon {self.epsilon:g}"


@dataclass(frozen=True, slots=True)
class ActivationSpec:
    """One of ACTIVATIONS by itself."""

    kind: ClassVar[str] = "activation"
    state_size: ClassVar[int] = 0

    n_in: int
    activation: str

    def __post_init__(self) -> None:
        _whole(self, "an activation", "n_in")
        choice("activation", self.activation, ACTIVATIONS)

    @property
    def width(self) -> int:
        return self.n_in

    def shapes(self, i: int) -> Shapes:  # noqa: ARG002 - as the other kinds
        return {}

    def multiplications(self) -> int:
        return 0

    def __str__(self) -> str:
        return f"{self.activation} {self.n_in}"


AnyLayer = LayerSpec | EmbeddingSpec | DenseSpec | NormSpec | ActivationSpec
_KINDS: Final[Mapping[str, type[AnyLayer]]] = MappingProxyType(
    {kind.kind: kind for kind in (LayerSpec, EmbeddingSpec, DenseSpec, NormSpec, ActivationSpec)}
)


def layer_to_json(layer: AnyLayer) -> dict[str, Any]:
    """A layer as plain values; a plain recurrent one as format 1 of the file has it."""
    values = {f.name: getattr(layer, f.name) for f in fields(layer)}
    if isinstance(layer, LayerSpec):
        optional = {"proj": layer.proj, "clip": layer.clip, "activations": list(layer.activations)}
        return {k: v for k, v in values.items() if k not in optional} | {k: v for k, v in optional.items() if v}
    return {"kind": layer.kind, **values}


def layer_from_json(data: object) -> AnyLayer:
    """The reverse; anything else is a ModelError."""
    if not isinstance(data, dict):
        raise ModelError(f"a layer in the model's metadata is {type(data).__name__}, not an object")
    values = dict(data)
    kind = values.pop("kind", LayerSpec.kind)
    made = _KINDS.get(kind) if isinstance(kind, str) else None
    if made is None:
        raise ModelError(f"a layer in the model's metadata is of kind {kind!r}; known are {', '.join(_KINDS)}")
    if not isinstance(values.get("activations", []), list):
        raise ModelError("a layer's activations in the model's metadata must be a list of names")
    try:
        return made(**values)
    except TypeError:
        names = "cell, n_in and hidden" if made is LayerSpec else ", ".join(f.name for f in fields(made))
        raise ModelError(f"each {kind} layer in the model's metadata needs exactly {names}") from None


def _whole(layer: AnyLayer, what: str, *names: str) -> None:
    """Check that sizes are integers, and make them Python's."""
    for name in names:
        object.__setattr__(layer, name, integer(f"{what}'s {name}", getattr(layer, name), 1, MAX_WIDTH))
