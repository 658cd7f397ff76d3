"""Several numbers at a time, as a value that compiled code can hold, and operations for it and for single numbers.

A loop that LLVM vectorises by itself depends on its opinion of the loop, and gets the vector width that it prefers for
a CPU, which is half of what there is on many. A `Vec16` is an explicit `<16 x float>`, a `Vec8` a `<8 x double>`: one
register where the CPU has registers of that size, and split by LLVM where it has not; a `Vec4` is half a `Vec8`. Each
lane is rounded as a scalar is, so one function written with the operations below gives the same bits for a number and
for each lane of a vector; kernels use vectors for as long as whole vectors of elements remain, and scalars or a part of
a vector for the rest.

    fma(a, b, c)                           a b + c with a single rounding
    least(a, b), most(a, b), size_of(a), select_less(a, b, yes, no)    see each
    + - * / and unary -                    as for numbers; a number meets every lane of a vector

and, for the lanes of a vector that differ,

    less(a, b)                             a mask: in which lanes a < b; masks know &, | and ~
    select(mask, yes, no)                  lane by lane
    first16(n), first8(n), first4(n)       the mask of the first n lanes
    only8(n)                               the mask of lane n alone
    bits(mask)                             the mask as an integer, lane 0 the lowest bit

Vectors come from memory and go back to it by `memory.load16` and its like.
"""

from __future__ import annotations

import operator

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

__all__ = [
    "ELEMENT",
    "LANES",
    "LANES64",
    "LLVM",
    "MASK",
    "OF_ELEMENT",
    "OF_MASK",
    "VECTOR",
    "Mask",
    "bits",
    "common_type",
    "emit_fma",
    "first4",
    "first8",
    "first16",
    "fma",
    "least",
    "less",
    "most",
    "of_word",
    "only8",
    "scaled",
    "select",
    "select_less",
    "size_of",
    "splat",
    "type_name",
    "vec4",
    "vec8",
    "vec16",
    "with_sign",
    "word_of",
]

LANES, LANES64 = 16, 8

_FLOAT, _DOUBLE, _INT = ir.FloatType(), ir.DoubleType(), ir.IntType(32)
VECTOR = ir.VectorType(_FLOAT, LANES)
VECTOR64 = ir.VectorType(_DOUBLE, LANES64)


class Vector(types.Type):
    """A vector's type, as Numba sees it."""


class Mask(types.Type):
    """The type of a choice of lanes."""


vec16, vec8, vec4 = Vector("Vec16"), Vector("Vec8"), Vector("Vec4")
# By type: LLVM's type, the usual vector of a number, the number of a vector, its mask, the reverse, and LLVM's mask.
LLVM = {vec16: VECTOR, vec8: VECTOR64, vec4: ir.VectorType(_DOUBLE, 4)}
OF_ELEMENT = {types.float32: vec16, types.float64: vec8}
ELEMENT = {vec16: types.float32, vec8: types.float64, vec4: types.float64}
MASK = {vec16: Mask("Mask16"), vec8: Mask("Mask8"), vec4: Mask("Mask4")}
OF_MASK = {mask: vector for vector, mask in MASK.items()}
BITS = {MASK[v]: ir.VectorType(ir.IntType(1), LLVM[v].count) for v in LLVM}


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type):  # type: ignore[no-untyped-def]
        super().__init__(manager, fe_type, LLVM[fe_type])


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type):  # type: ignore[no-untyped-def]
        super().__init__(manager, fe_type, BITS[fe_type])


