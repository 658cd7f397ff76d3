"""The stream table in compiled code: id -> slot, order of use, lifecycle, and what each feed has delivered.

Everything lives in arrays. `buckets` is an open-addressing hash table (linear probing, backward-shift deletion) of slot
numbers; a hit is confirmed by comparing the id's bytes. Live slots form a doubly linked list from the most to the
least recently used, free slots a singly linked one through the same column.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn._jit import kernel

__all__ = [
    "ALIVE",
    "COUNT",
    "EPOCH",
    "FLAGS",
    "FREE",
    "GENERATION",
    "HEAD",
    "LAST_EPOCH",
    "LAST_T",
    "LIVE",
    "META",
    "NEXT",
    "PREV",
    "RECV",
    "SEEN_SEQ",
    "SEEN_T",
    "SEQ",
    "SESSION",
    "STALE",
    "TAIL",
    "WINDOW",
    "Table",
    "lookup",
    "new_table",
    "remove",
    "same_row",
    "take",
    "touch",
]

# Columns of Table.meta, int64; a row is two cache lines.
GENERATION, PREV, NEXT, COUNT, RECV, LAST_T, EPOCH, SEQ, WINDOW, SESSION, FLAGS = range(11)
META = 12

# Bits of the FLAGS column.
ALIVE, SEEN_T, SEEN_SEQ, STALE = 1, 2, 4, 8

# Entries of Table.head, int64: ends of the list of live slots, the first free slot, how many live, the last epoch.
HEAD, TAIL, FREE, LIVE, LAST_EPOCH = range(5)

_MULTIPLY = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)


class Table(NamedTuple):
    """ids uint8 (capacity, width), lengths int64 (capacity,), hashes uint64 (capacity,), buckets int64 (power of two,)
    holding slot + 1 or 0, meta int64 (capacity, META), head int64 (5,), seed uint64 (1,)."""

    ids: npt.NDArray[np.uint8]
    lengths: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.uint64]
    buckets: npt.NDArray[np.int64]
    meta: npt.NDArray[np.int64]
    head: npt.NDArray[np.int64]
    seed: npt.NDArray[np.uint64]


def new_table(capacity: int, seed: int, width: int = 32) -> Table:
    """An empty table. `seed` keys the hash, so that nobody can choose ids that collide."""
    bucket_count = 1 << (2 * capacity - 1).bit_length()
    meta = np.zeros((capacity, META), np.int64)
    meta[:, NEXT] = np.arange(1, capacity + 1)
    meta[-1, NEXT] = -1
    return Table(
        ids=np.zeros((capacity, width), np.uint8),
        lengths=np.zeros(capacity, np.int64),
        hashes=np.zeros(capacity, np.uint64),
        buckets=np.zeros(bucket_count, np.int64),
        meta=meta,
        head=np.array([-1, -1, 0, 0, 0], np.int64),
        seed=np.array([seed], np.uint64),
    )


@kernel
def _hash(table, buffer, start, stop):
    """Keyed multiply-and-fold over eight bytes at a time."""
    h = table.seed[0] ^ (np.uint64(stop - start) * _MULTIPLY)
    word = np.uint64(0)
    k = 0
    for i in range(start, stop):
        word |= np.uint64(buffer[i]) << np.uint64(8 * k)
        k += 1
        if k == 8:
            h = (h ^ word) * _MULTIPLY
            h ^= h >> _SHIFT
            word = np.uint64(0)
            k = 0
    h = (h ^ word) * _MULTIPLY
    h ^= h >> _SHIFT
    h *= _MULTIPLY
    return h ^ (h >> np.uint64(32))


@kernel
def same_row(table, slot, buffer, start, stop):
    """Whether the slot's id is exactly these bytes."""
    n = stop - start
    if table.lengths[slot] != n:
        return False
    row = table.ids[slot]
    for i in range(n):  # noqa: SIM110  (compiled: no generators)
        if row[i] != buffer[start + i]:
            return False
    return True


@kernel
def lookup(table, buffer, start, stop):
    """The slot of the id buffer[start:stop], or -1; buffer uint8."""
    h = _hash(table, buffer, start, stop)
    mask = np.uint64(table.buckets.shape[0] - 1)
    i = h & mask
    while True:
        entry = table.buckets[np.int64(i)]
        if entry == 0:
            return np.int64(-1)
        slot = entry - 1
        if table.hashes[slot] == h and same_row(table, slot, buffer, start, stop):
            return slot
        i = (i + np.uint64(1)) & mask


@kernel
def _unlink(table, slot):
    before = table.meta[slot, PREV]
    after = table.meta[slot, NEXT]
    if before >= 0:
        table.meta[before, NEXT] = after
    else:
        table.head[HEAD] = after
    if after >= 0:
        table.meta[after, PREV] = before
    else:
        table.head[TAIL] = before


@kernel
def _link_first(table, slot):
    first = table.head[HEAD]
    table.meta[slot, PREV] = -1
    table.meta[slot, NEXT] = first
    if first >= 0:
        table.meta[first, PREV] = slot
    else:
        table.head[TAIL] = slot
    table.head[HEAD] = slot


@kernel
def touch(table, slot, recv):
    """Make the slot the most recently used one."""
    table.meta[slot, RECV] = recv
    table.meta[slot, FLAGS] &= ~STALE
    if table.head[HEAD] != slot:
        _unlink(table, slot)
        _link_first(table, slot)


@kernel
def take(table, buffer, start, stop, recv):
    """A free slot for a new id, which must not be in the table; the caller has made sure that a slot is free."""
    slot = table.head[FREE]
    table.head[FREE] = table.meta[slot, NEXT]
    generation = table.meta[slot, GENERATION] + 1
    table.meta[slot] = 0
    # 31 bits, so that a handle stays positive.
    table.meta[slot, GENERATION] = generation & 0x7FFFFFFF
    table.meta[slot, RECV] = recv
    table.meta[slot, FLAGS] = ALIVE
    table.head[LAST_EPOCH] += 1
    table.meta[slot, EPOCH] = table.head[LAST_EPOCH]
    n = stop - start
    table.lengths[slot] = n
    for i in range(n):
        table.ids[slot, i] = buffer[start + i]
    h = _hash(table, buffer, start, stop)
    table.hashes[slot] = h
    mask = np.uint64(table.buckets.shape[0] - 1)
    i = h & mask
    while table.buckets[np.int64(i)] != 0:
        i = (i + np.uint64(1)) & mask
    table.buckets[np.int64(i)] = slot + 1
    _link_first(table, slot)
    table.head[LIVE] += 1
    return slot


@kernel
def remove(table, slot):
    """Forget a live slot's id and put the slot on the free list; its generation grows when it is taken again."""
    mask = np.uint64(table.buckets.shape[0] - 1)
    hole = table.hashes[slot] & mask
    while table.buckets[np.int64(hole)] != slot + 1:
        hole = (hole + np.uint64(1)) & mask
    # Backward shift: move up whatever may stand nearer to its home, so that no tombstones are left.
    i = hole
    while True:
        i = (i + np.uint64(1)) & mask
        entry = table.buckets[np.int64(i)]
        if entry == 0:
            break
        home = table.hashes[entry - 1] & mask
        if ((i - home) & mask) >= ((i - hole) & mask):
            table.buckets[np.int64(hole)] = entry
            hole = i
    table.buckets[np.int64(hole)] = 0
    _unlink(table, slot)
    table.meta[slot, FLAGS] = 0
    table.meta[slot, NEXT] = table.head[FREE]
    table.head[FREE] = slot
    table.head[LIVE] -= 1
