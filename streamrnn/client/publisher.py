"""Send samples to a daemon so that none is lost without a word."""

from __future__ import annotations

import secrets
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import zmq

from ..errors import Malformed, Timeout
from ..wire.endpoints import INGEST
from ..wire.floats import Buffer, matrix_bytes, times
from ..wire.ids import BLOCK_TOPIC, check_id, sample_topic
from ..wire.ingest import encode_block, encode_sample
from ..wire.limits import DEFAULT_LIMITS, Limits
from ..wire.tokens import to_tokens
from .sockets import Client, Deadline

__all__ = ["Publisher"]

_ALL_SAMPLES = b"in/"
_OVERHEAD = 512
"""Bytes of a block's body that are neither rows nor ids, generously."""
_TOKEN = 3
"""A token takes no more room than so many values."""


class Publisher(Client):
    """Sends samples and blocks, and counts them for each stream, so that the daemon can tell what is missing.

    A plain ZeroMQ publisher drops in silence before its subscriber has come and above its high-water mark.
    This one waits in both cases, for at most `timeout` seconds, and then raises Timeout. At most `hwm`
    messages wait in memory while the daemon is away or slow; they survive its restart. `close` flushes for
    at most `linger` seconds. Each instance is a session of its own unless `session` (at most 64 bytes)
    continues an earlier one.

    For one thread at a time. Raises ConfigError for an endpoint that cannot be opened.

    >>> with Publisher("@tcp://127.0.0.1:*") as publisher:
    ...     publisher.subscribed
    False
    """

    def __init__(
        self,
        endpoint: str = INGEST,
        *,
        timeout: float = 10.0,
        hwm: int = 10_000,
        linger: float = 5.0,
        session: bytes | str | None = None,
        limits: Limits = DEFAULT_LIMITS,
        context: zmq.Context[Any] | None = None,
    ) -> None:
        super().__init__(zmq.XPUB, endpoint, context, linger)
        self.session: bytes | str = secrets.token_bytes(8) if session is None else session
        self._limits = limits
        self._next: dict[str, int] = {}
        self._prefixes: set[bytes] = set()
        self._open = False
        self._socket.sndhwm = hwm
        self._socket.xpub_nodrop = True
        self.timeout = timeout
        self._link = None if self.endpoint.bind else self._new_link()
        self._attach()

    @property
    def timeout(self) -> float:
        """Seconds that `send` waits for a daemon, or for room in its queue."""
        return self._timeout

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._timeout = seconds
        self._socket.sndtimeo = round(seconds * 1000)

    @property
    def subscribed(self) -> bool:
        """Whether the daemon's subscription to all samples has arrived."""
        self._listen()
        return self._open

    @property
    def connected(self) -> bool:
        """Whether a daemon is connected now.

        A publisher that has connected (not bound) keeps its subscription while its daemon is away, and `send` then
        fills the queue; this tells the two apart.
        """
        if self._link is None:
            return self.subscribed
        return self._link.up()

    def close(self) -> None:
        """Send what waits, for at most `linger` seconds, and let go of the socket; a second call does nothing."""
        if self._link is not None:
            self._link.close()
            self._link = None
        super().close()

    def wait(self, timeout: float | None = None) -> None:
        """Return once the daemon's subscription has arrived; Timeout after `timeout` (or the publisher's)
        seconds.

        `send` and `send_block` do this by themselves.
        """
        self._await(_ALL_SAMPLES, self.timeout if timeout is None else timeout)

    def send(
        self,
        stream: str,
        x: Sequence[float | None] | Buffer | int,
        t: int | None = None,
        reset: bool = False,
        seq: int | None = None,
    ) -> None:
        """Send one sample: `x` `(n_in,)` numbers, None or NaN for a missing channel, or a buffer such as an
        array; or one token, an integer.

        `t` is the event's time in ns since the Unix epoch, the time of receipt if absent. `reset` forgets the
        stream's state first. `seq` continues the stream's count from another number. Raises BadId, BadTime, BadToken,
        Malformed, NotFinite or WrongWidth for what the daemon would refuse, and Timeout.
        """
        number = self._next.get(stream, 0) if seq is None else seq
        topic = sample_topic(stream)
        self._deliver(topic, encode_sample(x, t, number, self.session, reset))
        self._next[stream] = number + 1

    def send_block(
        self, ids: str | Sequence[str], X: Iterable[Iterable[float | None]] | Sequence[int] | Buffer, t: Any = None
    ) -> None:
        """Send many samples in one message, or in a few where they exceed the daemon's limits; order is kept.

        `ids` is one stream for all rows or one for each, `X` `(n, n_in)` float32 or anything that converts, or
        n tokens, `t` `(n,)` int64 in ns, a sequence or a buffer. Raises as `send` does; after a Timeout part may
        have been sent.
        """
        one = isinstance(ids, str)
        for stream in [ids] if isinstance(ids, str) else ids:
            check_id(stream)
        tokens = to_tokens(X)
        if tokens is None:
            raw, n, n_in = matrix_bytes(X, None if one else len(ids))
        else:
            n, n_in = len(tokens), _TOKEN
            if not one and n != len(ids):
                raise Malformed(f"X has {n} tokens for {len(ids)} stream ids")
        at = None if t is None else times(t, n)
        for start, stop in self._pieces(n, n_in):
            part = ids if one else ids[start:stop]
            seq, after = self._count(part, stop - start)
            rows = raw[4 * n_in * start : 4 * n_in * stop] if tokens is None else tokens[start:stop]
            when = None if at is None else at[start:stop]
            self._deliver(BLOCK_TOPIC, encode_block(part, rows, stop - start, when, seq, self.session))
            self._next.update(after)

    def _pieces(self, n: int, n_in: int) -> Iterator[tuple[int, int]]:
        row = 4 * n_in + 8 + 8 + 2 + 200  # values, t, seq, and the longest id with its length
        rows = max(1, min(self._limits.max_block, (self._limits.max_message - _OVERHEAD) // row))
        return ((start, min(start + rows, n)) for start in range(0, n, rows))

    def _count(self, ids: str | Sequence[str], n: int) -> tuple[array[int], dict[str, int]]:
        """The rows' sequence numbers, and where each stream's count stands after them."""
        if isinstance(ids, str):
            first = self._next.get(ids, 0)
            return array("Q", range(first, first + n)), {ids: first + n}
        after: dict[str, int] = {}
        seq = array("Q")
        for stream in ids:
            number = after[stream] if stream in after else self._next.get(stream, 0)
            seq.append(number)
            after[stream] = number + 1
        return seq, after

    def _deliver(self, topic: bytes, body: bytes) -> None:
        if self._told():
            self._listen()
        if not self._open or topic is BLOCK_TOPIC:
            self._await(topic, self.timeout)
        try:
            self._socket.send_multipart((topic, body))
        except zmq.Again:
            raise Timeout(
                f"{self.endpoint.address} took nothing for {self.timeout:g} s and {self._socket.sndhwm} messages wait; "
                "see whether the daemon is alive, send more slowly or give a longer timeout"
            ) from None

    def _await(self, topic: bytes, timeout: float) -> None:
        deadline = Deadline(timeout)
        self._listen()
        while not any(topic.startswith(prefix) for prefix in self._prefixes):
            if not self._socket.poll(deadline.left_ms()):
                raise Timeout(
                    f"nobody at {self.endpoint.address} asked for {topic.decode()!r} within {timeout:g} s; "
                    "start the daemon (streamrnn serve) or name its ingest endpoint"
                )
            self._listen()

    def _told(self) -> bool:
        events: int = self._socket.getsockopt(zmq.EVENTS)  # type: ignore[assignment]
        return events & zmq.POLLIN != 0

    def _listen(self) -> None:
        """Take in the subscriptions that have come and gone."""
        while self._told():
            told = self._socket.recv()
            change = self._prefixes.add if told[:1] == b"\x01" else self._prefixes.discard
            change(told[1:])
        self._open = any(_ALL_SAMPLES.startswith(prefix) for prefix in self._prefixes)
