"""Rows of float32 as bytes, without NumPy: little-endian, NaN where a channel is missing, no infinities."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from ..errors import BadTime, Malformed, NotFinite, WrongWidth

__all__ = ["Buffer", "first_infinity", "floats", "from_wire", "matrix_bytes", "times", "to_wire", "vector_bytes"]

Buffer: TypeAlias = "bytes | bytearray | memoryview | array[Any]"

_NAN = float("nan")
_NUMBERS = {float, int, type(None)}
_INFINITIES = (b"\x00\x00\x80\x7f", b"\x00\x00\x80\xff")
_NATIVE = frozenset("?bBhHiIlLqQnNfd")
"""Formats whose items a memoryview can read; anything else is iterated over."""

_SWAP = sys.byteorder == "big"


def from_wire(typecode: str, raw: bytes) -> array[Any]:
    """Little-endian bytes as an array of `typecode` (`f` float32, `q` int64, `Q` uint64).

    >>> list(from_wire("q", bytes([7, 0, 0, 0, 0, 0, 0, 0])))
    [7]
    """
    values = array(typecode, raw)
    if _SWAP:
        values.byteswap()
    return values


def to_wire(values: array[Any]) -> bytes:
    """The little-endian bytes of an array."""
    if _SWAP:
        values = array(values.typecode, values)
        values.byteswap()
    return values.tobytes()


def first_infinity(raw: bytes) -> int:
    """Index of the first infinite float32 in `raw`, or -1.

    The two infinities are searched for as bytes: that runs at the speed of C and is not confused by NaN.

    >>> first_infinity(bytes(4) + bytes([0, 0, 0x80, 0x7F]))
    1
    """
    if _INFINITIES[0] not in raw and _INFINITIES[1] not in raw:
        return -1
    first = -1
    for pattern in _INFINITIES:
        at = raw.find(pattern)
        while at >= 0 and at & 3:
            at = raw.find(pattern, at + 1)
        if at >= 0 and (first < 0 or at < first):
            first = at
    return first >> 2 if first >= 0 else -1


def floats(values: Sequence[Any]) -> array[float]:
    """Numbers or None, as msgpack gives them, rounded to float32; a bool is no number here."""
    kinds = {*map(type, values)}
    if not kinds <= _NUMBERS:
        odd = next(v for v in values if type(v) not in _NUMBERS)
        raise Malformed(f"{odd!r:.60} among the values of x; send numbers, or nil for a missing channel")
    if type(None) in kinds:
        return array("f", [_NAN if v is None else v for v in values])
    return array("f", values)


def vector_bytes(x: Iterable[float | None] | Buffer) -> bytes:
    """One sample's values `(n_in,)` as float32 bytes; None and NaN are missing channels.

    Takes a sequence of numbers, or anything with the buffer protocol (a NumPy array of any dtype and
    strides).

    >>> vector_bytes([1.0, None]).hex()
    '0000803f0000c07f'
    """
    view = _view(x)
    if view is not None:
        if view.ndim != 1:
            raise Malformed(f"x has shape {view.shape}; one sample is a vector (n_in,)")
        raw = _view_bytes(view)
    else:
        raw = _listed(x)
    if not raw:
        raise WrongWidth("x has no values; send at least one")
    return _finite(raw, 0)


def matrix_bytes(X: Any, rows: int | None) -> tuple[bytes, int, int]:
    """Rows `(n, n_in)` as float32 bytes, with n and n_in; `rows` is the n that the caller expects, if any.

    >>> matrix_bytes([[1.0, 2.0], [3.0, None]], rows=2)[1:]
    (2, 2)
    """
    view = _view(X)
    if view is not None:
        if view.ndim != 2:
            raise Malformed(f"X has shape {view.shape}; a block is a matrix (n, n_in)")
        n, n_in = view.shape or (0, 0)
        raw = _view_bytes(view)
    else:
        parts = [vector_bytes(row) for row in X]
        n, n_in = len(parts), len(parts[0]) // 4 if parts else 0
        for i, part in enumerate(parts):
            if len(part) != 4 * n_in:
                raise WrongWidth(f"row {i} of X has {len(part) // 4} values and row 0 has {n_in}")
        raw = b"".join(parts)
    if rows is not None and n != rows:
        raise Malformed(f"X has {n} rows for {rows} stream ids")
    return _finite(raw, n_in), n, n_in


def times(t: Any, rows: int) -> array[int]:
    """Event times `(rows,)` in ns as int64, from a sequence of ints or a buffer of integers.

    >>> times([5, 6], rows=2)
    array('q', [5, 6])
    """
    view = _view(t)
    try:
        values = array("q", t if view is None else view.tolist())
    except (TypeError, OverflowError):
        raise BadTime(f"t is {t!r:.80}; send whole nanoseconds since 1970 as int64") from None
    if len(values) != rows:
        raise Malformed(f"{len(values)} times for {rows} rows")
    return values


def _view(x: object) -> memoryview | None:
    if isinstance(x, bytes | bytearray):
        raise Malformed("x is raw bytes; wrap them in array('f', …) or memoryview(…).cast('f')")
    try:
        view = memoryview(x)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # ValueError: NumPy has no buffer format for this dtype
        return None
    return view if view.format in _NATIVE else None


def _view_bytes(view: memoryview) -> bytes:
    if view.format == "f" and view.c_contiguous and not _SWAP:
        return view.tobytes()
    values: list[Any] = view.tolist()
    if view.ndim == 2:
        values = [v for row in values for v in row]
    return _listed(values)


def _listed(x: Any) -> bytes:
    values = x if isinstance(x, list | tuple) else None
    try:
        values = list(x) if values is None else values
        return to_wire(array("f", [_NAN if v is None else v for v in values]))
    except TypeError:
        raise Malformed(f"{x!r:.80} is not a sequence of numbers; None or NaN marks a missing channel") from None
    except OverflowError:
        raise NotFinite("a value of x is too large for float32") from None


def _finite(raw: bytes, n_in: int) -> bytes:
    at = first_infinity(raw)
    if at >= 0:
        where = f"row {at // n_in}, channel {at % n_in}" if n_in else f"channel {at}"
        raise NotFinite(f"the value of {where} is infinite in float32; send None or NaN for a missing channel")
    return raw
