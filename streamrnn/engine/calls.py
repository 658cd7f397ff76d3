"""What Python calls to step: every check, then the step, with all of the engine's arrays behind one argument."""

from __future__ import annotations

import numpy as np

from streamrnn._jit import call_at, fused, inlined, kernel
from streamrnn.burst import HAS_RESET, HAS_T
from streamrnn.frames import address_of
from streamrnn.kernels.memory import load_some
from streamrnn.kernels.vector import LANES, bits, first16, less, size_of

from .advance import begin
from .frame import ADVANCE, Answers, Rows, answers_of, marks_of, put_rows, rows_of, table_of
from .queries import times_go_back
from .table import FLAGS, GENERATION, LAST_T, RECV, SEEN_T, lookup, touch

__all__ = [
    "BACK",
    "IDLE",
    "INFINITE",
    "STALE_HANDLE",
    "UNKNOWN",
    "step_one",
    "step_rows",
]

# Why a step was refused; otherwise the stream's slot, which is not negative.
UNKNOWN, STALE_HANDLE, BACK, INFINITE, IDLE = -1, -2, -3, -4, -5

# Typed: Numba compiles a function once more for a literal.
_ZERO, _ONE = np.int64(0), np.int64(1)

_LARGEST = np.finfo(np.float32).max

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


@fused
def _all_finite(X):
    """Whether no sample of X float32 (n, n_in) holds an infinity; NaN is a missing channel."""
    flat, n = X[0], X.size
    for k in range(0, n, LANES):
        if bits(first16(n - k) & less(_LARGEST, size_of(load_some(flat, k, first16(n - k), np.float32(0.0))))) != 0:
            return False
    return True


@kernel
def step_rows(
    frame, X, t, has, handles, slots, fresh, y, score, flag, edge, cause, seen, epoch, missing, now, timed, alone
):
    """Advance the streams of handles int64 (n,) by the samples X float32 (n, n_in), in order; returns (why it was
    refused or 0, the first row to blame).

    `t` int64 and `has` uint8, the samples' times and HAS_ bits, with `timed` where there are times; `slots` int64 and
    `fresh` uint8 are scratch and the rest are the answers, all of n rows or more. Where not `alone` everything is
    checked and prepared, and the caller steps the rows on its threads. What is refused has changed nothing.
    """
    n = X.shape[0]
    rows = Rows(X, t, has, slots, fresh)
    put_rows(frame, rows, Answers(y, score, flag, edge, cause, seen, epoch, missing))
    table = table_of(frame)
    for i in range(n):
        slots[i] = _slot_of(table, handles[i])
        if slots[i] < 0:
            return STALE_HANDLE, i
    if n > 0 and not _all_finite(X):
        return INFINITE, 0
    if timed:
        # Where answers will stand, there is room until then.
        bad = times_go_back(table, slots, t, has, n, seen, epoch)
        if bad >= 0:
            return BACK, bad
    for i in range(n):
        slot = slots[i]
        fresh[i] = 1 if has[i] & HAS_RESET else 0
        if timed:
            table.meta[slot, LAST_T] = t[i]
            table.meta[slot, FLAGS] |= SEEN_T
        touch(table, slot, now)
    begin(frame, _ZERO, n)
    if alone:
        mark = marks_of(frame).mark
        mark[0] = call_at(frame[ADVANCE], (address_of(frame), 0, n, mark[0], 0, 1))
    return 0, 0
