"""Asking for memory before it is needed."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from streamrnn._jit import kernel

from .vector import element

__all__ = ["prefetch_row"]

LINE = 64
"""Bytes of a cache line."""

_READ, _SECOND_LEVEL, _DATA = 0, 2, 1


@intrinsic
def _prefetch(typingctx, array, i, j):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Ask for the cache line of array[i, j] of a C-contiguous two-dimensional array; it may lie beyond the row."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        i8 = ir.IntType(8).as_pointer()
        i32 = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [i8, i32, i32, i32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        pointer = builder.bitcast(element(context, builder, signature.args[0], args[0], list(args[1:])), i8)
        builder.call(function, [pointer, i32(_READ), i32(_SECOND_LEVEL), i32(_DATA)])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), codegen


@kernel
def prefetch_row(array, i):
    """Ask for all cache lines of array[i]; array C-contiguous with two dimensions."""
    step = LINE // array.itemsize
    for j in range(0, array.shape[1], step):
        _prefetch(array, i, j)
