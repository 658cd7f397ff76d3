"""Compiled: messages from the socket into the rows of a burst, as `Pump.take` does."""

from __future__ import annotations

from .._jit import Entry, call_at, fused
from ..burst import HAS_SEQ, HAS_SESSION, HAS_T
from ..engine.frame import arrivals_of, rows_of, table_of
from ..engine.table import lookup
from ..frames import address_of, numbers_at
from ..wire.codec import HAS, SEQ, SESSION, WIDTH, T, decode_sample, id_of_topic, is_block_topic
from ..wire.raw import copy
from . import flow as at
from .flow import BEGIN, bounds_of, flow_of, library_of
from .native import AGAIN, MONOTONIC, REALTIME, data, more, now, receive, size

__all__ = ["gather"]


@fused
def _take(library, flow):
    """Hold the next message: ON, DONE where none waits, or BROKEN."""
    s = flow.state
    topic = receive(library, s[at.INGEST], s[at.TOPIC])
    if topic < 0:
        return at.DONE if topic == AGAIN else at.BROKEN
    frames, taken = 1, topic
    if more(library, s[at.TOPIC]):
        frames = 2
        taken += receive(library, s[at.INGEST], s[at.BODY])
        left = more(library, s[at.BODY])
        while left:  # frames that make it malformed: counted, not kept
            frames += 1
            receive(library, s[at.INGEST], s[at.SPARE])
            left = more(library, s[at.SPARE])
    s[at.FRAMES] = frames
    s[at.HELD] = 1
    s[at.TAKEN] += 1
    flow.counts[at.MESSAGES] += 1
    flow.counts[at.BYTES_IN] += taken
    return at.ON


@fused
def _waits(library, flow):
    """Whether the burst, of which no message waits to be read, is to wait for more rows."""
    s = flow.state
    if s[at.PATIENT] == 0 or s[at.ROWS] == 0 or s[at.TAKEN] >= s[at.LIMIT]:
        return False
    return now(library, MONOTONIC, address_of(flow.clock)) < s[at.DUE]


@fused
def _lane_of(flow, width):
    """The lane of a width, or -1."""
    found = -1
    for k in range(flow.state[at.N_LANES]):
        if flow.lanes[k, at.N_IN] == width:
            found = k
    return found


@fused
def _place(flow, frame, stream, length):
    """Put the sample in `fields`, whose values stand in their row already, into the burst."""
    s, fields = flow.state, flow.fields
    rows, arrivals = rows_of(frame), arrivals_of(frame)
    i = s[at.ROWS]
    has = fields[HAS]
    rows.has[i] = has
    rows.t[i] = fields[T] if has & HAS_T else 0
    arrivals.seq[i] = fields[SEQ] if has & HAS_SEQ else 0
    arrivals.session[i] = fields[SESSION] if has & HAS_SESSION else 0
    start = arrivals.id_end[i]
    copy(address_of(arrivals.ids) + start, stream, length)
    arrivals.id_end[i + 1] = start + length
    s[at.ROWS] = i + 1


@fused
def _settle(address, library, flow):
    """Do with the held message what it asks for: ON once it is a row, FLUSH where rows have to be settled first,
    HANDOVER where it is for Python, ROOM."""
    s = flow.state
    if s[at.FRAMES] != 2 or s[at.N_LANES] == 0:
        return at.HANDOVER
    topic, topic_size = data(library, s[at.TOPIC]), size(library, s[at.TOPIC])
    body, body_size = data(library, s[at.BODY]), size(library, s[at.BODY])
    if topic_size + body_size > s[at.MAX_MESSAGE]:
        return at.HANDOVER
    if is_block_topic(topic, topic_size):
        return at.FLUSH if s[at.ROWS] > 0 else call_at(numbers_at(address)[BEGIN], (address,))
    bounds = bounds_of(flow)
    stream, length = id_of_topic(topic, topic_size)
    if stream == 0:
        return at.HANDOVER
    while True:
        lane = flow.lanes[s[at.LANE]]
        frame = numbers_at(lane[at.FRAME])
        n_in = lane[at.N_IN]
        if not decode_sample(
            body, body + body_size, bounds, n_in, rows_of(frame).x[s[at.ROWS]], flow.fields, flow.stack
        ):
            return at.HANDOVER
        if flow.fields[WIDTH] == n_in:
            break
        other = _lane_of(flow, flow.fields[WIDTH])
        if other < 0:
            return at.HANDOVER
        if s[at.ROWS] > 0:
            return at.FLUSH
        s[at.LANE] = other
    _place(flow, frame, stream, length)
    if s[at.N_LANES] > 1:
        arrivals = arrivals_of(frame)
        i = s[at.ROWS] - 1
        if lookup(table_of(frame), arrivals.ids, arrivals.id_end[i], arrivals.id_end[i + 1]) < 0:
            s[at.ROWS] = i
            return at.HANDOVER  # it may be alive with another width
    flow.counts[at.SAMPLES] += 1
    return at.ON


@Entry
def gather(address):
    """Take messages until something has to be done: FLUSH, HANDOVER, ROOM, DONE, WAIT or BROKEN. `address` is the
    frame's."""
    flow = flow_of(numbers_at(address))
    library = library_of(flow)
    s = flow.state
    if s[at.LAST]:
        s[at.LAST] = 0
        s[at.TAKEN] = 0
        return at.DONE
    while True:
        if not s[at.HELD]:
            if s[at.TAKEN] == 0:
                s[at.RECV] = now(library, REALTIME, address_of(flow.clock))
                if s[at.BUDGET] > 0:
                    s[at.DUE] = now(library, MONOTONIC, address_of(flow.clock)) + s[at.BUDGET]
            why = at.DONE if s[at.TAKEN] >= s[at.LIMIT] else _take(library, flow)
            if why == at.DONE:
                if _waits(library, flow):
                    return at.WAIT
                s[at.LAST] = 1
                return at.FLUSH
            if why == at.BROKEN:
                return why
        if s[at.N_LANES] > 0 and s[at.ROWS] >= flow.lanes[s[at.LANE], at.CAPACITY]:
            return at.FLUSH
        why = _settle(address, library, flow)
        if why != at.ON:
            return at.FLUSH if s[at.ROWS] > 0 else why
        s[at.HELD] = 0
