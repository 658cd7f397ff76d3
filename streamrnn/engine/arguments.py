"""What Python code hands to the engine, as the arrays that compiled code takes, or an error that says what would do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from streamrnn.errors import BadId, BadTime, NotFinite, StaleHandle, WrongWidth

__all__ = [
    "Streams",
    "handle_of",
    "ids_of",
    "one_sample",
    "owned",
    "refuse_infinite",
    "resets",
    "samples",
    "streams_of",
    "time_of",
    "times",
]

Streams = Iterable[str] | npt.NDArray[np.int64]
"""Ids, or handles."""

T = TypeVar("T", bound=np.generic)

_FLOAT32 = np.dtype(np.float32)

_NUMBERS = "biuf"
"""NumPy's kinds of real numbers."""


def owned(array: npt.ArrayLike, dtype: type[T]) -> npt.NDArray[T]:
    """The array as compiled code knows it: one that is read-only or not aligned would be a new type to compile for."""
    found = np.ascontiguousarray(array, dtype)
    flags = found.flags
    return found if flags.writeable and flags.aligned else found.copy()


def one_sample(x: npt.ArrayLike, n_in: int) -> npt.NDArray[np.float32]:
    """One sample as float32 (n_in,), or WrongWidth."""
    sample = _real("x", x, f"({n_in},)")
    if sample.shape != (n_in,):
        raise WrongWidth(f"x has shape {sample.shape}; one sample has shape ({n_in},)")
    return sample


def samples(X: npt.ArrayLike, n_in: int) -> npt.NDArray[np.float32]:
    """Samples as float32 (n, n_in) that compiled code can take, or WrongWidth."""
    rows = owned(_real("X", X, f"(n, {n_in})"), np.float32)
    if rows.ndim != 2 or rows.shape[1] != n_in:
        shape = "(n_in,)" if rows.ndim == 1 else rows.shape
        raise WrongWidth(f"X has samples of shape {shape if rows.ndim != 2 else rows.shape[1:]}; give (n, {n_in})")
    return rows


def _real(name: str, x: npt.ArrayLike, shape: str) -> npt.NDArray[np.float32]:
    """Real numbers in float32, or WrongWidth: text would become numbers, and complex ones lose their imaginary part."""
    try:
        found = np.asarray(x)
        if found.dtype is _FLOAT32:
            return found
        # None stands for a missing channel and makes an array of objects.
        if found.dtype.kind not in _NUMBERS and (found.dtype != object or _hides_text(found)):
            raise TypeError
        with np.errstate(over="ignore"):
            return np.asarray(found, np.float32)
    except OverflowError:
        raise NotFinite(
            f"{name} is {x!r:.60}, infinite in float32; send a finite number, or NaN where missing"
        ) from None
    except (TypeError, ValueError):
        raise WrongWidth(f"{name} is {x!r:.60}; it must be {shape} real numbers, NaN where one is missing") from None


def _hides_text(x: npt.NDArray[Any]) -> bool:
    return any(isinstance(v, (str, bytes, complex, np.complexfloating)) for v in x.flat)


def refuse_infinite(X: npt.NDArray[np.float32]) -> None:
    wrong = np.isinf(X)
    if wrong.any():
        i, k = np.argwhere(wrong)[0].tolist()
        raise NotFinite(f"sample {i}, channel {k} is infinite in float32; send a finite number, or NaN where missing")


def ids_of(streams: Any) -> list[str]:
    """A list of ids from any iterable of them but a text, which would be an id for each letter; or BadId."""
    if isinstance(streams, (str, bytes, bytearray)) or not isinstance(streams, Iterable):
        raise BadId(f"streams is {streams!r:.60}; give a list of ids, one a sample, or the array of engine.handles()")
    try:
        return list(streams)
    except TypeError:  # an array without a dimension
        raise BadId(f"streams is {streams!r:.60}; give a list of ids, one a sample") from None


def streams_of(streams: Streams) -> list[str] | npt.NDArray[np.int64]:
    """Handles where an array of numbers is given, else ids; BadId or StaleHandle for what is neither."""
    # Numbers that cannot be handles are told so; an empty array is of float64 unless said, and no ids either.
    if isinstance(streams, np.ndarray) and streams.dtype.kind in (_NUMBERS if streams.size else "iu"):
        return _handles(streams)
    return ids_of(streams)


def _handles(streams: Any) -> npt.NDArray[np.int64]:
    """An array of numbers as handles int64 (n,), or StaleHandle."""
    if streams.ndim != 1:
        raise StaleHandle(f"handles have shape {streams.shape}; give (n,), one a sample")
    if streams.dtype.kind not in "iu" or streams.dtype.itemsize != np.dtype(np.int64).itemsize:
        raise StaleHandle(
            f"handles have dtype {streams.dtype}, which cannot hold one; give the int64 array of engine.handles()"
        )
    return owned(streams, np.int64)


def resets(reset: bool | npt.ArrayLike, n: int) -> npt.NDArray[np.bool_]:
    """Which of n samples forget the state first, from one bool or one a sample; or WrongWidth."""
    try:
        found = np.asarray(reset)
        if found.shape in ((), (n,)) and (not found.size or found.dtype.kind in "biu"):
            return np.broadcast_to(found.astype(bool), (n,))
    except (TypeError, ValueError):
        pass  # ragged
    raise WrongWidth(f"reset is {reset!r:.60}; it must be one bool, or bools of shape ({n},)")


def time_of(t: object) -> int:
    if not isinstance(t, (int, np.integer)) or isinstance(t, bool) or not -(2**63) <= t < 2**63:
        raise BadTime(f"t is {t!r:.60}; it must be an integer of ns that fits 64 bits")
    return int(t)


def times(t: npt.ArrayLike, n: int) -> npt.NDArray[np.int64]:
    """Event times as int64 (n,) ns, or BadTime."""
    try:
        found = np.asarray(t)
    except (TypeError, ValueError, OverflowError):
        raise BadTime(f"t is {t!r:.60}; it must be integer ns of shape ({n},)") from None
    if found.shape != (n,) or (n and found.dtype.kind not in "iu"):
        raise BadTime(f"t has dtype {found.dtype} and shape {found.shape}; it must be integer ns of shape ({n},)")
    if n and (found.min() < -(2**63) or found.max() >= 2**63):
        raise BadTime(f"t goes up to {found.max()}; it must fit a signed 64-bit integer of ns")
    return np.ascontiguousarray(found, np.int64)


def handle_of(stream: object) -> int:
    if not isinstance(stream, (int, np.integer)) or isinstance(stream, bool) or not -(2**63) <= stream < 2**63:
        raise StaleHandle(f"{stream!r:.60} is neither a stream id nor a handle; ask engine.handles()")
    return int(stream)
