"""Arrays out of the GPU's memory, in a kernel: a stretch of the one array of a kind of number, given a shape.

    vector(flat, start, n)                 flat[start : start + n]
    matrix(flat, start, rows, columns)     flat[start : start + rows * columns] as (rows, columns)
    cube(flat, start, n, rows, columns)    the same with three dimensions

Intrinsics, because a slice is held against the array's end, a kernel's functions may not return arrays, and NumPy's
reshape is, on a GPU, a function in another language.
"""

from __future__ import annotations

import math
from typing import Any

from numba.core import cgutils
from numba.extending import intrinsic

from streamrnn._cuda import SIMULATED

__all__ = ["cube", "matrix", "vector"]


def _shaped(result, signature):  # type: ignore[no-untyped-def]
    """What makes an array of the kind `result` at an element of a flat one, of the sizes that follow."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        flat, start, *dims = args
        source = context.make_array(signature.args[0])(context, builder, value=flat)
        array = context.make_array(result)(context, builder)
        strides, size = [start.type(result.dtype.bitwidth // 8)], dims[-1]
        for n in reversed(dims[1:]):
            strides.insert(0, builder.mul(strides[0], n))
        for n in dims[:-1]:
            size = builder.mul(size, n)
        array.data = builder.gep(source.data, [start])
        array.shape, array.strides = cgutils.pack_array(builder, dims), cgutils.pack_array(builder, strides)
        array.nitems, array.itemsize = size, strides[-1]
        array.meminfo, array.parent = source.meminfo, source.parent
        return array._getvalue()

    return signature, codegen


@intrinsic
def _vector(typingctx, flat, start, n):  # type: ignore[no-untyped-def]  # noqa: ARG001
    result = type(flat)(flat.dtype, 1, "C")
    return _shaped(result, result(flat, start, n))


@intrinsic
def _matrix(typingctx, flat, start, rows, columns):  # type: ignore[no-untyped-def]  # noqa: ARG001
    result = type(flat)(flat.dtype, 2, "C")
    return _shaped(result, result(flat, start, rows, columns))


@intrinsic
def _cube(typingctx, flat, start, n, rows, columns):  # type: ignore[no-untyped-def]  # noqa: ARG001
    result = type(flat)(flat.dtype, 3, "C")
    return _shaped(result, result(flat, start, n, rows, columns))


def _simulated(flat: Any, start: int, *shape: int) -> Any:
    part = flat[start : start + math.prod(shape)]
    # Wrapped as it was: methods of the simulator's wrapper give the plain array, those of what it wraps do not.
    inner = getattr(part, "_item", part)
    return type(part)(inner.reshape(shape))


vector: Any = _simulated if SIMULATED else _vector
matrix: Any = _simulated if SIMULATED else _matrix
cube: Any = _simulated if SIMULATED else _cube
