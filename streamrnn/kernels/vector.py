"""Sixteen float32 at a time, as a value that compiled code can hold: `Vec16`, and operations for it and for float32.

A loop that LLVM vectorises by itself depends on its opinion of the loop, and gets the vector width that it prefers for
a CPU, which is half of what there is on many. A `Vec16` is an explicit `<16 x float>`: one register where the CPU has
registers of that size, and split by LLVM where it has not. Each lane is rounded as a scalar is, so one function written
with the operations below gives the same bits for `float32` and for each lane of a `Vec16`; kernels use vectors for as
long as sixteen elements remain, and scalars for the rest.

    load16(row, j)        the elements row[j : j + 16] of a one-dimensional float32 array
    store16(row, j, v)    the reverse
    fma32(a, b, c)        a b + c with a single rounding
    least(a, b), most(a, b), size_of(a), select(a < b ...)   see each
    + - * / and unary -   as for numbers; a float32 meets every lane of a Vec16
"""

from __future__ import annotations

import operator

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

__all__ = [
    "LANES",
    "VECTOR",
    "element",
    "emit_fma",
    "fma32",
    "least",
    "load16",
    "load_vector",
    "most",
    "power_of_two",
    "select_less",
    "size_of",
    "splat",
    "store16",
    "store_vector",
]

LANES = 16

_FLOAT = ir.FloatType()
_INT = ir.IntType(32)
VECTOR = ir.VectorType(_FLOAT, LANES)


class Vec16(types.Type):
    """The type, as Numba sees it."""

    def __init__(self) -> None:
        super().__init__(name="Vec16")


vec16 = Vec16()


@register_model(Vec16)
class _Vec16Model(models.PrimitiveModel):
    def __init__(self, manager, fe_type):  # type: ignore[no-untyped-def]
        super().__init__(manager, fe_type, VECTOR)


def splat(builder, scalar):  # type: ignore[no-untyped-def]
    """A vector with the scalar in every lane."""
    one = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), scalar, _INT(0))
    return builder.shuffle_vector(one, ir.Constant(VECTOR, ir.Undefined), ir.Constant(ir.VectorType(_INT, LANES), None))


def _operation(arity, emit):  # type: ignore[no-untyped-def]
    """An intrinsic over float32 and Vec16: a Vec16 if any argument is one, for which scalars are spread."""

    def typed(*args):  # type: ignore[no-untyped-def]
        known = (types.float32, vec16)
        if not all(a in known for a in args):
            return None
        result = vec16 if vec16 in args else types.float32

        def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]  # noqa: ARG001
            if result is vec16:
                values = [splat(builder, v) if a is types.float32 else v for a, v in zip(args, values, strict=True)]
            return emit(builder, *values)

        return result(*args), codegen

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


def emit_fma(builder, a, b, c):  # type: ignore[no-untyped-def]
    """LLVM's fused multiply-add of three values of one type."""
    name = "llvm.fma.f32" if a.type == _FLOAT else f"llvm.fma.v{LANES}f32"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(a.type, [a.type] * 3), name)
    return builder.call(function, [a, b, c])


def _emit_size(builder, a):  # type: ignore[no-untyped-def]
    name = "llvm.fabs.f32" if a.type == _FLOAT else f"llvm.fabs.v{LANES}f32"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(a.type, [a.type]), name)
    return builder.call(function, [a])


def _emit_select_less(builder, a, b, yes, no):  # type: ignore[no-untyped-def]
    return builder.select(builder.fcmp_ordered("<", a, b), yes, no)


def _emit_power_of_two(builder, n):  # type: ignore[no-untyped-def]
    whole = _INT if n.type == _FLOAT else ir.VectorType(_INT, LANES)
    number = _INT if n.type == _FLOAT else (lambda k: ir.Constant(whole, [k] * LANES))
    biased = builder.add(builder.fptosi(n, whole), number(127))
    return builder.bitcast(builder.shl(biased, number(23)), n.type)


fma32 = _operation(3, emit_fma)
"""a b + c with a single rounding."""

least = _operation(2, lambda b, x, y: _emit_select_less(b, x, y, x, y))
"""x if x < y else y."""

most = _operation(2, lambda b, x, y: _emit_select_less(b, y, x, x, y))
"""x if y < x else y."""

select_less = _operation(4, _emit_select_less)
"""select_less(a, b, yes, no): yes where a < b, else no."""

size_of = _operation(1, _emit_size)
"""The absolute value."""

power_of_two = _operation(1, _emit_power_of_two)
"""2^n for a whole n in [-126, 127], written straight into the exponent bits."""


def _overloaded(symbol, arity, emit):  # type: ignore[no-untyped-def]
    """Let an operator of Python work on Vec16."""
    operation = _operation(arity, emit)
    if arity == 1:

        @overload(symbol)
        def unary(a):  # type: ignore[no-untyped-def]
            if a is vec16:
                return lambda a: operation(a)  # noqa: PLW0108 - Numba compiles the lambda
            return None

        return

    @overload(symbol)
    def binary(a, b):  # type: ignore[no-untyped-def]
        if vec16 in (a, b):
            return lambda a, b: operation(a, b)  # noqa: PLW0108 - as above
        return None


_overloaded(operator.add, 2, lambda b, x, y: b.fadd(x, y))
_overloaded(operator.sub, 2, lambda b, x, y: b.fsub(x, y))
_overloaded(operator.mul, 2, lambda b, x, y: b.fmul(x, y))
_overloaded(operator.truediv, 2, lambda b, x, y: b.fdiv(x, y))
_overloaded(operator.neg, 1, lambda b, x: b.fneg(x))


def element(context, builder, array_type, array, indices):  # type: ignore[no-untyped-def]
    """A pointer to an element of a C-contiguous array."""
    view = context.make_array(array_type)(context, builder, value=array)
    shape = cgutils.unpack_tuple(builder, view.shape)
    flat = indices[0]
    for size, i in zip(shape[1:], indices[1:], strict=True):
        flat = builder.add(builder.mul(flat, size), i)
    return builder.gep(view.data, [flat])


def load_vector(builder, pointer):  # type: ignore[no-untyped-def]
    """<16 x float> from a pointer to float, which need not be aligned."""
    loaded = builder.load(builder.bitcast(pointer, VECTOR.as_pointer()))
    loaded.align = 4
    return loaded


def store_vector(builder, value, pointer):  # type: ignore[no-untyped-def]
    """The reverse of load_vector."""
    builder.store(value, builder.bitcast(pointer, VECTOR.as_pointer())).align = 4


@intrinsic
def load16(typingctx, row, j):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """row[j : j + 16] of a contiguous one-dimensional float32 array; the caller sees to the bounds."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return load_vector(builder, element(context, builder, signature.args[0], args[0], [args[1]]))

    return vec16(row, types.intp), codegen


@intrinsic
def store16(typingctx, row, j, v):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """row[j : j + 16] = v."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        store_vector(builder, args[2], element(context, builder, signature.args[0], args[0], [args[1]]))
        return context.get_dummy_value()

    return types.void(row, types.intp, vec16), codegen
