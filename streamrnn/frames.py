"""Frames: arrays behind one argument, for compiled code.

Numba unpacks every array of every argument on each call from Python, and passes each as half a dozen numbers from one
compiled function to the next; with dozens of arrays both take longer than the step of a stream. A frame is one array of
integers: for each array in it its address and shape. Compiled code turns a part of a frame back into a tuple of arrays,
and reads what it needs. Whoever makes a frame keeps the arrays alive, and writes it anew when an array is replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import get_itemsize, populate_array

__all__ = ["FIELDS", "Kinds", "address_of", "numbers_at", "put", "reader", "write"]

FIELDS = 4
"""Numbers of an array in a frame: its address, and the sizes of up to three dimensions."""

Kinds = Sequence[tuple[types.Type, int]]
"""dtype and number of dimensions of each array of a tuple."""

_I64 = ir.IntType(64)


def _array(context: Any, builder: Any, kind: types.Array, read: Sequence[Any]) -> Any:
    """An array of compiled code from its address and shape."""
    itemsize = _I64(get_itemsize(context, kind))
    strides = [itemsize]
    for size in reversed(read[2:]):
        strides.insert(0, builder.mul(strides[0], size))
    array = context.make_array(kind)(context, builder)
    data = builder.inttoptr(read[0], array.data.type)
    populate_array(array, data, list(read[1:]), strides, itemsize, meminfo=None)
    return array._getvalue()


def reader(group: type[Any], kinds: Kinds, place: int) -> Any:
    """A compiled function from a frame to the tuple `group` of contiguous arrays that stands in it from `place` on."""
    members = [types.Array(dtype, dimensions, "C") for dtype, dimensions in kinds]
    result = types.NamedTuple(members, group)

    @intrinsic
    def read(typingctx, frame):  # type: ignore[no-untyped-def]  # noqa: ARG001
        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
            numbers = context.make_array(signature.args[0])(context, builder, value=args[0]).data
            arrays = []
            for i, kind in enumerate(members):
                first = place + FIELDS * i
                pointers = [builder.gep(numbers, [_I64(first + k)]) for k in range(1 + kind.ndim)]
                arrays.append(_array(context, builder, kind, [builder.load(p) for p in pointers]))
            return context.make_tuple(builder, result, arrays)

        return result(frame), codegen

    return read


@intrinsic
def numbers_at(typingctx, address):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """The frame at an address, whose length is not known."""
    result = types.Array(types.int64, 1, "C")

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]  # noqa: ARG001
        return _array(context, builder, result, [args[0], _I64(1 << 20)])

    return result(types.int64), codegen


@intrinsic
def address_of(typingctx, array):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """The address of a contiguous array's first element."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, value=args[0]).data
        return builder.ptrtoint(data, _I64)

    return types.int64(array), codegen


@intrinsic
def put(typingctx, frame, place, arrays):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Write a tuple of arrays into a frame from a place on, from compiled code."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        frame, place, group = args
        numbers = context.make_array(signature.args[0])(context, builder, value=frame).data
        values = cgutils.unpack_tuple(builder, group)
        for i, (kind, value) in enumerate(zip(signature.args[2].types, values, strict=True)):
            array = context.make_array(kind)(context, builder, value=value)
            written = [builder.ptrtoint(array.data, _I64), *cgutils.unpack_tuple(builder, array.shape)]
            for k, number in enumerate(written):
                builder.store(number, builder.gep(numbers, [builder.add(place, _I64(FIELDS * i + k))]))
        return context.get_dummy_value()

    return types.void(frame, types.int64, arrays), codegen


def write(frame: npt.NDArray[np.int64], place: int, arrays: Sequence[npt.NDArray[Any]]) -> None:
    """The same from Python; ValueError where an array is not contiguous."""
    for i, array in enumerate(arrays):
        if not array.flags.c_contiguous:
            raise ValueError(f"a frame takes C-contiguous arrays; one of shape {array.shape} is not")
        numbers = [array.ctypes.data, *array.shape]
        frame[place + FIELDS * i : place + FIELDS * i + len(numbers)] = numbers
