"""Which samples are let in, and to which slot: sequence and time checks, creation, eviction, their events.

Admission walks a burst in order of arrival and settles each row's fate before anything is computed. It stops early
where going on could harm a row that still waits to be stepped, or where the event buffer is full; the caller then
steps what was admitted and comes back.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn._jit import kernel
from streamrnn.burst import (
    ACCEPTED,
    BAD_TIME,
    DUPLICATE,
    HAS_RESET,
    HAS_SEQ,
    HAS_SESSION,
    HAS_T,
    LATE,
    MAX_ID,
)

from .table import (
    COUNT,
    EPOCH,
    FLAGS,
    FREE,
    LAST_EPOCH,
    LAST_T,
    RECV,
    SEEN_SEQ,
    SEEN_T,
    SEQ,
    SESSION,
    TAIL,
    WINDOW,
    lookup,
    remove,
    take,
    touch,
)

__all__ = [
    "CREATED",
    "DONE",
    "EVENT_ROOM",
    "EVICTED_CAPACITY",
    "EVICTED_IDLE",
    "EVICTED_REQUEST",
    "FULL",
    "PENDING",
    "RESET",
    "WIDER",
    "Arrivals",
    "Events",
    "admit",
    "new_events",
    "push_event",
]

# Why `admit` returned.
DONE, FULL, PENDING, WIDER = range(4)

# Event kinds. Typed: Numba compiles a function once more for a literal.
CREATED, RESET, EVICTED_IDLE, EVICTED_CAPACITY, EVICTED_REQUEST = map(np.int64, range(5))

EVENT_ROOM = 3
"""One sample causes at most this many events: the eviction of an idle or a least recently used stream, its own
creation, and a reset."""

SEQ_WINDOW = 64
"""How far back a sequence number is remembered, to tell a duplicate from a late sample."""


class Arrivals(NamedTuple):
    """Who sent each row, and what became of it: seq and session int64 (n,), ids uint8 and id_end int64 (n + 1,) as in a
    `Burst`; verdict int8 and gap int64 (n,) as in `Results`."""

    seq: npt.NDArray[np.int64]
    session: npt.NDArray[np.int64]
    ids: npt.NDArray[np.uint8]
    id_end: npt.NDArray[np.int64]
    verdict: npt.NDArray[np.int8]
    gap: npt.NDArray[np.int64]


class Events(NamedTuple):
    """Lifecycle events that wait to be drained: n int64 (1,), kind int64 (room,), seen int64 (room,) samples of the
    stream at that time, row int64 (room,) whose sample caused it, ids uint8 (room, MAX_ID), lengths int64 (room,)."""

    n: npt.NDArray[np.int64]
    kind: npt.NDArray[np.int64]
    seen: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    ids: npt.NDArray[np.uint8]
    lengths: npt.NDArray[np.int64]


def new_events(room: int) -> Events:
    return Events(
        np.zeros(1, np.int64),
        np.zeros(room, np.int64),
        np.zeros(room, np.int64),
        np.zeros(room, np.int64),
        np.zeros((room, MAX_ID), np.uint8),
        np.zeros(room, np.int64),
    )


@kernel
def push_event(events, kind, table, slot, row):
    i = events.n[0]
    events.kind[i] = kind
    events.row[i] = row
    events.seen[i] = table.meta[slot, COUNT]
    n = table.lengths[slot]
    events.lengths[i] = n
    for k in range(n):
        events.ids[i, k] = table.ids[slot, k]
    events.n[0] = i + 1


@kernel
def _sequence(row, has, seq, session):
    """(verdict, gap) of a sequence number on a stream's row, which is updated.

    Differences are taken modulo 2^64, so that counters may wrap. A new session starts afresh. Without a session, a
    number from before the window is taken for a publisher that restarted.
    """
    named = has & HAS_SESSION != 0
    fresh = row[FLAGS] & SEEN_SEQ == 0 or (named and row[SESSION] != session)
    if not fresh and not named and seq - row[SEQ] <= -SEQ_WINDOW:
        fresh = True
    if fresh:
        row[SEQ] = seq
        row[WINDOW] = 1
        if named:
            row[SESSION] = session
        row[FLAGS] |= SEEN_SEQ
        return ACCEPTED, np.int64(0)
    ahead = seq - row[SEQ]
    if ahead > 0:
        row[WINDOW] = (row[WINDOW] << ahead) | 1 if ahead < SEQ_WINDOW else 1
        row[SEQ] = seq
        return ACCEPTED, ahead - 1
    back = -ahead
    if back < SEQ_WINDOW and (row[WINDOW] >> back) & 1 == 1:
        return DUPLICATE, np.int64(0)
    if back < SEQ_WINDOW:
        row[WINDOW] |= np.int64(1) << back
    return LATE, np.int64(0)


@kernel
def _check(row, has, seq, session, t):
    """(verdict, gap) of a sample on its stream's row. Its number counts as delivered even where its time is refused."""
    verdict = ACCEPTED
    gap = np.int64(0)
    if has & HAS_SEQ:
        verdict, gap = _sequence(row, has, seq, session)
    if verdict == ACCEPTED and has & HAS_T:
        if row[FLAGS] & SEEN_T and t < row[LAST_T] and not has & HAS_RESET:
            return BAD_TIME, gap
        row[LAST_T] = t
        row[FLAGS] |= SEEN_T
    return verdict, gap


