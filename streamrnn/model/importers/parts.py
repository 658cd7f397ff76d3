"""What every importer makes of its source, a chain of parts; and a model's specification and arrays out of those."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from streamrnn.errors import SourceError

from ..layers import ActivationSpec, AnyLayer, DenseSpec, EmbeddingSpec, LayerSpec, NormSpec
from ..spec import ModelSpec
from ..weights import MAX_WEIGHT

__all__ = [
    "Array",
    "Part",
    "Reference",
    "Source",
    "activation",
    "assemble",
    "blocks_of",
    "dense",
    "each",
    "embedding",
    "finite",
    "floats",
    "norm",
    "recurrent",
]

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Part:
    """One layer of the source: what it is, its arrays without their place in the chain, its name there."""

    layer: AnyLayer
    arrays: dict[str, Array]
    name: str


class Reference(Protocol):
    """The original, made to run."""

    against: str
    """What runs it, with its version."""

    length: int | None
    """Steps that it takes at once, where it takes no other number."""

    def __call__(self, x: Array) -> Array:
        """Run a sequence float32 (T, n_in), (T, 1) of tokens, from the beginning: outputs (T, n_out), or (1, n_out)
        where only the last step's are given."""


@dataclass
class Source:
    """A network of another library: its chain, where it came from, and what a person should know."""

    parts: list[Part]
    provenance: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    reference: Reference | None = None
    why_not: str = ""
    """Why there is no reference to compare with."""
    mean: Array | None = None
    scale: Array | None = None
    window: int | None = None
    """Steps that the original takes at once, each time from the beginning, where it takes no other number."""


def floats(name: str, value: npt.ArrayLike) -> Array:
    """A tensor of the source as float32; anything but real numbers is a SourceError by name."""
    array = np.asarray(value)
    if array.dtype.kind != "f":
        raise SourceError(f"tensor {name!r} has dtype {array.dtype}; only real numbers are read: convert it to float32")
    finite(name, array)
    return np.ascontiguousarray(array, np.float32)


def finite(name: str, array: npt.NDArray[Any]) -> None:
    """SourceError, under the tensor's name in the source, for a number that no model may hold."""
    wrong = ~(np.abs(array.astype(np.float64)) <= MAX_WEIGHT)
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise SourceError(
            f"tensor {name!r} of shape {array.shape} holds {array[where]:g} at {list(where)}; every value must be "
            f"finite and at most {MAX_WEIGHT:g} in size: its training went wrong; bring the network as it was before"
        )


def recurrent(
    name: str,
    cell: str,
    W_ih: Array,
    W_hh: Array,
    b_ih: Array | None,
    b_hh: Array | None,
    *,
    W_hr: Array | None = None,
    clip: float = 0.0,
    activations: Sequence[str] = (),
    gates: int,
) -> Part:
    """A recurrent part in PyTorch's order of gates; a bias that is None is zero. Wrong shapes are a SourceError."""
    rows = W_ih.shape[0] if W_ih.ndim == 2 else -1
    H = rows // gates
    width = H if W_hr is None else W_hr.shape[0]
    zero = np.zeros(max(rows, 0), np.float32)
    b_ih, b_hh = (zero if b is None else b for b in (b_ih, b_hh))
    wanted: dict[str, tuple[Array, tuple[int, ...]]] = {
        "W_ih": (W_ih, (gates * H, W_ih.shape[-1])),
        "W_hh": (W_hh, (gates * H, width)),
    }
    wanted |= {"b_ih": (b_ih, (gates * H,)), "b_hh": (b_hh, (gates * H,))}
    if W_hr is not None:
        wanted["W_hr"] = (W_hr, (width, H))
    for part, (array, shape) in wanted.items():
        if array.shape != shape:
            raise SourceError(
                f"{name}: {part} has shape {array.shape}; with cell {cell!r} of {H} units it needs {shape}"
            )
    layer = LayerSpec(cell, W_ih.shape[1], H, 0 if W_hr is None else width, clip, tuple(activations))
    arrays = {"weight_ih": W_ih, "weight_hh": W_hh, "bias_ih": b_ih, "bias_hh": b_hh}
    return Part(layer, arrays | ({} if W_hr is None else {"weight_hr": W_hr}), name)


def dense(name: str, W: Array, b: Array | None, act: str = "linear") -> Part:
    """W (n_out, n_in), b (n_out,) or None."""
    if W.ndim != 2 or (b is not None and b.shape != W.shape[:1]):
        shapes = f"{W.shape} and {None if b is None else b.shape}"
        raise SourceError(f"{name}: weight and bias have shapes {shapes}; a dense layer needs (out, in) and (out,)")
    b = np.zeros(W.shape[0], np.float32) if b is None else b
    return Part(DenseSpec(W.shape[1], W.shape[0], act), {"weight": W, "bias": b}, name)


