"""Operations across a vector's lanes: sums of them, and some of them in double precision.

total(v), totals(a, b, ..., h)         the sum of a Vec8's lanes, always in the same order; those of eight at once
widen_low(v), widen_high(v)            the lower and the upper half of a Vec16 as a Vec8
widen_as(v, mask)                      as many of a Vec16's first lanes as the mask has, in double precision
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .vector import LANES64, LLVM, OF_MASK, Mask, vec8, vec16

__all__ = ["total", "totals", "widen_as", "widen_high", "widen_low"]

_INT = ir.IntType(32)


def _pick(builder, a, b, lanes):  # type: ignore[no-untyped-def]
    """Lanes of a, and from a.count on of b."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_INT, len(lanes)), lanes))


@intrinsic
def total(typingctx, v):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """The sum of a Vec8's lanes: ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)), on every machine."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]  # noqa: ARG001
        v = args[0]
        while v.type.count > 1:
            half = v.type.count // 2
            low, high = (_pick(builder, v, v, list(range(k, k + half))) for k in (0, half))
            v = builder.fadd(low, high)
        return builder.extract_element(v, _INT(0))

    return (types.float64(v), codegen) if v == vec8 else None


@intrinsic
def totals(typingctx, a, b, c, d, e, f, g, h):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """A Vec8 of the totals of eight of them, each summed in the order of `total`, at the price of three."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]  # noqa: ARG001
        def halves(vectors, low):  # type: ignore[no-untyped-def]
            """Add the lanes `low` of each pair of vectors to their neighbours, two vectors to one."""
            n = len(vectors) // 2
            high = [k + n for k in low]
            pairs = zip(vectors[:n], vectors[n:], strict=True)
            return [builder.fadd(_pick(builder, x, y, low), _pick(builder, x, y, high)) for x, y in pairs]

        vectors = halves(list(args), [0, 1, 2, 3, 8, 9, 10, 11])
        vectors = halves(vectors, [0, 1, 8, 9, 4, 5, 12, 13])
        return halves(vectors, [0, 8, 2, 10, 4, 12, 6, 14])[0]

    kinds = (a, b, c, d, e, f, g, h)
    return (vec8(*kinds), codegen) if set(kinds) == {vec8} else None


def _widen(builder, v, lanes):  # type: ignore[no-untyped-def]
    return builder.fpext(_pick(builder, v, v, lanes), ir.VectorType(ir.DoubleType(), len(lanes)))


def _widened(start):  # type: ignore[no-untyped-def]
    @intrinsic
    def widen(typingctx, v):  # type: ignore[no-untyped-def]  # noqa: ARG001
        """Eight neighbouring lanes of a Vec16 in double precision."""

        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]  # noqa: ARG001
            return _widen(builder, args[0], list(range(start, start + LANES64)))

        return (vec8(v), codegen) if v == vec16 else None

    return widen


widen_low = _widened(0)
"""Lanes 0 to 7 of a Vec16 as a Vec8."""

widen_high = _widened(LANES64)
"""Lanes 8 to 15."""


@intrinsic
def widen_as(typingctx, v, mask):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """The first lanes of a Vec16 in double precision: the vector of float64 that the mask belongs to."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]  # noqa: ARG001
        return _widen(builder, args[0], list(range(LLVM[signature.return_type].count)))

    known = v == vec16 and isinstance(mask, Mask) and OF_MASK[mask] != vec16
    return (OF_MASK[mask](v, mask), codegen) if known else None
