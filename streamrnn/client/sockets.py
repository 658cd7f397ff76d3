"""What the three clients share: one socket each, its endpoint, its end, and deadlines."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

import zmq

from ..errors import ConfigError
from ..wire.endpoints import Endpoint, parse_endpoint

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Client", "Deadline", "Link"]

_HEARTBEAT_MS = 5_000
"""A peer whose machine went away without a word is noticed, and connected anew, after three times this."""


class Deadline:
    """A point in time `timeout` seconds ahead; None never comes."""

    def __init__(self, timeout: float | None) -> None:
        self._end = None if timeout is None else time.monotonic() + timeout

    def left_ms(self) -> int | None:
        """Milliseconds left, never negative; None where there is no limit."""
        return None if self._end is None else max(0, round((self._end - time.monotonic()) * 1000))


class Link:
    """Whether the connection of a `socket` that is about to connect stands, told by libzmq.

    Its queue is unlimited: a full one would hold up libzmq's own thread.
    """

    def __init__(self, socket: zmq.Socket[bytes], context: zmq.Context[Any]) -> None:
        address = f"inproc://link-{id(self)}"
        self._socket = socket
        self._up = False
        socket.monitor(address, zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self._told: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        self._told.rcvhwm = 0
        self._told.connect(address)

    def up(self) -> bool:
        """Whether it stands now."""
        while self._told.poll(0):
            event = int.from_bytes(self._told.recv_multipart()[0][:2], sys.byteorder)
            self._up = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
        return self._up

    def wait(self, timeout: float) -> bool:
        """Whether it stands within so many seconds."""
        deadline = Deadline(timeout)
        while not self.up():
            if not self._told.poll(deadline.left_ms()):
                return False
        return True

    def close(self) -> None:
        """Ask no more. Before the socket is closed."""
        self._socket.disable_monitor()
        self._told.close(0)


class Client:
    """Owns one socket, and its context unless one was given. For one thread at a time."""

    def __init__(self, kind: int, endpoint: str, context: zmq.Context[Any] | None, linger: float = 0.0) -> None:
        self.endpoint: Endpoint = parse_endpoint(endpoint)
        self._kind = kind
        self._linger_ms = round(linger * 1000)
        self._own_context = context is None
        self._context: zmq.Context[Any] = zmq.Context() if context is None else context
        self._socket: zmq.Socket[bytes] = self._new_socket()

    def _new_socket(self) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(self._kind)
        socket.linger = self._linger_ms
        socket.heartbeat_ivl = _HEARTBEAT_MS
        socket.heartbeat_timeout = 3 * _HEARTBEAT_MS
        socket.ipv6 = "[" in self.endpoint.address
        return socket

    def _new_link(self) -> Link | None:
        """The link to watch; None for inproc, which tells nothing."""
        return Link(self._socket, self._context) if self.endpoint.address.startswith(("tcp:", "ipc:")) else None

    def _attach(self) -> None:
        attach = self._socket.bind if self.endpoint.bind else self._socket.connect
        try:
            attach(self.endpoint.address)
        except zmq.ZMQError as error:
            self.close()
            raise ConfigError(f"cannot open {self.endpoint}: {error.strerror}") from None

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return bool(self._socket.closed)

    @property
    def address(self) -> str:
        """The address in use, with the port that was found where a bound endpoint left it open."""
        address: bytes = self._socket.getsockopt(zmq.LAST_ENDPOINT)  # type: ignore[assignment]
        return address.decode().rstrip("\0")

    def close(self) -> None:
        """Let go of the socket; a second call does nothing."""
        self._socket.close()
        if self._own_context:
            self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
