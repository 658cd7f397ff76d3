"""Compiled walks over the stream table: lookups, checks and housekeeping that touch many streams."""

from __future__ import annotations

import numpy as np

from streamrnn._jit import allocating, kernel
from streamrnn.burst import HAS_RESET, HAS_T

from .admission import EVENT_ROOM, EVICTED_IDLE, push_event
from .table import FLAGS, LAST_T, PREV, RECV, SEEN_T, STALE, TAIL, lookup, remove, touch

__all__ = ["lookup_all", "newly_stale", "oldest_idle", "times_go_back", "touch_handles"]


@kernel
def lookup_all(table, ids, id_end, slots):
    """slots int64 (n,) = the slot of each id, or -1."""
    for i in range(slots.shape[0]):
        slots[i] = lookup(table, ids, id_end[i], id_end[i + 1])


@kernel
def times_go_back(table, slots, t, has, n, times, flags):
    """The first of n rows whose time is before its stream's last one, or -1; rows with a negative slot are passed over.

    The table is left as it was: times are written as the walk goes, and put back from `times` and `flags`, both scratch
    int64 (n,), at the end.
    """
    bad = -1
    done = n
    for i in range(n):
        slot = slots[i]
        if slot < 0:
            continue
        row = table.meta[slot]
        if row[FLAGS] & SEEN_T and t[i] < row[LAST_T] and not has[i] & HAS_RESET:
            bad = i
            done = i
            break
        times[i] = row[LAST_T]
        flags[i] = row[FLAGS]
        row[LAST_T] = t[i]
        row[FLAGS] |= SEEN_T
    for k in range(done):
        i = done - 1 - k
        if slots[i] >= 0:
            table.meta[slots[i], LAST_T] = times[i]
            table.meta[slots[i], FLAGS] = flags[i]
    return bad


@kernel
def touch_handles(table, slots, t, has, recv):
    """Note the use of live slots, and their times."""
    for i in range(slots.shape[0]):
        slot = slots[i]
        if has[i] & HAS_T:
            table.meta[slot, LAST_T] = t[i]
            table.meta[slot, FLAGS] |= SEEN_T
        touch(table, slot, recv)


@kernel
def oldest_idle(table, events, before):
    """Evict streams last used before that receipt time, oldest first; (how many, whether the event buffer ran full)."""
    done = 0
    while True:
        slot = table.head[TAIL]
        if slot < 0 or table.meta[slot, RECV] >= before:
            return done, False
        if events.n[0] + EVENT_ROOM > events.kind.shape[0]:
            return done, True
        push_event(events, EVICTED_IDLE, table, slot, np.int64(-1))
        remove(table, slot)
        done += 1


@allocating
def newly_stale(table, before):
    """Slots last used before that receipt time which were not yet called stale, oldest first; marks them."""
    count = 0
    slot = table.head[TAIL]
    while slot >= 0 and table.meta[slot, RECV] < before:
        count += table.meta[slot, FLAGS] & STALE == 0
        slot = table.meta[slot, PREV]
    found = np.empty(count, np.int64)
    k = 0
    slot = table.head[TAIL]
    while slot >= 0 and table.meta[slot, RECV] < before:
        if table.meta[slot, FLAGS] & STALE == 0:
            table.meta[slot, FLAGS] |= STALE
            found[k] = slot
            k += 1
        slot = table.meta[slot, PREV]
    return found
