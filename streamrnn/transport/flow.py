"""Where the compiled data path stands, and the arrays that it works on.

`run.py` drives three phases: `gather.py` takes messages into the rows of one engine's burst, the engine settles them,
`tell.py` publishes what became of them, and `answer.py` does the same for blocks, piece by piece. It returns to Python
where there is nothing to do, or where something out of the ordinary has to be done; all of where it stands is in
`Flow.state`, so that Python does it and calls again. A message that was taken and not yet settled is *held*: it stays
in its ZeroMQ messages.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from .._jit import fused
from ..frames import FIELDS, reader, write
from ..wire.codec import BLOCK_FIELDS, Bounds
from ..wire.messages import Limits
from .native import Library

__all__ = ["Flow", "flow_of", "library_of", "new_flow", "new_frame", "room"]

# Typed: Numba compiles a function once more for a literal.
ZERO = np.int64(0)

ROW_BYTES = 32
"""Bytes of a row in the answer to a block besides its id and its outputs, and more."""

# Why `run` returned.
DONE, READY, HANDOVER, NOTE, EVENTS, WIDER, SHARED, ROOM, INTERRUPTED, BROKEN, ON, FLUSH, WAIT = range(13)
"""
DONE      nothing waits, or the burst is as long as bursts get, or the time is over (perhaps in the middle of a block)
READY     another source can be read: the bits of state[OTHERS]
HANDOVER  the held message is for Python
NOTE      there is more to say of row state[TELL] than its output
EVENTS    the engine has events
WIDER     the id of row state[ROW] is longer than the table has room for
SHARED    rows state[ROW] to state[STOP] are for the engine's threads
ROOM      the answer to the held block needs state[WANTED] rows of room
ON, FLUSH, WAIT are between compiled functions: go on; settle the rows first; the burst may wait for more.
"""

GATHERING, STEPPING, TELLING = range(3)

# Places in Flow.state, int64: what is given once
INGEST, OUTPUTS, TOPIC, BODY, SPARE, ITEMS, N_ITEMS, LIMIT, MAX_MESSAGE, AHEAD, FIXED, N_LANES = range(12)
# and what changes: the phase; the lane, and how many rows of its burst are filled, settled, told, and up to which rows
# are admitted; the time of receipt; messages taken in this burst; whether one is held, of how many frames; whether no
# more is to be taken; which other sources are ready; when the burst has lasted long enough, ns of the monotonic clock
PHASE, LANE, ROWS, ROW, TELL, STOP, RECV, TAKEN, HELD, FRAMES, LAST, OTHERS, UNTIL = range(12, 25)
# and of the block that is held, if it is one: whether it is being answered, rows filled, the address of the next id,
# rows kept for the answer and the bytes of their ids, and the room that it wants.
BLOCK, FILLED, NEXT_ID, KEPT, KEPT_IDS, WANTED = range(25, 31)
# And of waiting for more rows: the latency budget in ns, which is given once; when the burst has waited for so long, ns
# of the monotonic clock; whether it is to wait at all.
BUDGET, DUE, PATIENT = range(31, 34)
STATE = 34

# Places in Flow.counts, named as in `Counters`.
COUNTED = ("messages", "bytes_in", "samples", "blocks", "accepted", "outputs", "published", "flags", "bytes_out")
MESSAGES, BYTES_IN, SAMPLES, BLOCKS, ACCEPTED, OUTPUTS_, PUBLISHED, FLAGS, BYTES_OUT = range(len(COUNTED))

# Columns of Flow.lanes: the address of the frame; channels; outputs; rows in a burst; idle time in ns; rows from which
# several threads step; addresses of the causes' names and their ends; the first row with an event to tell.
FRAME, N_IN, N_OUT, CAPACITY, TTL, SHARE, CAUSES, CAUSE_ENDS, EVENT_ROW = range(9)
LANE_COLUMNS = 9

TOKENS = 4
"""Where Flow.limits says how many tokens there are."""

NEVER = 2**62
"""A row that no burst has."""


class Flow(NamedTuple):
    """state int64 (STATE,), counts int64, library int64 (the fields of `Library`), limits int64 (the fields of
    `Bounds` without the time), lanes int64 (n, LANE_COLUMNS), fields int64 (BLOCK_FIELDS,) of the held message, stack
    int64 and clock int64 (2,) scratch, out uint8 the message that is being written; and of rows that wait for a block's
    answer: y float32, score float32, flag uint8, t and seq int64, ids uint8, the ids with their heads."""

    state: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    library: npt.NDArray[np.int64]
    limits: npt.NDArray[np.int64]
    lanes: npt.NDArray[np.int64]
    fields: npt.NDArray[np.int64]
    stack: npt.NDArray[np.int64]
    clock: npt.NDArray[np.int64]
    out: npt.NDArray[np.uint8]
    y: npt.NDArray[np.float32]
    score: npt.NDArray[np.float32]
    flag: npt.NDArray[np.uint8]
    t: npt.NDArray[np.int64]
    seq: npt.NDArray[np.int64]
    ids: npt.NDArray[np.uint8]


_I64, _F32, _U8 = types.int64, types.float32, types.uint8
_KINDS: list[tuple[types.Type, int]] = [
    *[(_I64, 1)] * 4, (_I64, 2), *[(_I64, 1)] * 3, (_U8, 1),
    (_F32, 1), (_F32, 1), (_U8, 1), (_I64, 1), (_I64, 1), (_U8, 1),
]  # fmt: skip

GATHER, BEGIN, TELL_ROWS, REST = range(4)
"""Where the frame of a flow holds the addresses of its compiled functions."""

_ENTRIES = 4

flow_of = reader(Flow, _KINDS, _ENTRIES)
"""A compiled function from a frame to the flow in it."""


@fused
def library_of(flow):
    """The library in a flow."""
    a = flow.library
    return Library(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9])


@fused
def bounds_of(flow):
    """The limits of what is taken now."""
    a = flow.limits
    return Bounds(a[0], a[1], a[2], a[3], flow.state[RECV] + flow.state[AHEAD], a[TOKENS])


def new_frame(entries: tuple[int, ...], flow: Flow) -> npt.NDArray[np.int64]:
    """The frame of a flow, with the addresses of its compiled functions."""
    frame = np.zeros(_ENTRIES + FIELDS * len(flow), np.int64)
    frame[:_ENTRIES] = entries
    write(frame, _ENTRIES, flow)
    return frame


def new_flow(library: tuple[int, ...], limits: Limits, given: dict[int, int]) -> Flow:
    """A flow that stands at its beginning, without lanes; `given` are places in its state and their values."""
    state = np.zeros(STATE, np.int64)
    for place, value in given.items():
        state[place] = value
    return Flow(
        state=state,
        counts=np.zeros(len(COUNTED), np.int64),
        library=np.array(library, np.int64),
        limits=np.array(
            [limits.max_width, limits.max_block, limits.max_depth, limits.max_skipped, limits.tokens], np.int64
        ),
        lanes=np.zeros((0, LANE_COLUMNS), np.int64),
        fields=np.zeros(BLOCK_FIELDS, np.int64),
        stack=np.zeros(limits.max_depth + 2, np.int64),
        clock=np.zeros(2, np.int64),
        out=np.zeros(0, np.uint8),
        **room(0, 0, 0),
    )


def room(rows: int, n_out: int, size: int) -> dict[str, npt.NDArray[Any]]:
    """Arrays for the answer to a block of so many rows, whose message has so many bytes."""
    return {
        "y": np.zeros(rows * n_out, np.float32),
        "score": np.zeros(rows, np.float32),
        "flag": np.zeros(rows, np.uint8),
        "t": np.zeros(rows, np.int64),
        "seq": np.zeros(rows, np.int64),
        # An id takes two bytes of head or fewer where the message had at least one.
        "ids": np.zeros(2 * size + 8, np.uint8),
    }
