"""Bytes at an address, for compiled code: numbers in network order, copies, and what text may hold.

    u8 u16 u32 u64 f32 f64 (p)        read a big-endian number; signed ones by `signed(value, bits)`
    put8 put16 put32 put64 (p, v)     write one; each returns the address behind it
    copy(p, source, n)                copy bytes; returns the address behind them

Addresses are int64. Nothing checks bounds: callers compare positions with the end first. Machines are little-endian
(`transport/native.py` sees to that).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .._jit import fused, kernel

__all__ = [
    "copy",
    "f32",
    "f64",
    "native32",
    "native64",
    "put8",
    "put16",
    "put32",
    "put64",
    "put_f32",
    "same",
    "signed",
    "text",
    "u8",
    "u16",
    "u32",
    "u64",
]

_I64 = ir.IntType(64)


def _swapped(builder: Any, value: Any) -> Any:
    """The bytes of an integer in reverse."""
    kind = value.type
    if kind.width == 8:
        return value
    function = ir.FunctionType(kind, [kind])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, f"llvm.bswap.i{kind.width}"), [value])


def _loader(bits: int, result: types.Type, swap: bool = True) -> Any:
    @intrinsic
    def load(typingctx, p):  # type: ignore[no-untyped-def]  # noqa: ARG001
        """The number at an address, which need not be aligned."""

        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]  # noqa: ARG001
            kind = ir.IntType(bits)
            value = builder.load(builder.inttoptr(args[0], kind.as_pointer()))
            value.align = 1
            if swap:
                value = _swapped(builder, value)
            target = context.get_value_type(result)
            if isinstance(target, ir.IntType):
                return value if target.width == bits else builder.zext(value, target)
            return builder.bitcast(value, target)

        return result(types.int64), codegen

    return load


u8 = _loader(8, types.int64)
u16 = _loader(16, types.int64)
u32 = _loader(32, types.int64)
u64 = _loader(64, types.uint64)
f32 = _loader(32, types.float32)
f64 = _loader(64, types.float64)
native32 = _loader(32, types.int64, swap=False)
"""Four bytes in the machine's own order."""
native64 = _loader(64, types.int64, swap=False)


def _storer(bits: int, source: types.Type) -> Any:
    @intrinsic
    def store(typingctx, p, v):  # type: ignore[no-untyped-def]  # noqa: ARG001
        """Write the lowest bits of v at an address; the address behind them."""

        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]  # noqa: ARG001
            kind = ir.IntType(bits)
            p, v = args
            if isinstance(v.type, ir.IntType):
                v = builder.trunc(v, kind) if bits < v.type.width else v
            else:
                v = builder.bitcast(v, kind)
            builder.store(_swapped(builder, v), builder.inttoptr(p, kind.as_pointer())).align = 1
            return builder.add(p, _I64(bits // 8))

        return types.int64(types.int64, source), codegen

    return store


put8, put16, put32, put64 = (_storer(bits, types.int64) for bits in (8, 16, 32, 64))
put_f32 = _storer(32, types.float32)


@intrinsic
def _memcpy(typingctx, to, source, n):  # type: ignore[no-untyped-def]  # noqa: ARG001
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]  # noqa: ARG001
        byte = ir.IntType(8).as_pointer()
        to, source = (builder.inttoptr(p, byte) for p in args[:2])
        cgutils.raw_memcpy(builder, to, source, args[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@fused
def copy(to, source, n):
    """Copy n bytes; the address behind the copy."""
    _memcpy(to, source, n)
    return to + n


@kernel
def same(p, q, n):
    """Whether n bytes at two addresses are the same."""
    while n >= 8:
        if native64(p) != native64(q):
            return False
        p += 8
        q += 8
        n -= 8
    for k in range(n):  # noqa: SIM110  (compiled: no generators)
        if u8(p + k) != u8(q + k):
            return False
    return True


@fused
def signed(value, bits):
    """An unsigned number of so many bits, below 64, as two's complement."""
    return value - (np.int64(1) << bits) if value >> (bits - 1) else value


_HIGH = np.uint64(0x8080808080808080)
_ONES = np.uint64(0x0101010101010101)
_SPACES = np.uint64(0x2020202020202020)
_DELETES = np.uint64(0x7F7F7F7F7F7F7F7F)


@fused
def _plain(word):
    """Whether eight bytes are all ASCII from space to ~.

    Where no byte has its high bit set, subtracting 0x20 from each sets that bit exactly in those below; the lowest byte
    that borrows is one of them. Likewise a byte equal to 0x7F becomes 0 under exclusive or, and borrows.
    """
    below = word - _SPACES
    is_delete = (word ^ _DELETES) - _ONES
    return ((word | below | is_delete) & _HIGH) == np.uint64(0)


@kernel
def _rune(p, end):
    """(length, code point) of the UTF-8 sequence at p, length 0 where it is none (Unicode 15, table 3-7)."""
    first = u8(p)
    if first < 0x80:
        return 1, first
    if first < 0xC2 or first > 0xF4:
        return 0, first
    n = 2 if first < 0xE0 else (3 if first < 0xF0 else 4)
    if p + n > end:
        return 0, first
    code = first & (0x7F >> n)
    for k in range(1, n):
        byte = u8(p + k)
        if byte & 0xC0 != 0x80:
            return 0, first
        code = code << 6 | (byte & 0x3F)
    # Longer than need be, a surrogate, or beyond Unicode.
    if (n == 3 and (code < 0x800 or 0xD800 <= code <= 0xDFFF)) or (n == 4 and (code < 0x10000 or code > 0x10FFFF)):
        return 0, first
    return n, code


@kernel
def text(p, n, controls):
    """Whether n bytes are UTF-8, without control characters (C0, DEL, C1) unless `controls` is true."""
    end = p + n
    while end - p >= 8 and _plain(np.uint64(native64(p))):
        p += 8
    while p < end:
        length, code = _rune(p, end)
        if length == 0 or (not controls and (code < 0x20 or 0x7F <= code <= 0x9F)):
            return False
        p += length
    return True
