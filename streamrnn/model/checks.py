"""Arguments as a specification can hold them; what it cannot is a ModelError with the value and what would do."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeGuard

from streamrnn.errors import ModelError

__all__ = ["choice", "integer", "integers", "is_list", "names", "plain", "real", "reals"]


def choice(name: str, value: Any, known: Sequence[str]) -> None:
    """One of the known words."""
    if not isinstance(value, str) or value not in known:
        raise ModelError(f"{name} is {value!r:.60}; use one of {', '.join(known)}")


def integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """An int, NumPy's integers included, from `low` to `high`."""
    try:
        number = operator.index(value)
    except TypeError:
        number = low - 1
    if isinstance(value, bool) or number < low or (high is not None and number > high):
        span = f"from {low} on" if high is None else f"from {low} to {high}"
        raise ModelError(f"{name} is {value!r:.60}; it must be an integer {span}")
    return number


def integers(name: str, value: Any, n: int, low: int, high: int) -> tuple[int, ...]:
    """An integer for each of n layers: one number for all, or one each."""
    if not is_list(value):
        return (integer(name, value, low, high),) * n
    values = tuple(value)
    if len(values) != n:
        raise ModelError(f"{name} has {len(values)} values for {n} layers; give one number, or one each")
    return tuple(integer(name, v, low, high) for v in values)


def real(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite float, NumPy's included, from `low` to `high`."""
    try:
        # Text and complex numbers, which float() takes or half takes, have no __round__.
        number = math.nan if isinstance(value, bool) or not hasattr(value, "__round__") else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or not low <= number <= high:
        span = "" if low == -math.inf else f" from {low:g} to {high:g}"
        raise ModelError(f"{name} is {value!r:.60}; it must be a finite number{span}")
    return number


def reals(name: str, value: Any) -> Mapping[str, float]:
    """Settings by name, read-only."""
    if not isinstance(value, Mapping):
        raise ModelError(f"{name} is {value!r:.60}; it must be a map of settings, each a number")
    return MappingProxyType({str(k): real(f"{name}.{k}", v) for k, v in value.items()})


def names(name: str, value: Any) -> tuple[str, ...]:
    """A tuple of texts; one text alone is a mistake, for it would be a name for each letter."""
    if not is_list(value) or not all(isinstance(v, str) for v in value):
        raise ModelError(f"{name} is {value!r:.60}; it must be a list of names, one a channel")
    return tuple(map(str, value))


def plain(name: str, value: Any) -> Mapping[str, Any]:
    """A map of what JSON can hold, read-only."""
    if not isinstance(value, Mapping):
        raise ModelError(f"{name} is {value!r:.60}; it must be a map")
    try:
        json.dumps(dict(value), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelError(f"{name} is {dict(value)!r:.60}, which JSON cannot hold: {error}") from None
    return MappingProxyType(dict(value))


def is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    """Whether it has elements in an order, and is no text."""
    sized = isinstance(value, Sequence) or (hasattr(value, "__len__") and hasattr(value, "shape") and value.shape != ())
    return sized and not isinstance(value, (str, bytes, bytearray))
