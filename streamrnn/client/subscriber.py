"""Receive what a daemon publishes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import zmq

from ..errors import BadTopic, ConfigError, Timeout
from ..wire.endpoints import OUTPUTS
from ..wire.messages import BlockOutput, Output, Published, decode_published
from .gaps import Gap, GapCounter
from .sockets import Client, Deadline

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Subscriber"]

_log = logging.getLogger("streamrnn.client")

_TOPICS = ("out/", "block/", "flag/", "event/")
_TURN = 64
"""Messages that `async for` takes in a row before other tasks get their turn."""


class Subscriber(Client):
    """Receives outputs, flags, answers to blocks and events; iterate over it, also with `async for`.

    `prefixes` are beginnings of topics: `out/` all outputs, `out/ward3/` those of one ward, `out/bed1/` one
    stream's; likewise `flag/` and `event/`; `block/`; and `""` is everything. `timeout` is how many seconds
    iteration waits for the next message before it raises Timeout; None waits for ever.

    ZeroMQ drops for a subscriber that lags by more than `hwm` messages. What was dropped shows in `n`, and is
    told: as `output.lost`, in the sum `subscriber.lost`, and by `on_gap(gap)`, which logs a warning unless
    given. For one thread (or one event loop) at a time.

    >>> with Subscriber(prefixes=["out/bed1/", "flag/"]) as subscriber:
    ...     subscriber.lost
    0
    """

    def __init__(
        self,
        endpoint: str = OUTPUTS,
        prefixes: str | Iterable[str] = ("out/",),
        *,
        timeout: float | None = None,
        hwm: int = 100_000,
        on_gap: Callable[[Gap], None] | None = None,
        context: zmq.Context[Any] | None = None,
    ) -> None:
        topics = [_topic(prefix) for prefix in ([prefixes] if isinstance(prefixes, str) else prefixes)]
        super().__init__(zmq.SUB, endpoint, context)
        self.timeout = timeout
        self.lost = 0
        self.skipped = 0
        self._on_gap = on_gap if on_gap is not None else _warn
        self._gaps = GapCounter()
        self._in_a_row = 0
        self._socket.rcvhwm = hwm
        for topic in topics:
            self._socket.subscribe(topic)
        self._link = self._new_link()
        self._attach()

    def wait(self, timeout: float = 10.0) -> None:
        """Return once the connection to the daemon stands, and the subscriptions with it; Timeout if it
        does not.

        What the daemon published before that is not received.
        """
        if self._link is not None and not self._link.wait(timeout):
            raise Timeout(
                f"no daemon at {self.endpoint.address} within {timeout:g} s; "
                "start it (streamrnn serve) or name its outputs endpoint"
            )

    @property
    def connected(self) -> bool:
        """Whether a daemon is connected now; always true for a bound subscriber, to which several may connect."""
        return self._link is None or self.endpoint.bind or self._link.up()

    def subscribe(self, prefix: str) -> None:
        """Receive also what begins with `prefix`."""
        self._gaps.forget()
        self._socket.subscribe(_topic(prefix))

    def unsubscribe(self, prefix: str) -> None:
        """Receive no more what begins with `prefix`, which was subscribed before."""
        self._gaps.forget()
        self._socket.unsubscribe(_topic(prefix))

    def recv(self, timeout: float | None = None) -> Published:
        """The next message; Timeout after `timeout` seconds (the subscriber's own if None), Malformed if
        torn.
        """
        limit = self.timeout if timeout is None else timeout
        deadline = Deadline(limit)
        while True:
            message = self._take()
            if message is not None:
                return message
            if not self._socket.poll(deadline.left_ms()):
                raise _nothing(self, limit)

    async def arecv(self, timeout: float | None = None) -> Published:
        """`recv` for a coroutine: other tasks run while it waits."""
        limit = self.timeout if timeout is None else timeout
        deadline = Deadline(limit)
        self._in_a_row += 1
        if self._in_a_row % _TURN == 0:
            await asyncio.sleep(0)
        while True:
            message = self._take()
            if message is not None:
                return message
            left = deadline.left_ms()
            try:
                await asyncio.wait_for(self._readable(), None if left is None else left / 1000)
            except asyncio.TimeoutError:
                raise _nothing(self, limit) from None

    async def _readable(self) -> None:
        """Until the socket's file descriptor says that something happened inside it."""
        loop, descriptor = asyncio.get_running_loop(), self._socket.fileno()
        ready = asyncio.Event()
        loop.add_reader(descriptor, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(descriptor)

    def _take(self) -> Published | None:
        """The next message that is already here, with what it tells of lost ones."""
        while True:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return None
            try:
                message = decode_published(frames)
            except BadTopic:
                self.skipped += 1  # a later version's topic; its keys are not ours to guess
                continue
            if type(message) is Output:
                message.lost = self._gaps.lost_before(message.stream, message.n)
                if message.lost:
                    self.lost += message.lost
                    self._on_gap(Gap(message.stream, message.lost, message.n))
            elif type(message) is BlockOutput:
                self._gaps.rows(message.streams)
            return message

    def close(self) -> None:
        """Let go of the socket; iteration over it ends."""
        if self._link is not None:
            self._link.close()
            self._link = None
        super().close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Published:
        if self.closed:
            raise StopIteration
        return self.recv()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Published:
        if self.closed:
            raise StopAsyncIteration
        return await self.arecv()


def _topic(prefix: str) -> bytes:
    if prefix and not prefix.startswith(_TOPICS):
        raise ConfigError(
            f"prefix {prefix!r} matches no topic; they begin with {', '.join(_TOPICS)}, as in 'out/{prefix}/'"
        )
    return prefix.encode()


def _nothing(subscriber: Subscriber, limit: float | None) -> Timeout:
    return Timeout(f"nothing came from {subscriber.endpoint.address} for {limit or 0:g} s")


def _warn(gap: Gap) -> None:
    _log.warning("missed %d outputs of %s before its number %d", gap.lost, gap.stream, gap.n)
