"""Samples in, answers out: admission and the step in turn, until all rows of a burst are settled."""

from __future__ import annotations

import numpy as np

from streamrnn._jit import Entry, call_at, kernel
from streamrnn.frames import address_of, numbers_at
from streamrnn.kernels.memory import clear_rows

from .admission import DONE, FULL, PENDING, WIDER, admit
from .frame import ADVANCE, INGEST, answers_of, arrivals_of, events_of, marks_of, rows_of, table_of

__all__ = ["DONE", "FULL", "SHARED", "WIDER", "admit_one", "ingest", "ingest_rows"]

# Typed: Numba compiles a function once more for a literal.
_ZERO, _ONE = np.int64(0), np.int64(1)

SHARED = 4
"""Why `ingest` returned, besides admission's reasons: there are rows for several threads."""


@Entry
def ingest(address, row, n, recv, ttl, share):
    """Settle the rows from `row` to `n` of the frame at an address; returns why it stopped.

    The frame's cursor then holds the first row that is not settled, and the row up to which rows are admitted. DONE:
    all are settled. FULL: the caller drains the events and comes back. WIDER: the caller makes room for longer ids and
    comes back. SHARED: the caller steps the rows between the two on its threads and comes back for the rest; never
    where `share` is 0, else where at least so many rows were admitted at once. `recv` is the time of receipt, `ttl` the
    idle time in ns, 0 for never.
    """
    frame = numbers_at(address)
    marks = marks_of(frame)
    table, events, rows, arrivals = table_of(frame), events_of(frame), rows_of(frame), arrivals_of(frame)
    epochs, missing = answers_of(frame).epoch, answers_of(frame).missing
    why = DONE
    while row < n:
        marks.mark[0] += 1
        stop, why = admit(table, events, rows, arrivals, row, n, recv, ttl, marks.stamp, marks.mark[0])
        clear_rows(missing, row, stop)
        for i in range(row, stop):
            if rows.fresh[i]:
                epochs[i] = 0  # admission has given it
        if share > 0 and stop - row >= share:
            marks.cursor[0] = row
            marks.cursor[1] = stop
            return SHARED
        marks.mark[0] = call_at(frame[ADVANCE], (address, row, stop, marks.mark[0], 0, 1))
        row = stop
        if why != PENDING:
            break
    marks.cursor[0] = row
    marks.cursor[1] = row
    return why


@kernel
def ingest_rows(frame, row, n, recv, ttl, share):
    """`ingest`, from Python."""
    return call_at(frame[INGEST], (address_of(frame), row, n, recv, ttl, share))


@kernel
def admit_one(frame, recv):
    """Create the stream of the frame's first row, without stepping it; returns its slot."""
    rows, marks = rows_of(frame), marks_of(frame)
    marks.mark[0] += 1
    admit(
        table_of(frame),
        events_of(frame),
        rows,
        arrivals_of(frame),
        _ZERO,
        _ONE,
        recv,
        _ZERO,
        marks.stamp,
        marks.mark[0],
    )
    return rows.slots[0]
