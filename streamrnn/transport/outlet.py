"""What goes out: one socket, and the messages that are not answers to a sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import zmq

from ..burst import BAD_TIME, DUPLICATE
from ..engine import Engine, Event
from .counters import Counters
from .events import EventGate

__all__ = ["Outlet"]

_SNDMORE = int(zmq.SNDMORE)


class Outlet:
    """Publishes on the outputs' socket and counts what it does. A PUB socket never blocks: it drops, for a
    subscriber that does not keep up, what exceeds the high-water mark.
    """

    def __init__(self, socket: zmq.Socket[bytes], counters: Counters, event_rate: float, event_burst: int) -> None:
        self.counters = counters
        self.raw_send: Callable[..., Any] = socket.send
        self.events = EventGate(self.send, counters, event_rate, event_burst)

    def send(self, topic: bytes, body: bytes) -> None:
        """Hand one message to ZeroMQ."""
        self.raw_send(topic, _SNDMORE)
        self.raw_send(body)
        self.counters.published += 1
        self.counters.bytes_out += len(topic) + len(body)

    def life(self, event: Event) -> None:
        """Publish that a stream was created, reset or evicted."""
        counters, kind = self.counters, event.kind
        if kind == "created":
            counters.created += 1
            self.events.publish(kind, event.stream)
            return
        if kind == "evicted":
            counters.evicted += 1
        else:
            counters.reset += 1
        self.events.publish(kind, event.stream, reason=event.reason or None, n=event.n)

    def lives(self, engine: Engine) -> None:
        """Publish what an engine has to tell outside any burst."""
        for event in engine.events():
            self.life(event)

    def gap(self, stream: bytes, missing: int, seq: int | None) -> None:
        """Samples were lost on their way here, just before the one with this `seq`."""
        self.counters.gaps += 1
        self.counters.missing += missing
        self.events.publish("gap", stream, missing=missing, seq=seq)

    def refused(self, stream: bytes, verdict: int, seq: int | None, t: int | None) -> None:
        """The engine left a row out: late, duplicate, or with a time that goes back."""
        if verdict == BAD_TIME:
            reason = f"t is {t}, earlier than the stream's last sample; send in order, or reset the stream"
            self.events.reject(stream.decode(), "bad_time", reason)
        elif verdict == DUPLICATE:
            self.counters.duplicate += 1
            self.events.publish("duplicate", stream, seq=seq)
        else:
            self.counters.late += 1
            self.events.publish("late", stream, seq=seq)
