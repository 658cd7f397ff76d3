"""What flows along an edge of an ONNX graph, as far as an importer must know it.

A live value is held as an array of numbers that say which feature of which step each of its elements is. Operators
that only move elements about (Transpose, Reshape, Squeeze, Slice, ...) are then carried out on those numbers, and
whatever an exporter writes, the result shows what it does: whether features are still features, and whether one step or
all of them are left. The states that go in and come out are followed in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.errors import SourceError

from .needs import reason
from .parts import Array, Part, dense, norm

__all__ = ["Const", "Deferred", "Evaluator", "Given", "Live", "State", "Value", "identify"]

Ids = npt.NDArray[np.int64]

STEP = 1 << 40
"""Distance of the numbers of one layer's state from those of the next."""


@dataclass(frozen=True)
class Const:
    """A number that does not depend on the input."""

    array: npt.NDArray[Any]


@dataclass(frozen=True)
class Live:
    """What `point` parts have made of the input: ids = step * features + feature."""

    ids: Ids
    features: int
    point: int

    def steps(self) -> list[int] | None:
        """The steps whose features stand side by side in the last axis, in order, or None where that is not so."""
        if self.ids.ndim == 0 or self.ids.shape[-1] != self.features:
            return None
        rows = self.ids.reshape(-1, self.features)
        if (rows[:, :1] % self.features).any() or (rows - rows[:, :1] != np.arange(self.features)).any():
            return None
        return [int(k) for k in rows[:, 0] // self.features]

    def like(self, features: int, point: int) -> Live:
        """The same steps with other features in the last axis, made by one more part."""
        steps = np.array(self.steps(), np.int64)
        ids = steps[:, None] * features + np.arange(features)
        return Live(ids.reshape(*self.ids.shape[:-1], features), features, point)


@dataclass(frozen=True)
class Given:
    """A state that the graph takes as an input: ids are its elements' places in that input."""

    ids: Ids
    name: str


@dataclass(frozen=True)
class State:
    """A state that a recurrent node gives back: ids = STEP * (2 layer + (0 for h, 1 for c)) + unit."""

    ids: Ids


@dataclass(frozen=True)
class Deferred:
    """Arithmetic on a live value that may turn out to be a layer norm, a scale or a shift."""

    base: Live
    compute: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
    constants: tuple[npt.NDArray[Any], ...]


Value = Const | Live | Given | State | Deferred


class Evaluator:
    """Carries out single nodes by ONNX's reference implementation."""

    def __init__(self, onnx: Any, opsets: Any) -> None:
        self._onnx, self.opsets = onnx, opsets

    def __call__(self, node: Any, inputs: list[npt.NDArray[Any] | None]) -> list[npt.NDArray[Any]]:
        """The node's outputs; SourceError where it cannot be carried out."""
        helper = self._onnx.helper
        named = {name: value for name, value in zip(node.input, inputs, strict=True) if name and value is not None}
        ports = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in named.items()
        ]
        outputs = [name for name in node.output if name]
        typed = [self._onnx.ValueInfoProto(name=name) for name in outputs]
        graph = helper.make_graph([node], "one", ports, typed)
        model = helper.make_model(graph, opset_imports=self.opsets)
        try:
            from onnx.reference import ReferenceEvaluator  # noqa: PLC0415 - where onnx is used, and only there

            found = ReferenceEvaluator(model).run(outputs, named)
        except Exception as error:  # the reference raises anything for a node that cannot be
            raise SourceError(f"node {node.name!r} ({node.op_type}) cannot be carried out: {reason(error)}") from None
        return [np.asarray(value) for value in found]


def identify(
    deferred: Deferred, last: Part | None, name: str
) -> tuple[Part | None, Part | None, tuple[Array, Array] | None]:
    """What the arithmetic is: (a part to add, one to take the last one's place, (scale, shift) before the first).

    It is tried on numbers: a layer norm for each of its constants as epsilon, weight and bias, and a scale and a shift.
    """
    base = deferred.base
    F = base.features
    if base.steps() is None:
        raise SourceError(f"{name}: arithmetic on values whose features were taken apart is not read")
    x = np.random.default_rng(5).normal(size=base.ids.shape).astype(np.float32) * 3
    y = np.asarray(deferred.compute(x), np.float64)
    if y.shape != x.shape:
        raise SourceError(f"{name}: arithmetic that makes shape {y.shape} of {x.shape} is not read")
    zero, one = np.zeros_like(x), np.ones_like(x)
    shift = np.asarray(deferred.compute(zero), np.float64)
    scale = np.asarray(deferred.compute(one), np.float64) - shift
    close = 1e-4 * (1 + np.abs(y))
    if np.isfinite(scale).all() and (np.abs(x * scale + shift - y) <= close).all():
        rows = [a.reshape(-1, F) for a in (scale, shift)]
        if all(np.allclose(a, a[0], rtol=1e-5, atol=1e-6) for a in rows):
            return _affine(rows[0][0].astype(np.float32), rows[1][0].astype(np.float32), last, name)
    found = _layer_norm(deferred, x.astype(np.float64), y, close)
    if found is None:
        raise SourceError(
            f"{name}: this arithmetic is neither a layer norm nor a scale and a shift of each feature; "
            "connections around layers and other formulas are not read"
        )
    return norm(name, F, *found), None, None


def _affine(
    scale: Array, shift: Array, last: Part | None, name: str
) -> tuple[Part | None, Part | None, tuple[Array, Array] | None]:
    if last is None:
        return None, None, (scale, shift)
    if last.layer.kind == "dense" and getattr(last.layer, "activation", "") == "linear":
        W, b = last.arrays["weight"], last.arrays["bias"]
        return None, dense(last.name, scale[:, None] * W, scale * b + shift), None
    return dense(name, np.diag(scale), shift), None, None


def _layer_norm(
    deferred: Deferred, x: npt.NDArray[Any], y: npt.NDArray[Any], close: npt.NDArray[Any]
) -> tuple[Array | None, Array | None, float] | None:
    F = deferred.base.features
    scalars = [float(c.reshape(-1)[0]) for c in deferred.constants if c.size == 1 and c.dtype.kind == "f"]
    vectors = [c.reshape(-1).astype(np.float32) for c in deferred.constants if c.size == F and c.dtype.kind == "f"]
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    for epsilon in (s for s in scalars if 0 < s < 1e-1):
        z = centred / np.sqrt(variance + epsilon)
        for weight in (None, *vectors):
            for bias in (None, *vectors):
                guess = z * (1 if weight is None else weight) + (0 if bias is None else bias)
                if (np.abs(guess - y) <= close).all() and _epsilon_fits(deferred, epsilon, weight, bias):
                    return weight, bias, epsilon
    return None


def _epsilon_fits(deferred: Deferred, epsilon: float, weight: Array | None, bias: Array | None) -> bool:
    """On inputs so small that epsilon decides."""
    x = np.random.default_rng(6).normal(size=deferred.base.ids.shape).astype(np.float32) * np.float32(np.sqrt(epsilon))
    y = np.asarray(deferred.compute(x), np.float64)
    centred = x - x.mean(-1, keepdims=True, dtype=np.float64)
    z = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    guess = z * (1 if weight is None else weight) + (0 if bias is None else bias)
    return bool((np.abs(guess - y) <= 1e-3 * (1 + np.abs(y))).all())
