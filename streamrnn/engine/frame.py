"""An engine's arrays behind one argument.

Numba unpacks every array of every argument on each call from Python, and passes each as half a dozen numbers from one
compiled function to the next; with three dozen arrays both take longer than the step of one stream. A frame is one
array of integers, the addresses and shapes of the engine's arrays; compiled code turns them back into the same tuples,
and reads what it needs. The engine keeps the arrays alive, and makes a new frame when it replaces one of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import get_itemsize, populate_array

from streamrnn._jit import inlined

from .program import Program, Slab, Work
from .table import Table

__all__ = ["FIELDS", "STAMP_AT", "array_at", "new_frame", "opened"]

_DIMENSIONS = 3
FIELDS = 1 + _DIMENSIONS
"""Numbers of an array in a frame: its address and its shape."""

STAMP_AT = len(Program._fields) + len(Slab._fields) + len(Table._fields) + len(Work._fields)
"""Arrays before the last that every frame has."""


@intrinsic(prefer_literal=True)
def array_at(typingctx, dtype, dimensions, frame, at):  # noqa: ARG001 - the signature Numba calls
    """The array whose address and shape stand in frame[at:], with a literal number of dimensions."""
    n = dimensions.literal_value
    result = types.Array(dtype.dtype, n, "C")
    signature = result(dtype, dimensions, frame, at)

    def codegen(context, builder, sig, args):
        _, _, frame, at = args
        numbers = context.make_array(sig.args[2])(context, builder, value=frame).data
        read = [builder.load(builder.gep(numbers, [builder.add(at, at.type(k))])) for k in range(1 + n)]
        array = context.make_array(result)(context, builder)
        itemsize = get_itemsize(context, result)
        strides = [at.type(itemsize)]
        for size in reversed(read[2:]):
            strides.insert(0, builder.mul(strides[0], size))
        data = builder.inttoptr(read[0], array.data.type)
        populate_array(array, data, read[1:], strides, at.type(itemsize), meminfo=None)
        return array._getvalue()

    return signature, codegen


def new_frame(*groups: tuple[npt.NDArray[np.generic], ...]) -> npt.NDArray[np.int64]:
    """The addresses and shapes of all arrays, in order, as `opened` reads them; int64 (arrays * FIELDS,)."""
    rows = []
    for array in (a for group in groups for a in group):
        if not array.flags.c_contiguous:
            raise ValueError(f"a frame takes C-contiguous arrays; one of shape {array.shape} is not")
        rows.append([array.ctypes.data, *array.shape, *[0] * (_DIMENSIONS - array.ndim)])
    return np.array(rows, np.int64).ravel()


@inlined
def opened(frame):
    """(program, slab, table, work, stamp) of a frame, which may hold more behind them."""
    f = frame
    n = FIELDS
    program = Program(
        array_at(np.int64, 1, f, 0),
        array_at(np.int64, 2, f, n),
        array_at(np.float32, 1, f, 2 * n),
        array_at(np.float64, 1, f, 3 * n),
        array_at(np.float64, 1, f, 4 * n),
    )
    slab = Slab(
        array_at(np.float32, 2, f, 5 * n),
        array_at(np.float64, 2, f, 6 * n),
        array_at(np.float64, 2, f, 7 * n),
        array_at(np.float32, 3, f, 8 * n),
    )
    table = Table(
        array_at(np.uint8, 2, f, 9 * n),
        array_at(np.int64, 1, f, 10 * n),
        array_at(np.uint64, 1, f, 11 * n),
        array_at(np.int64, 1, f, 12 * n),
        array_at(np.int64, 2, f, 13 * n),
        array_at(np.int64, 1, f, 14 * n),
        array_at(np.uint64, 1, f, 15 * n),
    )
    work = Work(
        array_at(np.float32, 2, f, 16 * n),
        array_at(np.float32, 2, f, 17 * n),
        array_at(np.float32, 2, f, 18 * n),
        array_at(np.int64, 1, f, 19 * n),
        array_at(np.int64, 1, f, 20 * n),
        array_at(np.int64, 1, f, 21 * n),
        array_at(np.float64, 1, f, 22 * n),
        array_at(np.float64, 1, f, 23 * n),
        array_at(np.float32, 1, f, 24 * n),
    )
    return program, slab, table, work, array_at(np.int64, 1, f, STAMP_AT * n)