@kernel
def admit(table, events, rows, arrivals, start, n, recv, ttl, stamp, mark):
    """Settle rows start..n: write rows.slots (-1 where refused), rows.fresh (1 where the state must start from zero: a
    new stream, or one that asked for a reset), arrivals.verdict and arrivals.gap.

    `recv` is the time of receipt in ns, `ttl` the idle time in ns after which a stream starts anew (0: never),
    stamp int64 (capacity,) is set to `mark` for every slot with rows that wait. Returns (row, why).
    """
    slots, fresh, verdict, gap = rows.slots, rows.fresh, arrivals.verdict, arrivals.gap
    for i in range(start, n):
        if events.n[0] + EVENT_ROOM > events.kind.shape[0]:
            return i, FULL
        a = arrivals.id_end[i]
        b = arrivals.id_end[i + 1]
        if b - a > table.ids.shape[1]:
            return i, WIDER
        slot = lookup(table, arrivals.ids, a, b)
        if slot >= 0 and ttl > 0 and recv - table.meta[slot, RECV] > ttl:
            if stamp[slot] == mark:
                return i, PENDING
            push_event(events, EVICTED_IDLE, table, slot, i)
            remove(table, slot)
            slot = np.int64(-1)
        created = slot < 0
        if created:
            if table.head[FREE] < 0:
                last = table.head[TAIL]
                if stamp[last] == mark:
                    return i, PENDING
                push_event(events, EVICTED_CAPACITY, table, last, i)
                remove(table, last)
            slot = take(table, arrivals.ids, a, b, recv)
            push_event(events, CREATED, table, slot, i)
        has = rows.has[i]
        if has & HAS_RESET and stamp[slot] == mark:
            return i, PENDING  # its event says how many samples the state has seen
        verdict[i], gap[i] = _check(table.meta[slot], has, arrivals.seq[i], arrivals.session[i], rows.t[i])
        if verdict[i] != ACCEPTED:
            slots[i] = -1
            continue
        touch(table, slot, recv)
        stamp[slot] = mark
        slots[i] = slot
        fresh[i] = 1 if created else 0
        if has & HAS_RESET:
            if not created:
                push_event(events, RESET, table, slot, i)
                if table.meta[slot, COUNT] > 0:
                    # Here, as for streams that are created, and not when it is stepped: epochs follow arrival.
                    table.head[LAST_EPOCH] += 1
                    table.meta[slot, EPOCH] = table.head[LAST_EPOCH]
            fresh[i] = 1
    return n, DONE
