"""Rows of a burst, cut into waves for a GPU, into packets and out of them: what the host does around a launch.

The k-th row of a stream belongs to the k-th wave. Streams are independent of each other, so that gives what the order
of arrival gives, with the fewest launches: a burst in which no stream appears twice is one wave.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn._jit import Entry, kernel

from ..frame import answers_of, marks_of, rows_of, table_of
from ..table import COUNT, EPOCH

__all__ = ["FRESH", "Down", "Up", "cut", "load", "passed_over", "store"]

FRESH = np.int8(64)
"""Bit of `Down.has`, beside those of a burst: the state starts from zero."""


class Down(NamedTuple):
    """What a wave brings to the GPU, a row a stream: t int64 (m,) ns, slots int64 (m,), counts int64 (m,) samples that
    the state has seen, x float32 (m, n_in) with NaN for a missing channel, has int8 (m,) HAS_ bits and FRESH."""

    t: npt.NDArray[np.int64]
    slots: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    x: npt.NDArray[np.float32]
    has: npt.NDArray[np.int8]


class Up(NamedTuple):
    """What comes back: y float32 (m, n_out), score float32 (m,), cause int32 (m,), done int32 (m / 16 or more,) the
    wave's ticket once a tile of streams was stepped, flag and edge int8 (m,), missing int8 (m, n_in)."""

    y: npt.NDArray[np.float32]
    score: npt.NDArray[np.float32]
    cause: npt.NDArray[np.int32]
    done: npt.NDArray[np.int32]
    flag: npt.NDArray[np.int8]
    edge: npt.NDArray[np.int8]
    missing: npt.NDArray[np.int8]


@Entry
def passed_over(address, start, stop, mark, shard, shards):  # noqa: ARG001  (arguments as `advance` takes them)
    """In the place of `advance` in the frames of an engine whose rows are stepped by a GPU: does nothing."""
    return mark


@kernel
def cut(frame, start, stop, order, ranks, ends):
    """Cut the frame's rows from `start` to `stop` into waves; returns how many.

    order[ends[w] : ends[w + 1]] are the rows of wave w, in order of arrival; rows whose slot is negative are in none.
    order and ranks int64 (stop - start,), ends int64 (stop - start + 2,).
    """
    slots, marks = rows_of(frame).slots, marks_of(frame)
    stamp, mark = marks.stamp, marks.mark[0]
    waves = 0
    ends[0] = 0
    # A slot's stamp is the mark before this call, and how many of its rows came by.
    for i in range(start, stop):
        slot = slots[i]
        if slot >= 0:
            stamp[slot] = max(stamp[slot], mark) + 1
            rank = stamp[slot] - mark
            ranks[i - start] = rank
            if rank > waves:
                waves = rank
                ends[waves] = 0
            ends[rank] += 1
    marks.mark[0] = mark + waves
    at = 0
    for w in range(1, waves + 1):
        here = ends[w]
        ends[w] = at
        at += here
    for i in range(start, stop):
        if slots[i] >= 0:
            rank = ranks[i - start]
            order[ends[rank]] = i
            ends[rank] += 1
    return waves


@kernel
def load(frame, order, first, last, blank, down):
    """Write the rows order[first:last], all of different streams, into a packet, and count their samples.

    blank uint8 (capacity,) says of a slot that its row on the GPU is to be cleared before it is stepped.
    """
    rows, meta, answers = rows_of(frame), table_of(frame).meta, answers_of(frame)
    n_in = rows.x.shape[1]
    for j in range(last - first):
        i = order[first + j]
        slot = rows.slots[i]
        has = rows.has[i]
        if rows.fresh[i]:
            if answers.epoch[i] > 0:
                meta[slot, EPOCH] = answers.epoch[i]
            meta[slot, COUNT] = 0
            blank[slot] = 1
        if blank[slot]:
            has |= FRESH
            blank[slot] = 0
        count = meta[slot, COUNT]
        down.t[j] = rows.t[i]
        down.slots[j] = slot
        down.counts[j] = count
        down.has[j] = has
        for k in range(n_in):
            down.x[j, k] = rows.x[i, k]
        meta[slot, COUNT] = count + 1
        answers.seen[i] = count + 1
        answers.epoch[i] = meta[slot, EPOCH]


@kernel
def store(frame, order, first, last, up, ticket, tile):
    """Write a packet that came back into the answers of the rows order[first:last]; whether the GPU stepped them all.

    `tile` is how many streams one entry of up.done speaks for. Where one does not have the ticket nothing is written.
    """
    n = last - first
    for k in range(-(-n // tile)):
        if up.done[k] != ticket:
            return False
    answers = answers_of(frame)
    n_out, n_in = answers.y.shape[1], answers.missing.shape[1]
    for j in range(n):
        i = order[first + j]
        for k in range(n_out):
            answers.y[i, k] = up.y[j, k]
        answers.score[i] = up.score[j]
        answers.flag[i] = up.flag[j]
        answers.edge[i] = up.edge[j]
        answers.cause[i] = up.cause[j]
        for k in range(n_in):
            answers.missing[i, k] = up.missing[j, k]
    return True
