"""What is said of each row of a burst once it was stepped: what happened to its stream, its output, its flag."""

from __future__ import annotations

import time

import numpy as np
import zmq

from ..burst import ACCEPTED, HAS_SEQ, HAS_T
from ..wire.messages import encode_output, flag_topic
from .fleet import Lane
from .outlet import Outlet

__all__ = ["publish_rows"]

_SNDMORE = int(zmq.SNDMORE)


def publish_rows(outlet: Outlet, lane: Lane, start: int, stop: int, recv: int, outputs: bool) -> None:
    """Publish rows `start` to `stop` of the lane's burst, which the engine has settled.

    For each row in order: `event/` of its stream's life, then its refusal, or its gap, its `out/` and, where a flag
    changed, its `flag/`. What is published depends on the order of the rows alone, and not on where bursts were cut.
    Without `outputs` there is no `out/`: rows of a block are answered together.
    """
    lane.events.extend(lane.engine.events())
    burst, results, counters, events = lane.burst, lane.results, outlet.counters, lane.events
    send, now, cause_name = outlet.raw_send, time.time_ns, lane.engine.model.cause_name
    rows = slice(start, stop)
    if not outputs and not events and not _telling(lane, rows):
        return
    ends = burst.id_end[start : stop + 1]
    first = int(ends[0])
    ids = burst.ids[first : int(ends[-1])].tobytes()
    cuts = (ends - first).tolist()
    filled: list[bool] = np.any(results.missing[rows], axis=1).tolist()
    columns = zip(
        burst.has[rows].tolist(),
        burst.seq[rows].tolist(),
        burst.t[rows].tolist(),
        results.verdict[rows].tolist(),
        results.gap[rows].tolist(),
        results.y[rows].tolist(),
        results.score[rows].tolist(),
        results.flag[rows].tolist(),
        results.edge[rows].tolist(),
        results.cause[rows].tolist(),
        results.count[rows].tolist(),
        results.epoch[rows].tolist(),
        strict=True,
    )
    size = accepted = flags = 0
    for i, (has, seq_, t_, verdict, gap, y, score, flag, edge, code, n, epoch) in enumerate(columns):
        while events and events[0].row <= start + i:
            outlet.life(events.popleft())
        stream = ids[cuts[i] : cuts[i + 1]]
        seq = seq_ if has & HAS_SEQ else None
        if verdict:
            outlet.refused(stream, verdict, seq, t_ if has & HAS_T else None)
            continue
        if gap > 0:
            outlet.gap(stream, gap, seq)
        cause = cause_name(code) if flag else None
        missing = np.flatnonzero(results.missing[start + i]).tolist() if filled[i] else None
        t = t_ if has & HAS_T else recv
        if outputs:
            topic = b"out/%b/" % stream
            body = encode_output(seq, t, y, score, flag == 1, cause, n, epoch, recv, now(), missing)
            send(topic, _SNDMORE)
            send(body)
            size += len(topic) + len(body)
            accepted += 1
        if edge:
            edged = "raised" if edge > 0 else "cleared"
            flags += 1
            body = encode_output(seq, t, y, score, flag == 1, cause, n, epoch, recv, now(), missing, edged)
            outlet.send(flag_topic(stream), body)
    counters.accepted += accepted
    counters.outputs += accepted
    counters.published += accepted
    counters.flags += flags
    counters.bytes_out += size


def _telling(lane: Lane, rows: slice) -> bool:
    """Whether there is anything to say of the rows besides their outputs."""
    r = lane.results
    return bool(((r.verdict[rows] != ACCEPTED) | (r.gap[rows] > 0) | (r.edge[rows] != 0)).any())
