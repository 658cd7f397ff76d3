"""Arrays out of the GPU's memory, in a kernel: stretches of the one array of a kind of number, shaped by a frame.

    vector(flat, frame, at)     flat[start : start + n] with start, n = frame[at : at + 2]
    matrix(flat, frame, at)     the same as (rows, columns), two numbers of the frame
    cube(flat, frame, at)       the same with three dimensions

The reader of `streamrnn.frames` for places in a memory instead of addresses. They are intrinsics because a kernel's
functions may not return arrays, and NumPy's reshape is, on a GPU, a function in another language.
"""

from __future__ import annotations

from typing import Any

from numba.core import cgutils
from numba.extending import intrinsic

from streamrnn._cuda import SIMULATED

__all__ = ["cube", "matrix", "vector"]


def _reader(dimensions: int) -> Any:
    """What makes an array of so many dimensions, as a kernel calls it."""
    if SIMULATED:

        def simulated(flat: Any, frame: Any, at: int) -> Any:
            start, *shape = (int(frame[at + k]) for k in range(1 + dimensions))
            size = 1
            for n in shape:
                size *= n
            part = flat[start : start + size]
            # As the simulator wraps an array in a kernel, whose methods give the plain one.
            return type(part)(part.reshape(shape))

        return simulated

    @intrinsic
    def read(typingctx, flat, frame, at):  # type: ignore[no-untyped-def]  # noqa: ARG001
        result = type(flat)(flat.dtype, dimensions, "C")

        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
            source = context.make_array(signature.args[0])(context, builder, value=args[0])
            numbers = context.make_array(signature.args[1])(context, builder, value=args[1]).data
            i64 = args[2].type
            start, *dims = (
                builder.load(builder.gep(numbers, [builder.add(args[2], i64(k))])) for k in range(1 + dimensions)
            )
            array = context.make_array(result)(context, builder)
            strides, size = [i64(result.dtype.bitwidth // 8)], dims[-1]
            for n in reversed(dims[1:]):
                strides.insert(0, builder.mul(strides[0], n))
            for n in dims[:-1]:
                size = builder.mul(size, n)
            array.data = builder.gep(source.data, [start])
            array.shape, array.strides = cgutils.pack_array(builder, dims), cgutils.pack_array(builder, strides)
            array.nitems, array.itemsize = size, strides[-1]
            array.meminfo, array.parent = source.meminfo, source.parent
            return array._getvalue()

        return result(flat, frame, at), codegen

    return read


vector, matrix, cube = _reader(1), _reader(2), _reader(3)
