"""Compiled: the outputs and flag changes of settled rows, as `rows.publish_rows` does."""

from __future__ import annotations

import numpy as np
import zmq

from .._jit import Entry, fused
from ..burst import ACCEPTED, HAS_T
from ..engine.frame import answers_of, arrivals_of, rows_of
from ..frames import address_of, numbers_at
from ..wire.packer import encode_output, put_topic
from ..wire.raw import native64
from . import flow as at
from .flow import flow_of, library_of
from .native import BROKEN, REALTIME, now, send

__all__ = ["publish", "tell"]

_SNDMORE = int(zmq.SNDMORE)


@fused
def publish(library, flow, topic, topic_size, body, size):
    """Hand one message to ZeroMQ: ON or BROKEN."""
    socket = flow.state[at.OUTPUTS]
    if send(library, socket, topic, topic_size, _SNDMORE) == BROKEN:
        return at.BROKEN
    if send(library, socket, body, size, 0) == BROKEN:
        return at.BROKEN
    flow.counts[at.PUBLISHED] += 1
    flow.counts[at.BYTES_OUT] += topic_size + size
    return at.ON


@fused
def _say(library, flow, lane, frame, i, edge):
    """Publish row i under `out/`, or under `flag/` where there is an edge."""
    rows, arrivals, answers = rows_of(frame), arrivals_of(frame), answers_of(frame)
    start = arrivals.id_end[i]
    length = arrivals.id_end[i + 1] - start
    out = address_of(flow.out)
    body = put_topic(out, edge != 0, address_of(arrivals.ids) + start, length)
    topic_size = body - out
    recv = flow.state[at.RECV]
    code = answers.cause[i]
    cause, cause_length = 0, 0
    if code >= 0:
        ends = lane[at.CAUSE_ENDS] + 8 * code
        cause = lane[at.CAUSES] + native64(ends)
        cause_length = native64(ends + 8) - native64(ends)
    has = rows.has[i]
    stop = encode_output(
        body,
        arrivals.seq[i],
        rows.t[i] if has & HAS_T else recv,
        has,
        answers.y[i],
        answers.score[i],
        answers.flag[i],
        cause,
        cause_length,
        answers.seen[i],
        answers.epoch[i],
        recv,
        now(library, REALTIME, address_of(flow.clock)),
        answers.missing[i],
        edge,
    )
    return publish(library, flow, out, topic_size, body, stop - body)


@Entry
def tell(address):
    """Publish the rows that are settled and not told: ON, BROKEN, or NOTE at a row that has more to say. `address` is
    the frame's."""
    flow = flow_of(numbers_at(address))
    library = library_of(flow)
    s = flow.state
    lane = flow.lanes[s[at.LANE]]
    frame = numbers_at(lane[at.FRAME])
    arrivals, answers = arrivals_of(frame), answers_of(frame)
    for i in range(s[at.TELL], s[at.ROW]):
        s[at.TELL] = i
        if arrivals.verdict[i] != ACCEPTED or arrivals.gap[i] > 0 or lane[at.EVENT_ROW] <= i:
            return at.NOTE
        edge = np.int64(answers.edge[i])
        # One call, so that the encoder is compiled once: first without the edge, then with it.
        for spoken in range(s[at.BLOCK], 1 + (edge != 0)):
            if _say(library, flow, lane, frame, i, edge if spoken else 0) == at.BROKEN:
                return at.BROKEN
            if spoken:
                flow.counts[at.FLAGS] += 1
            else:
                flow.counts[at.ACCEPTED] += 1
                flow.counts[at.OUTPUTS_] += 1
    s[at.TELL] = s[at.ROW]
    return at.ON