def embedding(name: str, W: Array) -> Part:
    """A table W (n_tokens, width) for the network's input, which is one token."""
    if W.ndim != 2:
        raise SourceError(f"{name}: the table has shape {W.shape}; an embedding needs (tokens, width)")
    return Part(EmbeddingSpec(W.shape[0], W.shape[1]), {"weight": W}, name)


def norm(name: str, n: int, weight: Array | None, bias: Array | None, epsilon: float) -> Part:
    """A layer norm over n features; a weight that is None is one, a bias zero."""
    weight = np.ones(n, np.float32) if weight is None else weight.reshape(-1)
    bias = np.zeros(n, np.float32) if bias is None else bias.reshape(-1)
    if weight.shape != (n,) or bias.shape != (n,):
        raise SourceError(f"{name}: weight and bias have shapes {weight.shape} and {bias.shape}; both must be ({n},)")
    return Part(NormSpec(n, float(epsilon)), {"weight": weight, "bias": bias}, name)


def activation(name: str, n: int, act: str) -> Part:
    """An activation by itself."""
    return Part(ActivationSpec(n, act), {}, name)


def blocks_of(array: Array, order: Sequence[int], axis: int = 0) -> Array:
    """The array with its equal blocks along an axis in another order: how gates are sorted."""
    parts = np.split(array, len(order), axis)
    return np.ascontiguousarray(np.concatenate([parts[k] for k in order], axis))


def _merged(parts: Sequence[Part]) -> list[Part]:
    """Activations go into the dense layer before them; a linear one is nothing."""
    merged: list[Part] = []
    for part in parts:
        last = merged[-1] if merged else None
        if isinstance(part.layer, ActivationSpec):
            if part.layer.activation == "linear":
                continue
            if last is not None and isinstance(last.layer, DenseSpec) and last.layer.activation == "linear":
                merged[-1] = replace(last, layer=replace(last.layer, activation=part.layer.activation))
                continue
        merged.append(part)
    return merged


def assemble(source: Source) -> tuple[ModelSpec, dict[str, Array]]:
    """The source as it is: no features, and a head that adds nothing to what it computes.

    A last dense layer becomes the readout, with softmax the classifier's; parts that do not fit are a SourceError.
    """
    parts = _merged(source.parts)
    if not any(isinstance(p.layer, LayerSpec) for p in parts):
        found = ", ".join(p.name for p in parts)
        only = f", only {found}" if found else ""
        raise SourceError(f"no recurrent layer was found{only}; there is nothing to keep a state for")
    for part in parts[1:]:
        if isinstance(part.layer, EmbeddingSpec):
            raise SourceError(f"{part.name} is an embedding behind {parts[0].name}; only the first layer can be one")
    for before, part in pairwise(parts):
        if before.layer.width != part.layer.n_in:
            raise SourceError(
                f"{part.name} takes {part.layer.n_in} numbers where {before.name} before it gives "
                f"{before.layer.width}; if the layers are in another order, say so with order (--order)"
            )
    last, head, readout = parts[-1], "regress", "none"
    width = last.layer.width
    arrays: dict[str, Array] = {}
    if isinstance(last.layer, DenseSpec) and last.layer.activation in ("linear", "softmax"):
        readout = "linear"
        head = "classify" if last.layer.activation == "softmax" else "regress"
        arrays |= {f"readout.{name}": array for name, array in last.arrays.items()}
        parts = parts[:-1]
    elif isinstance(last.layer, ActivationSpec) and last.layer.activation == "softmax":
        head = "classify"
    for i, part in enumerate(parts):
        arrays |= {f"{name}_l{i}": array for name, array in part.arrays.items()}
    n_in = parts[0].layer.n_in
    fixed = source.mean is not None and source.scale is not None
    if source.mean is not None and source.scale is not None:
        arrays |= {"normaliser.mean": source.mean, "normaliser.scale": source.scale}
    spec = ModelSpec(
        n_in,
        width,
        tuple(part.layer for part in parts),
        head=head,
        readout=readout,
        normaliser="fixed" if fixed else "none",
    )
    return spec, arrays


def each(names: Sequence[str], make: Callable[[str], str] = repr) -> str:
    """Names for a message, not more than a dozen of them."""
    return ", ".join(make(n) for n in names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
