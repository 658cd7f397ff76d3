"""The data path over pyzmq: drain what is waiting, decode it, step it, publish the answers.

    receive -> decode -> route -> fill -> Engine.ingest -> publish

`express.py` does the same in compiled code, to the same bytes; it hands whatever is out of the ordinary to this one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import zmq

from ..errors import InputError, WrongWidth
from ..wire.messages import Limits, Sample, decode_ingest
from .blocks import BlockPath
from .counters import Counters
from .fill import fill_samples
from .fleet import Fleet, Lane
from .outlet import Outlet
from .patience import Patience
from .rows import publish_rows

__all__ = ["TURN_NS", "Pump"]

_NOBLOCK = int(zmq.NOBLOCK)

TURN_NS = 5_000_000
"""A burst that has lasted so long is cut short, also in the middle of a block, so that control and timers have their
turn; what was received waits for the next one."""

_DRAIN_BYTES = 8 << 20
"""No further message is received in a burst that holds so much."""


class Pump:
    """Owns the data path between the two sockets, in the thread that calls `serve` or `burst`.

    `limit` is the most messages taken in one burst, `budget` how long a burst that is not full may wait for more, ns.
    """

    name = "pyzmq"

    def __init__(
        self, ingest: zmq.Socket[bytes], outlet: Outlet, fleet: Fleet, limits: Limits, limit: int, budget: int = 0
    ) -> None:
        self.fleet = fleet
        self.limits = replace(limits, tokens=fleet.tokens)
        self.limit = limit
        self.patience = Patience(budget)
        self.turn = TURN_NS
        self.outlet = outlet
        self.counters: Counters = outlet.counters
        self.ingest = ingest
        self._receive: Callable[[int, bool], Any] = ingest.recv
        self._blocks = BlockPath(outlet, fleet)
        self._lane: Lane | None = None
        self._poller: zmq.Poller | None = None
        self._recv = 0
        self._drained = 0
        self._unsettled = 0
        self._backlog: deque[tuple[bytes, ...]] = deque()
        self._answering: Iterator[None] | None = None

    @property
    def pending(self) -> bool:
        """Whether something was received that is not settled yet."""
        return self._answering is not None or bool(self._backlog) or self._lane is not None

    def serve(self, others: Sequence[Any], wait_ms: int) -> set[Any]:
        """Wait until samples or any of `others` (sockets, file descriptors) can be read, but not longer than that; take
        samples if there are any, and return which of the others can be read."""
        if self._poller is None:
            self._poller = zmq.Poller()
            for source in (self.ingest, *others):
                self._poller.register(source, zmq.POLLIN)
        end = self.patience.clock() + wait_ms * 1_000_000
        ready = self._polled(0 if self.pending else wait_ms)
        if self.ingest in ready or self.pending:
            self._burst(patient=True)
            while self._waits and ready <= {self.ingest} and self.patience.clock() < end:
                self.patience.rest(end)
                ready = self._polled(0)
                self._burst(patient=True)
        return ready - {self.ingest}

    def _polled(self, wait_ms: int) -> set[Any]:
        assert self._poller is not None
        return {source for source, _ in self._poller.poll(wait_ms)}

    def burst(self) -> int:
        """Carry what is waiting, up to the limit, from one socket to the other; returns the messages taken."""
        return self._burst(patient=False)

    def _burst(self, patient: bool) -> int:
        """The same; with `patient`, samples may be left waiting for more of them."""
        until = time.monotonic_ns() + self.turn
        if not self.pending:
            self._recv = time.time_ns()
            self._drained = 0
            self.patience.begin()
        if self._answering is None and not self._backlog:
            messages = self._drain(self.limit - self._drained)
            self._drained += len(messages)
            self._backlog.extend(messages)
        taken = 0
        while (self._answering is not None or self._backlog) and time.monotonic_ns() < until:
            if self._answering is not None:
                self._answer()
            else:
                self.take(self._backlog[0], self._recv)
                self._backlog.popleft()  # now: should a GPU fail meanwhile, this message counts as not settled
                taken += 1
        if not (patient and self._waits and self._drained < self.limit and self.patience.lasts()):
            self.flush(self._recv)
        return taken

    @property
    def _waits(self) -> bool:
        """Whether nothing is left to do but to step samples, which may wait for more of them."""
        return self._lane is not None and self._answering is None and not self._backlog

    def take(self, frames: tuple[bytes, ...], recv: int) -> None:
        """Take one message: a sample waits for `flush`, a block for `_answer`; all else is settled after what waits."""
        fleet = self.fleet
        try:
            message = decode_ingest(frames, self.limits, recv, fleet.n_in)
        except InputError as error:
            self.flush(recv)
            self.outlet.events.reject(error.stream, error.code, str(error))
            return
        if type(message) is not Sample:
            self.flush(recv)
            self._answering = self._blocks.answer(message, recv)  # type: ignore[arg-type]
            return
        lane = self._lane
        if lane is not None and (lane.engine.n_in != len(message.x) or len(lane.waiting) >= lane.burst.capacity):
            self.flush(recv)  # what waits may be of this very stream
        try:
            lane = fleet.route(message.stream, len(message.x))
        except WrongWidth as error:
            self.flush(recv)
            self.outlet.events.reject(message.stream.decode(), error.code, str(error))
            return
        self._lane = lane
        lane.waiting.append(message)

    def _answer(self) -> None:
        """Step the next piece of the block that is being answered."""
        if self._answering is not None and next(self._answering, self) is self:
            self._answering = None

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
        self._unsettled = n
        done = 0
        while done < n:
            start = done
            done += lane.engine.ingest(lane.burst, lane.results, start)
            publish_rows(self.outlet, lane, start, done, recv, outputs=True)
            self._unsettled = n - done

    def discard(self, seconds: float) -> int:
        """Take messages without looking at them until none is waiting or the time is over; returns how many, with those
        that were received and not settled."""
        deadline = time.monotonic() + seconds
        total = self._forget()
        while time.monotonic() < deadline:
            taken = len(self._drain(self.limit))
            if not taken:
                break
            total += taken
        self.counters.discarded += total
        return total

    def _forget(self) -> int:
        """Let go of what was received and is not settled; returns how many messages that are."""
        total = len(self._backlog) + (self._answering is not None) + self._unsettled
        if self._lane is not None:
            total += len(self._lane.waiting)
            self._lane.waiting.clear()
            self._lane = None
        self._unsettled = 0
        self._backlog.clear()
        self._answering = None
        return total

    def _drain(self, most: int) -> list[tuple[bytes, ...]]:
        """The frames of the messages that are waiting, `most` at most."""
        receive = self._receive
        messages: list[tuple[bytes, ...]] = []
        size = 0
        try:
            while len(messages) < most and size < _DRAIN_BYTES:
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
