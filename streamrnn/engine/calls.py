"""What Python calls to step: every check, then the step, with all of the engine's arrays behind one argument."""

from __future__ import annotations

import numpy as np

from streamrnn._jit import call_at, fused, inlined, kernel
from streamrnn.burst import HAS_RESET, HAS_T
from streamrnn.frames import address_of

from .advance import begin
from .frame import ADVANCE, answers_of, marks_of, put_rows, rows_of, table_of
from .table import FLAGS, GENERATION, LAST_T, RECV, SEEN_T, lookup, touch

__all__ = [
    "BACK",
    "IDLE",
    "INFINITE",
    "STALE_HANDLE",
    "UNKNOWN",
    "check_rows",
    "step_one",
    "use_rows",
]

# Why a step was refused; otherwise the stream's slot, which is not negative.
UNKNOWN, STALE_HANDLE, BACK, INFINITE, IDLE = -1, -2, -3, -4, -5

# Typed: Numba compiles a function once more for a literal.
_ZERO, _ONE = np.int64(0), np.int64(1)

_SLOT_MASK = np.int64(0xFFFFFFFF)


@fused
def _infinite(x):
    """Whether a sample float32 (n,) holds an infinity; NaN is a missing channel."""
    found = False
    for k in range(x.shape[0]):
        found = found or np.isinf(x[k])
    return found


@inlined
def _refused(why):
    return why, np.float32(0.0), np.uint8(0), np.int32(-1), np.int64(0), False


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
def step_one(frame, handle, stream, t, has, now, ttl):
    """Advance one stream by the sample in the frame's one row: that of a handle, or by its id, uint8 (n,), where n > 0.

    `t` and `now` in ns, `has` the HAS_ bits of the sample, `ttl` in ns with 0 for never. Returns (slot or why it was
    refused, score, flag, cause, samples seen, whether a channel was missing); y and the missing channels stand in the
    frame's answers. A sample that was refused has changed nothing.
    """
    table, rows, answers = table_of(frame), rows_of(frame), answers_of(frame)
    if stream.shape[0] > 0:
        slot = lookup(table, stream, _ZERO, stream.shape[0])
        why = UNKNOWN
    else:
        slot = _slot_of(table, handle)
        why = STALE_HANDLE
    if slot < 0:
        return _refused(why)
    row = table.meta[slot]
    if _infinite(rows.x[0]):
        return _refused(INFINITE)
    if ttl > 0 and now - row[RECV] > ttl:
        return _refused(IDLE)
    if has & HAS_T and row[FLAGS] & SEEN_T and t < row[LAST_T] and not has & HAS_RESET:
        return _refused(BACK)
    if has & HAS_T:
        row[LAST_T] = t
        row[FLAGS] |= SEEN_T
    touch(table, slot, now)
    rows.t[0] = t
    rows.has[0] = has
    rows.slots[0] = slot
    rows.fresh[0] = 1 if has & HAS_RESET else 0
    begin(frame, _ZERO, _ONE)
    mark = marks_of(frame).mark
    mark[0] = call_at(frame[ADVANCE], (address_of(frame), 0, 1, mark[0], 0, 1))
    missing = False
    for k in range(answers.missing.shape[1]):
        missing = missing or answers.missing[0, k] != 0
    return slot, answers.score[0], answers.flag[0], answers.cause[0], answers.seen[0], missing


@kernel
def check_rows(frame, rows, answers, handles):
    """Let the frame be about these rows and answers, and write each handle's slot to rows.slots; returns (the first row
    whose handle is stale or -1, whether any sample holds an infinity)."""
    put_rows(frame, rows, answers)
    table = table_of(frame)
    infinite = False
    for i in range(handles.shape[0]):
        slot = _slot_of(table, handles[i])
        rows.slots[i] = slot
        if slot < 0:
            return i, infinite
        infinite = infinite or _infinite(rows.x[i])
    return -1, infinite


@kernel
def use_rows(frame, n, now, step):
    """Note that the streams of the frame's first n rows are used, in order, and the times of their samples; and step
    them, in this thread, where `step` is true."""
    table, rows = table_of(frame), rows_of(frame)
    for i in range(n):
        slot = rows.slots[i]
        rows.fresh[i] = 1 if rows.has[i] & HAS_RESET else 0
        if rows.has[i] & HAS_T:
            row = table.meta[slot]
            row[LAST_T] = rows.t[i]
            row[FLAGS] |= SEEN_T
        touch(table, slot, now)
    begin(frame, _ZERO, n)
    if step:
        mark = marks_of(frame).mark
        mark[0] = call_at(frame[ADVANCE], (address_of(frame), 0, n, mark[0], 0, 1))