def splat(builder, scalar, vector=VECTOR):  # type: ignore[no-untyped-def]
    """A vector with the scalar in every lane."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, _INT(0))
    lanes = ir.Constant(ir.VectorType(_INT, vector.count), None)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), lanes)


def common_type(args):  # type: ignore[no-untyped-def]
    """The vector type that an operation on such arguments works on, or their number type, or None."""
    vectors = {a for a in args if isinstance(a, Vector)}
    numbers = {a for a in args if a not in vectors}
    if len(vectors) > 1 or len(numbers) > 1 or not numbers <= OF_ELEMENT.keys():
        return None
    if not vectors:
        return numbers.pop()
    vector = vectors.pop()
    return vector if numbers <= {ELEMENT[vector]} else None


def _operation(arity, emit, result_of=lambda common: common):  # type: ignore[no-untyped-def]
    """An intrinsic over numbers and vectors: on vectors if any argument is one, to which numbers are spread."""

    def typed(*args):  # type: ignore[no-untyped-def]
        common = common_type(args)
        if common is None or result_of(common) is None:
            return None

        def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]  # noqa: ARG001
            if isinstance(common, Vector):
                wide = LLVM[common]
                values = [
                    v if isinstance(a, Vector) else splat(builder, v, wide) for a, v in zip(args, values, strict=True)
                ]
            return emit(builder, *values)

        return result_of(common)(*args), codegen

    # Numba counts an intrinsic's parameters, so each arity is spelled out.
    if arity == 1:

        @intrinsic
        def unary(typingctx, a):  # type: ignore[no-untyped-def]  # noqa: ARG001
            return typed(a)

        return unary
    if arity == 2:

        @intrinsic
        def binary(typingctx, a, b):  # type: ignore[no-untyped-def]  # noqa: ARG001
            return typed(a, b)

        return binary
    if arity == 3:

        @intrinsic
        def ternary(typingctx, a, b, c):  # type: ignore[no-untyped-def]  # noqa: ARG001
            return typed(a, b, c)

        return ternary

    @intrinsic
    def quaternary(typingctx, a, b, c, d):  # type: ignore[no-untyped-def]  # noqa: ARG001
        return typed(a, b, c, d)

    return quaternary


def type_name(kind):  # type: ignore[no-untyped-def]
    """How LLVM's functions call a type: f32, v16f32, ..."""
    if isinstance(kind, ir.VectorType):
        return f"v{kind.count}{type_name(kind.element)}"
    return {_FLOAT: "f32", _DOUBLE: "f64"}[kind]


def emit_fma(builder, a, b, c):  # type: ignore[no-untyped-def]
    """LLVM's fused multiply-add of three values of one type."""
    kind = ir.FunctionType(a.type, [a.type] * 3)
    return builder.call(
        cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.{type_name(a.type)}"), [a, b, c]
    )


def _integers(kind):  # type: ignore[no-untyped-def]
    """The type of integers as wide as a float or vector of floats, the mask of all bits but the sign, and the sign."""
    element = kind.element if isinstance(kind, ir.VectorType) else kind
    width = {_FLOAT: 32, _DOUBLE: 64}[element]
    size, sign = (1 << width - 1) - 1, 1 << width - 1
    whole = ir.IntType(width)
    if not isinstance(kind, ir.VectorType):
        return whole, whole(size), whole(sign)
    whole = ir.VectorType(whole, kind.count)
    return whole, ir.Constant(whole, [size] * kind.count), ir.Constant(whole, [sign] * kind.count)


# By their bits and not by llvm.fabs and llvm.copysign, which NVVM does not know; a CPU's instructions are the same.
def _emit_size(builder, a):  # type: ignore[no-untyped-def]
    whole, size, _ = _integers(a.type)
    return builder.bitcast(builder.and_(builder.bitcast(a, whole), size), a.type)


def _emit_select_less(builder, a, b, yes, no):  # type: ignore[no-untyped-def]
    return builder.select(builder.fcmp_ordered("<", a, b), yes, no)


def _emit_scaled(builder, m, t):  # type: ignore[no-untyped-def]
    whole = _INT if m.type == _FLOAT else ir.VectorType(_INT, LANES)
    mantissa_bits = _INT(23) if m.type == _FLOAT else ir.Constant(whole, [23] * LANES)
    exponent = builder.shl(builder.bitcast(t, whole), mantissa_bits)
    return builder.bitcast(builder.add(builder.bitcast(m, whole), exponent), m.type)


def _emit_with_sign(builder, a, b):  # type: ignore[no-untyped-def]
    whole, size, sign = _integers(a.type)
    joined = builder.or_(builder.and_(builder.bitcast(a, whole), size), builder.and_(builder.bitcast(b, whole), sign))
    return builder.bitcast(joined, a.type)


fma = _operation(3, emit_fma)
"""a b + c with a single rounding."""

least = _operation(2, lambda b, x, y: _emit_select_less(b, x, y, x, y))
"""x if x < y else y."""

most = _operation(2, lambda b, x, y: _emit_select_less(b, y, x, x, y))
"""x if y < x else y."""

select_less = _operation(4, _emit_select_less)
"""select_less(a, b, yes, no): yes where a < b, else no."""

size_of = _operation(1, _emit_size)
"""The absolute value."""

scaled = _operation(2, _emit_scaled, lambda c: c if c in (types.float32, vec16) else None)
"""m 2^n for t = n + 1.5 * 2^23 with a whole n, which is then what the lowest bits of t say, added to m's exponent.

Exact while m and the result are normal numbers, and not zero; float32 and Vec16."""

with_sign = _operation(2, _emit_with_sign)
"""The size of a with the sign of b."""

less = _operation(2, lambda b, x, y: b.fcmp_ordered("<", x, y), MASK.get)
"""The mask of lanes in which a < b; at least one of them a vector."""


