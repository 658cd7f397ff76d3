"""Vectors from memory and back, wholly or by some of their lanes, and asking for memory before it is needed.

    load16(row, j), store16(row, j, v)     float32 elements row[j : j + 16] of a one-dimensional array, as Vec16
    load8(row, j), store8(row, j, v)       float64 elements row[j : j + 8], as Vec8
    load_some(row, j, mask, v)             only the lanes of a mask are read; v elsewhere
    store_some(row, j, mask, v)            only the lanes of a mask are written

    matrix(flat, start, rows, columns)     a part of a one-dimensional array as a matrix

Arrays are C-contiguous. Nothing checks bounds: that is the caller's duty, as everywhere in kernels.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import get_itemsize, populate_array

from streamrnn._jit import kernel

from .vector import ELEMENT, LLVM, OF_MASK, VECTOR, common_type, splat, type_name, vec8, vec16

__all__ = [
    "clear_rows",
    "element",
    "load8",
    "load16",
    "load_some",
    "load_vector",
    "matrix",
    "prefetch_row",
    "store8",
    "store16",
    "store_some",
    "store_vector",
]

_INT = ir.IntType(32)


def element(context, builder, array_type, array, indices):  # type: ignore[no-untyped-def]
    """A pointer to an element of a C-contiguous array."""
    view = context.make_array(array_type)(context, builder, value=array)
    shape = cgutils.unpack_tuple(builder, view.shape)
    flat = indices[0]
    for size, i in zip(shape[1:], indices[1:], strict=True):
        flat = builder.add(builder.mul(flat, size), i)
    return builder.gep(view.data, [flat])


def load_vector(builder, pointer, vector=VECTOR):  # type: ignore[no-untyped-def]
    """A vector from a pointer to its first element, which need not be aligned."""
    loaded = builder.load(builder.bitcast(pointer, vector.as_pointer()))
    loaded.align = 4
    return loaded


def store_vector(builder, value, pointer):  # type: ignore[no-untyped-def]
    """The reverse of load_vector."""
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer())).align = 4


def _loader(vector):  # type: ignore[no-untyped-def]
    @intrinsic
    def load(typingctx, row, j):  # type: ignore[no-untyped-def]  # noqa: ARG001
        """The elements of a contiguous one-dimensional array from j on; the caller sees to the bounds."""

        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
            return load_vector(builder, element(context, builder, signature.args[0], args[0], [args[1]]), LLVM[vector])

        return (vector(row, types.intp), codegen) if row.dtype == ELEMENT[vector] else None

    return load


def _storer(vector):  # type: ignore[no-untyped-def]
    @intrinsic
    def store(typingctx, row, j, v):  # type: ignore[no-untyped-def]  # noqa: ARG001
        """The reverse."""

        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
            store_vector(builder, args[2], element(context, builder, signature.args[0], args[0], [args[1]]))
            return context.get_dummy_value()

        return (types.void(row, types.intp, vector), codegen) if row.dtype == ELEMENT[vector] else None

    return store


load16, store16 = _loader(vec16), _storer(vec16)
load8, store8 = _loader(vec8), _storer(vec8)


def _masked(builder, what, vector, *args):  # type: ignore[no-untyped-def]
    """Call LLVM's masked load or store."""
    pointer = vector.as_pointer()
    lanes = ir.VectorType(ir.IntType(1), vector.count)
    if what == "load":
        kind = ir.FunctionType(vector, [pointer, _INT, lanes, vector])
    else:
        kind = ir.FunctionType(ir.VoidType(), [vector, pointer, _INT, lanes])
    name = f"llvm.masked.{what}.{type_name(vector)}.p0{type_name(vector)}"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


@intrinsic
def load_some(typingctx, row, j, mask, v):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """row[j + k] in each lane k of the mask, and lane k of v elsewhere, where memory is not read."""
    vector = OF_MASK.get(mask)
    if vector is None or ELEMENT[vector] != row.dtype:
        return None
    common = common_type((vector, v))

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        wide = LLVM[vector]
        pointer = element(context, builder, signature.args[0], args[0], [args[1]])
        rest = args[3] if args[3].type == wide else splat(builder, args[3], wide)
        return _masked(builder, "load", wide, builder.bitcast(pointer, wide.as_pointer()), _INT(4), args[2], rest)

    return (vector(row, types.intp, mask, v), codegen) if common == vector else None


@intrinsic
def store_some(typingctx, row, j, mask, v):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """row[j + k] = lane k of v, for the lanes of the mask."""
    vector = OF_MASK.get(mask)
    if vector is None or ELEMENT[vector] != row.dtype:
        return None

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        wide = LLVM[vector]
        pointer = element(context, builder, signature.args[0], args[0], [args[1]])
        _masked(builder, "store", wide, args[3], builder.bitcast(pointer, wide.as_pointer()), _INT(4), args[2])
        return context.get_dummy_value()

    return (types.void(row, types.intp, mask, v), codegen) if v == vector else None


@intrinsic
def matrix(typingctx, flat, start, rows, columns):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """flat[start : start + rows * columns] of a one-dimensional array, seen as (rows, columns).

    NumPy's reshape looks for a way to avoid a copy at run time, which takes longer than what is done with the result.
    """
    result = types.Array(flat.dtype, 2, "C")
    intp = types.intp

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        _, start, rows, columns = args
        array = context.make_array(result)(context, builder)
        itemsize = start.type(get_itemsize(context, result))
        data = element(context, builder, signature.args[0], args[0], [start])
        strides = [builder.mul(columns, itemsize), itemsize]
        populate_array(array, data, [rows, columns], strides, itemsize, meminfo=None)
        return array._getvalue()

    return result(flat, intp, intp, intp), codegen


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


@intrinsic
def clear_rows(typingctx, array, start, stop):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """array[start:stop] = 0, of a C-contiguous two-dimensional array, at once: short rows are not worth a loop each."""
    intp = types.intp

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        array, start, stop = args
        kind = signature.args[0]
        columns = cgutils.unpack_tuple(builder, context.make_array(kind)(context, builder, value=array).shape)[1]
        pointer = element(context, builder, kind, array, [start, start.type(0)])
        itemsize = start.type(get_itemsize(context, kind))
        cgutils.memset(builder, pointer, builder.mul(builder.mul(builder.sub(stop, start), columns), itemsize), 0)
        return context.get_dummy_value()

    return types.void(array, intp, intp), codegen
