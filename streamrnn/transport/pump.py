"""The data path over pyzmq: drain what is waiting, decode it, step it, publish the answers.

    receive -> decode -> route -> fill -> Engine.ingest -> publish

Each arrow is a function of its own: a compiled twin replaces receive, decode, fill and publish, and the bytes stay.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import zmq

from ..errors import InputError, WrongWidth
from ..wire.messages import Limits, Sample, decode_ingest, encode_output
from .blocks import BlockPath
from .counters import Counters
from .fill import fill_samples
from .fleet import Fleet, Lane
from .outlet import Outlet

__all__ = ["Pump"]

_NOBLOCK, _SNDMORE = int(zmq.NOBLOCK), int(zmq.SNDMORE)


class Pump:
    """Owns the data path between the two sockets, in the thread that calls `burst`.

    `limit` is the most messages taken in one burst: the bound on how long control and timers wait.
    """

    def __init__(self, ingest: zmq.Socket[bytes], outlet: Outlet, fleet: Fleet, limits: Limits, limit: int) -> None:
        self.fleet = fleet
        self.limits = limits
        self.limit = limit
        self.outlet = outlet
        self.counters: Counters = outlet.counters
        self._receive: Callable[[int, bool], Any] = ingest.recv
        self._blocks = BlockPath(outlet, fleet)
        self._waiting: list[Lane] = []

    def burst(self) -> int:
        """Carry what is waiting, up to the limit, from one socket to the other; returns the messages taken."""
        recv = time.time_ns()
        messages = self._drain()
        limits, n_in, route, waiting = self.limits, self.fleet.n_in, self.fleet.route, self._waiting
        reject = self.outlet.events.reject
        for frames in messages:
            try:
                message = decode_ingest(frames, limits, recv, n_in)
            except InputError as error:
                reject(error.stream, error.code, str(error))
                continue
            if type(message) is not Sample:
                self._step(recv)  # rows keep their order across messages
                self._blocks.answer(message, recv)  # type: ignore[arg-type]
                continue
            try:
                lane = route(message.stream, len(message.x))
            except WrongWidth as error:
                reject(message.stream.decode(), error.code, str(error))
                continue
            if not lane.waiting:
                waiting.append(lane)
            lane.waiting.append(message)
        self._step(recv)
        return len(messages)

    def discard(self, seconds: float) -> int:
        """Take messages without looking at them until none is waiting or the time is over; returns how many."""
        deadline = time.monotonic() + seconds
        total = 0
        while time.monotonic() < deadline:
            taken = len(self._drain())
            if not taken:
                break
            total += taken
        self.counters.discarded += total
        return total

    def _drain(self) -> list[tuple[bytes, ...]]:
        """The frames of the messages that are waiting, up to the limit."""
        receive = self._receive
        messages: list[tuple[bytes, ...]] = []
        size = 0
        try:
            for _ in range(self.limit):
                topic = receive(_NOBLOCK, False)
                if not topic.more:
                    frames: tuple[bytes, ...] = (topic.bytes,)
                    size += len(frames[0])
                else:
                    body = receive(_NOBLOCK, False)
                    frames = (topic.bytes, body.bytes)
                    size += len(frames[0]) + len(frames[1])
                    if body.more:
                        frames = (*frames, *self._surplus())
                messages.append(frames)
        except zmq.Again:
            pass
        self.counters.messages += len(messages)
        self.counters.bytes_in += size
        return messages

    def _surplus(self) -> list[bytes]:
        """The frames after the second, which make a message malformed: counted, not kept."""
        frames = []
        more = True
        while more:
            more = self._receive(_NOBLOCK, False).more
            frames.append(b"")
        return frames

    def _step(self, recv: int) -> None:
        """Step all samples that wait in lanes and publish their answers."""
        for lane in self._waiting:
            samples = lane.waiting
            n = len(samples)
            burst, results, engine = lane.burst, lane.results, lane.engine
            fill_samples(burst, samples)
            burst.recv = recv
            self.counters.samples += n
            done = 0
            while done < n:
                start = done
                done += engine.ingest(burst, results, start)
                self.outlet.lifecycle(self.fleet, lane)
                self._publish(lane, start, done, recv)
            samples.clear()
        self._waiting.clear()

    def _publish(self, lane: Lane, start: int, stop: int, recv: int) -> None:
        """Publish `out/` and `flag/` for rows `start` to `stop` of the lane's burst."""
        results, outlet, counters = lane.results, self.outlet, self.counters
        send, now, cause_name = outlet.raw_send, time.time_ns, lane.engine.model.cause_name
        size = accepted = flags = 0
        rows = slice(start, stop)
        filled: list[bool] = np.any(results.missing[rows], axis=1).tolist()
        columns = zip(
            lane.waiting[rows],
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
        for i, (sample, verdict, gap, y, score, flag, edge, code, n, epoch) in enumerate(columns):
            stream, seq, t = sample.stream, sample.seq, sample.t
            if verdict:
                outlet.refused(stream, verdict, seq, t)
                continue
            if gap > 0:
                outlet.gap(stream, gap, seq)
            cause = cause_name(code) if flag else None
            missing = np.flatnonzero(results.missing[start + i]).tolist() if filled[i] else None
            when = recv if t is None else t
            topic = b"out/%b/" % stream
            body = encode_output(seq, when, y, score, flag == 1, cause, n, epoch, recv, now(), missing)
            send(topic, _SNDMORE)
            send(body)
            size += len(topic) + len(body)
            accepted += 1
            if edge:
                edged = "raised" if edge > 0 else "cleared"
                flags += 1
                outlet.send(
                    b"flag/%b/" % stream,
                    encode_output(seq, when, y, score, flag == 1, cause, n, epoch, recv, now(), missing, edged),
                )
        counters.accepted += accepted
        counters.outputs += accepted
        counters.published += accepted
        counters.flags += flags
        counters.bytes_out += size