def _overloaded(symbol, arity, emit):  # type: ignore[no-untyped-def]
    """Let an operator of Python work on vectors."""
    operation = _operation(arity, emit)
    if arity == 1:

        @overload(symbol)
        def unary(a):  # type: ignore[no-untyped-def]
            if isinstance(a, Vector):
                return lambda a: operation(a)  # noqa: PLW0108 - Numba compiles the lambda
            return None

        return

    @overload(symbol)
    def binary(a, b):  # type: ignore[no-untyped-def]
        if isinstance(a, Vector) or isinstance(b, Vector):
            return lambda a, b: operation(a, b)  # noqa: PLW0108 - as above
        return None


_overloaded(operator.add, 2, lambda b, x, y: b.fadd(x, y))
_overloaded(operator.sub, 2, lambda b, x, y: b.fsub(x, y))
_overloaded(operator.mul, 2, lambda b, x, y: b.fmul(x, y))
_overloaded(operator.truediv, 2, lambda b, x, y: b.fdiv(x, y))
_overloaded(operator.neg, 1, lambda b, x: b.fneg(x))


def _overloaded_mask(symbol, emit):  # type: ignore[no-untyped-def]
    @intrinsic
    def operation(typingctx, a, b):  # type: ignore[no-untyped-def]  # noqa: ARG001
        return a(a, b), lambda context, builder, signature, args: emit(builder, *args)  # noqa: ARG005

    @overload(symbol)
    def binary(a, b):  # type: ignore[no-untyped-def]
        if isinstance(a, Mask) and a == b:
            return lambda a, b: operation(a, b)  # noqa: PLW0108 - Numba compiles the lambda
        return None


_overloaded_mask(operator.and_, lambda b, x, y: b.and_(x, y))
_overloaded_mask(operator.or_, lambda b, x, y: b.or_(x, y))


@intrinsic
def select(typingctx, mask, yes, no):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Lane by lane, yes where the mask is set, else no; a number stands for a vector of it."""
    common = common_type((yes, no))
    if MASK.get(common) != mask:
        return None

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]  # noqa: ARG001
        wide = LLVM[common]
        values = [v if v.type == wide else splat(builder, v, wide) for v in args[1:]]
        return builder.select(args[0], *values)

    return common(mask, yes, no), codegen


@intrinsic
def bits(typingctx, mask):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """The mask as an int64: bit k is lane k."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]  # noqa: ARG001
        packed = builder.bitcast(args[0], ir.IntType(args[0].type.count))
        return builder.zext(packed, ir.IntType(64))

    return types.int64(mask), codegen


def _chooser(vector, predicate):  # type: ignore[no-untyped-def]
    """An intrinsic of one number n: the mask of the lanes k for which `k predicate n`."""
    wide = ir.VectorType(ir.IntType(64), LLVM[vector].count)

    @intrinsic
    def choose(typingctx, n):  # type: ignore[no-untyped-def]  # noqa: ARG001
        """A mask by lane numbers."""

        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]  # noqa: ARG001
            lanes = ir.Constant(wide, list(range(wide.count)))
            return builder.icmp_signed(predicate, lanes, splat(builder, args[0], wide))

        return MASK[vector](types.int64), codegen

    return choose


first16 = _chooser(vec16, "<")
"""The mask of the first n lanes of a Vec16."""

first8 = _chooser(vec8, "<")
"""The mask of the first n lanes of a Vec8."""

first4 = _chooser(vec4, "<")
"""The mask of the first n lanes of a Vec4."""

only8 = _chooser(vec8, "==")
"""The mask of lane n alone of a Vec8."""


@intrinsic
def _not(typingctx, mask):  # type: ignore[no-untyped-def]  # noqa: ARG001
    return mask(mask), lambda context, builder, signature, args: builder.not_(args[0])  # noqa: ARG005


@overload(operator.invert)
def _inverted(mask):  # type: ignore[no-untyped-def]
    if isinstance(mask, Mask):
        return lambda mask: _not(mask)  # noqa: PLW0108 - Numba compiles the lambda
    return None


def _reinterpreted(given, made):  # type: ignore[no-untyped-def]
    @intrinsic
    def same(typingctx, a):  # type: ignore[no-untyped-def]  # noqa: ARG001
        """A number of another type with the same bits."""

        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]  # noqa: ARG001
            return builder.bitcast(args[0], _DOUBLE if made is types.float64 else ir.IntType(64))

        return (made(given), codegen) if a == given else None

    return same


word_of = _reinterpreted(types.float64, types.int64)
"""The bits of a float64 as an int64: a number's `view` goes through memory."""

of_word = _reinterpreted(types.int64, types.float64)
"""The reverse."""
