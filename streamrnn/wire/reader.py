"""The compiled twin of `scan.py`: msgpack heads, integers, and values that are passed over.

Positions are addresses. A function that reads something returns the position behind it, or REFUSED where the bytes are
not that, or end too early. Whatever is refused here is read again by `scan.py`, which accepts or names the error; so
this twin accepts nothing that `scan.py` refuses, and of what it accepts it reads the same.
"""

from __future__ import annotations

import numpy as np

from .._jit import fused, kernel
from .raw import f32, f64, signed, u8, u16, u32, u64

__all__ = ["ARRAY", "BIN", "INT", "MAP", "NIL", "OTHER", "REFUSED", "STR", "head", "integer", "number", "skip"]

REFUSED = 0
"""No address."""

NIL, INT, STR, BIN, ARRAY, MAP, OTHER = range(7)
"""Kinds of value, as far as the protocol tells them apart."""


@kernel
def _length(p, end, bytes_):
    """(position behind a length of 1, 2 or 4 bytes at p, length)."""
    if p + bytes_ > end:
        return REFUSED, np.int64(0)
    if bytes_ == 1:
        return p + 1, u8(p)
    if bytes_ == 2:
        return p + 2, u16(p)
    return p + 4, u32(p)


@kernel
def head(p, end):
    """(kind, position behind the head, length) of the value at p.

    The length is that of a STR or BIN in bytes, of an ARRAY in items, of a MAP in pairs, and of anything else what
    follows its first byte. No more than `end - p` bytes are claimed by a STR, BIN or scalar.
    """
    if p >= end:
        return OTHER, REFUSED, np.int64(0)
    b = u8(p)
    p += 1
    kind, n = OTHER, np.int64(0)
    if b < 0x80 or b >= 0xE0:
        return INT, p, n
    if b < 0x90:
        return MAP, p, b & 0x0F
    if b < 0xA0:
        return ARRAY, p, b & 0x0F
    if b < 0xC0:
        kind, n = STR, b & 0x1F
    elif b == 0xC0:
        return NIL, p, n
    elif b == 0xC1:
        return OTHER, REFUSED, n
    elif b <= 0xC3:
        return OTHER, p, n
    elif b <= 0xC6:
        kind = BIN
        p, n = _length(p, end, 1 << (b - 0xC4))
    elif b <= 0xC9:
        p, n = _length(p, end, 1 << (b - 0xC7))
        n += 1  # an extension's type
    elif b <= 0xCB:
        n = np.int64(4) << (b - 0xCA)
    elif b <= 0xCF:
        kind, n = INT, np.int64(1) << (b - 0xCC)
    elif b <= 0xD3:
        kind, n = INT, np.int64(1) << (b - 0xD0)
    elif b <= 0xD8:
        n = (np.int64(1) << (b - 0xD4)) + 1
    elif b <= 0xDB:
        kind = STR
        p, n = _length(p, end, 1 << (b - 0xD9))
    else:
        kind = ARRAY if b <= 0xDD else MAP
        p, n = _length(p, end, 2 << (b & 1))
        return kind, p, n
    if p == REFUSED or p + n > end:
        return kind, REFUSED, n
    return kind, p, n


@kernel
def skip(p, end, max_depth, stack):
    """The position behind the value at p, whatever it holds, down to `max_depth` levels of nesting.

    stack int64 (max_depth + 2,) is scratch: the values that are still to come on each open level, and at its end how
    many may be skipped in all.
    """
    last = stack.shape[0] - 1
    depth = 0
    stack[0] = 1
    while depth >= 0:
        if stack[depth] == 0:
            depth -= 1
            continue
        stack[depth] -= 1
        stack[last] -= 1
        if stack[last] < 0:
            return REFUSED
        kind, p, n = head(p, end)
        if p == REFUSED:
            return REFUSED
        if kind in (ARRAY, MAP):
            if depth + 1 > max_depth:
                return REFUSED
            depth += 1
            stack[depth] = n if kind == ARRAY else 2 * n
        else:
            p += n
    return p


@kernel
def integer(p, end):
    """(position behind the integer at p, its 64 bits, whether it is above 2^63 - 1)."""
    kind, at, n = head(p, end)
    if at == REFUSED or kind != INT:
        return REFUSED, np.int64(0), False
    b = u8(p)
    if n == 0:
        return at, signed(b, 8), False
    if n == 8:
        bits = np.int64(u64(at))
        return at + 8, bits, b == 0xCF and bits < 0
    value = u8(at) if n == 1 else (u16(at) if n == 2 else u32(at))
    return at + n, (signed(value, 8 * n) if b >= 0xD0 else value), False


@fused
def number(p, end):
    """(position behind the number or nil at p, its value as float32: NaN for nil).

    Integers and float64 are rounded to float64 first, as Python does, and then to float32.
    """
    if p + 5 <= end and u8(p) == 0xCA:
        return p + 5, f32(p + 1)
    if p + 9 <= end and u8(p) == 0xCB:
        return p + 9, np.float32(f64(p + 1))
    if p < end and u8(p) == 0xC0:
        return p + 1, np.float32(np.nan)
    at, value, above = integer(p, end)
    if above:
        return at, np.float32(np.float64(np.uint64(value)))
    return at, np.float32(np.float64(value))
