"""The data path over pyzmq: drain what is waiting, decode it, step it, publish the answers.

    receive -> decode -> route -> fill -> Engine.ingest -> publish

`express.py` does the same in compiled code, to the same bytes; it hands whatever is out of the ordinary to this one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import zmq

from ..errors import InputError, WrongWidth
from ..wire.messages import Limits, Sample, decode_ingest
from .blocks import BlockPath
from .counters import Counters
from .fill import fill_samples
from .fleet import Fleet, Lane
from .outlet import Outlet
from .rows import publish_rows

__all__ = ["Pump"]

_NOBLOCK = int(zmq.NOBLOCK)


class Pump:
    """Owns the data path between the two sockets, in the thread that calls `burst`.

    `limit` is the most messages taken in one burst: the bound on how long control and timers wait.
    """

    name = "pyzmq"

    def __init__(self, ingest: zmq.Socket[bytes], outlet: Outlet, fleet: Fleet, limits: Limits, limit: int) -> None:
        self.fleet = fleet
        self.limits = limits
        self.limit = limit
        self.outlet = outlet
        self.counters: Counters = outlet.counters
        self.ingest = ingest
        self._receive: Callable[[int, bool], Any] = ingest.recv
        self._blocks = BlockPath(outlet, fleet)
        self._lane: Lane | None = None

    def serve(self, sources: zmq.Poller, wait_ms: int) -> dict[Any, int]:
        """Wait until something can be read, but not longer than that; take a burst if samples can be, and return what
        else can. `sources` knows the ingest socket too."""
        ready = dict(sources.poll(wait_ms))
        if ready.pop(self.ingest, None):
            self.burst()
        return ready

    def burst(self) -> int:
        """Carry what is waiting, up to the limit, from one socket to the other; returns the messages taken."""
        recv = time.time_ns()
        messages = self._drain()
        for frames in messages:
            self.take(frames, recv)
        self.flush(recv)
        return len(messages)

    def take(self, frames: tuple[bytes, ...], recv: int) -> None:
        """Take one message: a sample waits for `flush`, all else is settled after whatever waits."""
        fleet = self.fleet
        try:
            message = decode_ingest(frames, self.limits, recv, fleet.n_in)
        except InputError as error:
            self.flush(recv)
            self.outlet.events.reject(error.stream, error.code, str(error))
            return
        if type(message) is not Sample:
            self.flush(recv)
            self._blocks.answer(message, recv)  # type: ignore[arg-type]
            return
        lane = self._lane
        if lane is not None and lane.engine.n_in != len(message.x):
            self.flush(recv)  # what waits may be of this very stream
        try:
            lane = fleet.route(message.stream, len(message.x))
        except WrongWidth as error:
            self.flush(recv)
            self.outlet.events.reject(message.stream.decode(), error.code, str(error))
            return
        self._lane = lane
        lane.waiting.append(message)

    def flush(self, recv: int) -> None:
        """Step the samples that wait, and publish their answers."""
        lane = self._lane
        if lane is None:
            return
        n = len(lane.waiting)
        fill_samples(lane.burst, lane.waiting)
        lane.waiting.clear()
        self._lane = None
        lane.burst.recv = recv
        self.counters.samples += n
        done = 0
        while done < n:
            start = done
            done += lane.engine.ingest(lane.burst, lane.results, start)
            publish_rows(self.outlet, lane, start, done, recv, outputs=True)

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
