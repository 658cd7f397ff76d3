"""What Python calls to step: every check, then the step, with all of the engine's arrays behind one argument."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamrnn._jit import fused, inlined, kernel
from streamrnn.burst import HAS_RESET, HAS_T

from .advance import Answers, advance, begin
from .frame import FIELDS, STAMP_AT, array_at, opened
from .table import FLAGS, GENERATION, LAST_T, RECV, SEEN_T, lookup, touch

__all__ = [
    "BACK",
    "IDLE",
    "INFINITE",
    "STALE_HANDLE",
    "UNKNOWN",
    "check_rows",
    "new_single",
    "step_one",
    "use_rows",
]

# Why a step was refused; otherwise the stream's slot, which is not negative.
UNKNOWN, STALE_HANDLE, BACK, INFINITE, IDLE = -1, -2, -3, -4, -5

_SLOT_MASK = np.int64(0xFFFFFFFF)

_ONE_AT = STAMP_AT + 1


def new_single(answers: Answers, sample: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.generic], ...]:
    """What a frame holds for a single step behind the engine's own: answers of one row, its sample float32 (1, n_in),
    and scratch for its time, HAS_ bits, slot and freshness."""
    scratch = np.zeros(1, np.int64), np.zeros(1, np.uint8), np.zeros(1, np.int64), np.zeros(1, np.uint8)
    return (*answers, sample, *scratch)


@inlined
def _one(frame):
    """(answers, x, t, has, slots, fresh) of `new_single`."""
    f = frame
    n = FIELDS
    at = _ONE_AT * n
    answers = Answers(
        array_at(np.float32, 2, f, at),
        array_at(np.float32, 1, f, at + n),
        array_at(np.uint8, 1, f, at + 2 * n),
        array_at(np.int8, 1, f, at + 3 * n),
        array_at(np.int32, 1, f, at + 4 * n),
        array_at(np.int64, 1, f, at + 5 * n),
        array_at(np.int64, 1, f, at + 6 * n),
        array_at(np.uint8, 2, f, at + 7 * n),
    )
    x = array_at(np.float32, 2, f, at + 8 * n)
    t = array_at(np.int64, 1, f, at + 9 * n)
    has = array_at(np.uint8, 1, f, at + 10 * n)
    slots = array_at(np.int64, 1, f, at + 11 * n)
    return answers, x, t, has, slots, array_at(np.uint8, 1, f, at + 12 * n)


@fused
def _infinite(x):
    """Whether a sample float32 (n,) holds an infinity; NaN is a missing channel."""
    found = False
    for k in range(x.shape[0]):
        found = found or np.isinf(x[k])
    return found


@inlined
def _refused(why, mark):
    return why, mark, np.float32(0.0), np.uint8(0), np.int32(-1), np.int64(0), False


@fused
def _slot_of(table, handle):
    """The slot of a handle, or -1 where it is stale."""
    slot = handle & _SLOT_MASK
    if handle < 0 or slot >= table.meta.shape[0]:
        return np.int64(-1)
    if table.meta[slot, FLAGS] == 0 or table.meta[slot, GENERATION] != handle >> 32:
        return np.int64(-1)
    return slot


@kernel
def step_one(frame, handle, stream, t, has, now, ttl, mark):
    """Advance one stream by the sample in the frame: that of a handle, or by its id, uint8 (n,), where n > 0.

    `t` and `now` in ns, `has` the HAS_ bits of the sample, `ttl` in ns with 0 for never, `mark` as in `advance`.
    Returns (slot or why it was refused, mark, score, flag, cause, samples seen, whether a channel was missing); y and
    the missing channels stand in the frame's answers. A sample that was refused has changed nothing.
    """
    table = opened(frame)[2]
    if stream.shape[0] > 0:
        slot = lookup(table, stream, 0, stream.shape[0])
        why = UNKNOWN
    else:
        slot = _slot_of(table, handle)
        why = STALE_HANDLE
    if slot < 0:
        return _refused(why, mark)
    answers, x, times, flags, slots, fresh = _one(frame)
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
    # Typed numbers: for a literal, Numba would compile the step once more.
    zero, one = np.int64(0), np.int64(1)
    mark += one
    begin(frame, slots, fresh, zero, one, mark, answers)
    mark = advance(frame, x, times, flags, slots, fresh, zero, one, mark, answers, zero, one)
    missing = False
    for k in range(answers.missing.shape[1]):
        missing = missing or answers.missing[0, k] != 0
    return slot, mark, answers.score[0], answers.flag[0], answers.cause[0], answers.seen[0], missing


@kernel
def check_rows(frame, handles, x, slots):
    """Write each handle's slot to slots int64 (n,); returns (the first row whose handle is stale or -1, whether any
    sample of x float32 (n, n_in) holds an infinity)."""
    table = opened(frame)[2]
    infinite = False
    for i in range(handles.shape[0]):
        slots[i] = _slot_of(table, handles[i])
        if slots[i] < 0:
            return i, infinite
        infinite = infinite or _infinite(x[i])
    return -1, infinite


@kernel
def use_rows(frame, t, has, slots, now):
    """Note that live slots are used, in order, and the times of their samples."""
    table = opened(frame)[2]
    for i in range(slots.shape[0]):
        if has[i] & HAS_T:
            row = table.meta[slots[i]]
            row[LAST_T] = t[i]
            row[FLAGS] |= SEEN_T
        touch(table, slots[i], now)
