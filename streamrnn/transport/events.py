"""Events on their way out: counted exactly, published at a bounded rate."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..wire.messages import encode_event
from .counters import Counters

__all__ = ["EventGate"]

MAX_REASON = 300
"""Longest reason in an event, in characters: an event about a message must not be as large as the message."""

Send = Callable[[bytes, bytes], None]


class _Bucket:
    """A token bucket: how many events of one kind may still go out, and how many had to stay behind."""

    __slots__ = ("refilled", "suppressed", "tokens")

    def __init__(self, tokens: float, now: float) -> None:
        self.tokens = tokens
        self.refilled = now
        self.suppressed = 0


class EventGate:
    """Publishes events through `send(topic, body)`, at most `rate` a second and `burst` at once of each kind.

    Rejections are limited for each code by itself. What the limit holds back is counted, and the next event of
    that kind (or `flush`, when there is room again) says how many it stands for under `suppressed`.
    """

    def __init__(
        self,
        send: Send,
        counters: Counters,
        rate: float,
        burst: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._counters = counters
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: dict[tuple[str, str | None], _Bucket] = {}

    def publish(self, kind: str, stream: str | bytes | None, **data: object) -> None:
        """Publish an event if its kind's rate allows; `data` are its own keys, without those that are None."""
        code = data.get("code")
        bucket = self._refilled(kind, code if isinstance(code, str) else None)
        if bucket.tokens < 1.0:
            bucket.suppressed += 1
            self._counters.suppressed += 1
            return
        bucket.tokens -= 1.0
        if bucket.suppressed:
            data["suppressed"] = bucket.suppressed
            bucket.suppressed = 0
        self._out(kind, stream, data)

    def reject(self, stream: str | None, code: str, reason: str, **data: object) -> None:
        """Count and publish a refusal."""
        self._counters.reject(code)
        self.publish("rejected", stream, code=code, reason=reason[:MAX_REASON], **data)

    def daemon(self, state: str, **data: object) -> None:
        """Publish an event of the daemon itself; these are few and never held back."""
        self._out("daemon", None, {"state": state, **data})

    def flush(self) -> None:
        """Where events were held back and there is room again, say how many they were."""
        for (kind, code), bucket in self._buckets.items():
            if bucket.suppressed and self._refilled(kind, code).tokens >= 1.0:
                bucket.tokens -= 1.0
                held, bucket.suppressed = bucket.suppressed, 0
                self._out(kind, None, {"code": code, "suppressed": held})

    def _refilled(self, kind: str, code: str | None) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.get((kind, code))
        if bucket is None:
            bucket = self._buckets[kind, code] = _Bucket(float(self._burst), now)
            return bucket
        bucket.tokens = min(float(self._burst), bucket.tokens + (now - bucket.refilled) * self._rate)
        bucket.refilled = now
        return bucket

    def _out(self, kind: str, stream: str | bytes | None, data: dict[str, object]) -> None:
        topic, body = encode_event(kind, stream, time.time_ns(), **data)
        self._counters.events += 1
        self._send(topic, body)
