"""An engine's arrays behind one argument, for calls from Python that must be quick.

Numba unpacks every array of every argument on each call, which takes longer than the step of one stream. A frame is one
array of integers, the addresses and shapes of the engine's arrays; compiled code turns them back into the same tuples.
The engine keeps the arrays alive, and makes a new frame when it replaces one of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import get_itemsize, populate_array

from streamrnn._jit import inlined, kernel
from streamrnn.burst import HAS_RESET, HAS_T

from .advance import Answers, advance
from .program import Program, Slab, Work
from .table import FLAGS, GENERATION, LAST_T, RECV, SEEN_T, Table, lookup, touch

__all__ = ["BACK", "IDLE", "INFINITE", "STALE_HANDLE", "UNKNOWN", "new_frame", "step_handle", "step_id"]

# Why a step was refused; otherwise the stream's slot, which is not negative.
UNKNOWN, STALE_HANDLE, BACK, INFINITE, IDLE = -1, -2, -3, -4, -5

_DIMENSIONS = 3
_FIELDS = 1 + _DIMENSIONS
"""Numbers of an array in a frame: its address and its shape."""

_SLOT_MASK = np.int64(0xFFFFFFFF)


@intrinsic(prefer_literal=True)
def _array(typingctx, dtype, dimensions, frame, at):  # noqa: ARG001 - the signature Numba calls
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
    """The addresses and shapes of all arrays, in order, as `_open` reads them; int64 (arrays * _FIELDS,)."""
    rows = []
    for array in (a for group in groups for a in group):
        if not array.flags.c_contiguous:
            raise ValueError(f"a frame takes C-contiguous arrays; one of shape {array.shape} is not")
        rows.append([array.ctypes.data, *array.shape, *[0] * (_DIMENSIONS - array.ndim)])
    return np.array(rows, np.int64).ravel()


@inlined
def _open(frame):
    """(program, slab, table, work, stamp, answers, x, t, has, slots, fresh) of a frame."""
    f = frame
    n = _FIELDS
    program = Program(
        _array(np.int64, 1, f, 0),
        _array(np.int64, 2, f, n),
        _array(np.float32, 1, f, 2 * n),
        _array(np.float64, 1, f, 3 * n),
        _array(np.float64, 1, f, 4 * n),
    )
    slab = Slab(
        _array(np.float32, 2, f, 5 * n),
        _array(np.float64, 2, f, 6 * n),
        _array(np.float64, 2, f, 7 * n),
        _array(np.float32, 3, f, 8 * n),
    )
    table = Table(
        _array(np.uint8, 2, f, 9 * n),
        _array(np.int64, 1, f, 10 * n),
        _array(np.uint64, 1, f, 11 * n),
        _array(np.int64, 1, f, 12 * n),
        _array(np.int64, 2, f, 13 * n),
        _array(np.int64, 1, f, 14 * n),
        _array(np.uint64, 1, f, 15 * n),
    )
    work = Work(
        _array(np.float32, 2, f, 16 * n),
        _array(np.float32, 2, f, 17 * n),
        _array(np.float32, 2, f, 18 * n),
        _array(np.int64, 1, f, 19 * n),
        _array(np.int64, 1, f, 20 * n),
        _array(np.int64, 1, f, 21 * n),
        _array(np.float64, 1, f, 22 * n),
        _array(np.float64, 1, f, 23 * n),
        _array(np.float32, 1, f, 24 * n),
    )
    answers = Answers(
        _array(np.float32, 2, f, 26 * n),
        _array(np.float32, 1, f, 27 * n),
        _array(np.uint8, 1, f, 28 * n),
        _array(np.int8, 1, f, 29 * n),
        _array(np.int32, 1, f, 30 * n),
        _array(np.int64, 1, f, 31 * n),
        _array(np.int64, 1, f, 32 * n),
        _array(np.uint8, 2, f, 33 * n),
    )
    return program, slab, table, work, _array(np.int64, 1, f, 25 * n), answers


@kernel
def _infinite(x):
    """Whether a sample float32 (n,) holds an infinity; NaN is a missing channel."""
    found = False
    for k in range(x.shape[0]):
        found = found or np.isinf(x[k])
    return found


@inlined
def _refused(why, mark):
    return why, mark, np.float32(0.0), np.uint8(0), np.int32(-1), np.int64(0), False


@kernel
def _step(frame, slot, t, has, now, ttl, mark):
    """Check the sample in the frame's row of samples, and advance the slot by it."""
    program, slab, table, work, stamp, answers = _open(frame)
    n = _FIELDS
    x = _array(np.float32, 2, frame, 34 * n)
    times = _array(np.int64, 1, frame, 35 * n)
    flags = _array(np.uint8, 1, frame, 36 * n)
    slots = _array(np.int64, 1, frame, 37 * n)
    fresh = _array(np.uint8, 1, frame, 38 * n)
    row = table.meta[slot]
    if _infinite(x[0]):
        return _refused(INFINITE, mark)
    if ttl > 0 and now - row[RECV] > ttl:
        return _refused(IDLE, mark)
    if has & HAS_T and row[FLAGS] & SEEN_T and t < row[LAST_T] and not has & HAS_RESET:
        return _refused(BACK, mark)
    if has & HAS_T:
        row[LAST_T] = t
        row[FLAGS] |= SEEN_T
    touch(table, slot, now)
    times[0] = t
    flags[0] = has
    slots[0] = slot
    fresh[0] = 1 if has & HAS_RESET else 0
    mark = advance(program, slab, table, work, x, times, flags, slots, fresh, 0, 1, stamp, mark, answers)
    missing = False
    for k in range(answers.missing.shape[1]):
        missing = missing or answers.missing[0, k] != 0
    return slot, mark, answers.score[0], answers.flag[0], answers.cause[0], answers.seen[0], missing


@kernel
def step_handle(frame, handle, t, has, now, ttl, mark):
    """Advance the stream of a handle by the sample in the frame.

    `t` and `now` in ns, `has` the HAS_ bits of the sample, `ttl` in ns with 0 for never, `mark` as in `advance`. Returns
    (slot or why it was refused, mark, score, flag, cause, samples seen, whether a channel was missing); y and the missing
    channels stand in the frame's answers. A sample that was refused has changed nothing.
    """
    table = _open(frame)[2]
    slot = handle & _SLOT_MASK
    if handle < 0 or slot >= table.meta.shape[0]:
        return _refused(STALE_HANDLE, mark)
    if table.meta[slot, FLAGS] == 0 or table.meta[slot, GENERATION] != handle >> 32:
        return _refused(STALE_HANDLE, mark)
    return _step(frame, slot, t, has, now, ttl, mark)


@kernel
def step_id(frame, stream, t, has, now, ttl, mark):
    """The same for a stream by its id, uint8 (n,); UNKNOWN where it is not alive."""
    slot = lookup(_open(frame)[2], stream, 0, stream.shape[0])
    if slot < 0:
        return _refused(UNKNOWN, mark)
    return _step(frame, slot, t, has, now, ttl, mark)
