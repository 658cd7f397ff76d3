"""The daemon's three sockets: how they are made, attached, and let go of."""

from __future__ import annotations

import errno
import socket as unix
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import zmq

from ..errors import ConfigError
from ..wire.endpoints import Endpoint
from .peers import WATCHED, Peers

__all__ = ["Door", "Marks", "open_control", "open_ingest", "open_outputs"]

_KEEPALIVE = {"TCP_KEEPALIVE": 1, "TCP_KEEPALIVE_IDLE": 30, "TCP_KEEPALIVE_INTVL": 5, "TCP_KEEPALIVE_CNT": 3}
"""A peer whose machine has gone without a word is let go of after 45 s. TCP's own probes, not ZeroMQ's heartbeats,
which peers of ZMTP 3.0 do not know.
"""

SLACK = 8
"""The sockets' hard limit is so many times `max_message`: what is only a little too large is still answered by an
event, and what is above closes the sender's connection before it takes any memory."""


@dataclass(frozen=True, slots=True)
class Marks:
    """How much may queue: `received` messages from each publisher, `sent` messages to each subscriber, and the
    largest message in bytes.
    """

    received: int
    sent: int
    max_message: int


class Door:
    """A socket with the endpoints that it is attached to, and how many peers are connected."""

    def __init__(self, context: zmq.Context[Any], kind: int, endpoints: Sequence[Endpoint], role: str) -> None:
        self.socket: zmq.Socket[bytes] = context.socket(kind)
        self.role = role
        self.addresses: list[str] = []
        self._peers = Peers()
        self._context = context
        self._endpoints = endpoints
        self._monitor: zmq.Socket[bytes] | None = None
        for name, value in _KEEPALIVE.items():
            self.socket.setsockopt(getattr(zmq, name), value)
        self.socket.setsockopt(zmq.IPV6, any("[" in endpoint.address for endpoint in endpoints))

    def attach(self) -> None:
        """Bind or connect all endpoints; ConfigError names the one that cannot be."""
        self._watch()
        for endpoint in self._endpoints:
            self.addresses.append(self._attach(endpoint))

    def shut(self) -> int | None:
        """Close the ways in, and return the most messages that may have been received by now.

        Unbinding ends the connections too, and what had been received stays readable: None, read until nothing is
        left. Disconnecting would lose it, so connected endpoints stay, and the queues' length is the bound.
        """
        bound = [a for e, a in zip(self._endpoints, self.addresses, strict=True) if e.bind]
        for address in bound:
            self.socket.unbind(address)
        connected = len(self._endpoints) - len(bound)
        return int(self.socket.rcvhwm) * (connected + self.count_peers()) if connected else None

    @property
    def connected(self) -> int:
        """How many peers were connected when they were last counted."""
        return self._peers.connected

    def count_peers(self) -> int:
        """How many peers are connected now."""
        if self._monitor is not None:
            while self._monitor.poll(0):
                told = self._monitor.recv_multipart()[0]  # event uint16, value uint32, native byte order
                self._peers.told(int.from_bytes(told[:2], sys.byteorder), int.from_bytes(told[2:6], sys.byteorder))
        return self._peers.connected

    def close(self, linger: float) -> None:
        """Let go of the socket; `linger` seconds are for what was sent and not yet taken. Again does nothing."""
        if self.socket.closed:
            return
        if self._monitor is not None:
            self.socket.disable_monitor()
            self._monitor.close(0)
        self.socket.close(round(linger * 1000))

    def _attach(self, endpoint: Endpoint) -> str:
        try:
            if not endpoint.bind:
                self.socket.connect(endpoint.address)
                return endpoint.address
            _check_unused(endpoint)
            self.socket.bind(endpoint.address)
        except zmq.ZMQError as error:
            raise ConfigError(_explain(self.role, endpoint, error)) from None
        return bytes(self.socket.getsockopt(zmq.LAST_ENDPOINT)).decode().rstrip("\0")

    def _watch(self) -> None:
        """Have libzmq tell of connections. The queue is unlimited: a full one would hold up libzmq's own thread."""
        address = f"inproc://monitor-{self.role}-{id(self)}"
        self.socket.monitor(address, WATCHED)
        self._monitor = self._context.socket(zmq.PAIR)
        self._monitor.rcvhwm = 0
        self._monitor.connect(address)


def open_ingest(context: zmq.Context[Any], endpoints: Sequence[Endpoint], marks: Marks) -> Door:
    """The SUB socket that samples come in on. It takes all topics, so that a wrong one is answered too."""
    door = Door(context, zmq.SUB, endpoints, "ingest")
    door.socket.rcvhwm = marks.received
    door.socket.setsockopt(zmq.MAXMSGSIZE, SLACK * marks.max_message)
    door.socket.subscribe(b"")
    return door


def open_outputs(context: zmq.Context[Any], endpoints: Sequence[Endpoint], marks: Marks) -> Door:
    """The PUB socket that everything goes out on."""
    door = Door(context, zmq.PUB, endpoints, "outputs")
    door.socket.sndhwm = marks.sent
    door.socket.setsockopt(zmq.MAXMSGSIZE, 1 << 16)  # subscriptions
    return door


def open_control(context: zmq.Context[Any], endpoints: Sequence[Endpoint], max_request: int) -> Door:
    """The ROUTER socket of requests and replies."""
    door = Door(context, zmq.ROUTER, endpoints, "control")
    door.socket.setsockopt(zmq.MAXMSGSIZE, SLACK * max_request)
    return door


def _check_unused(endpoint: Endpoint) -> None:
    """libzmq takes a Unix socket away from a daemon that is listening on it; two daemons shall not meet so."""
    if not endpoint.address.startswith("ipc://") or not hasattr(unix, "AF_UNIX"):
        return
    with unix.socket(unix.AF_UNIX, unix.SOCK_STREAM) as probe:
        try:
            probe.connect(endpoint.address.removeprefix("ipc://"))
        except OSError:
            return
    raise zmq.ZMQError(errno.EADDRINUSE)


def _explain(role: str, endpoint: Endpoint, error: zmq.ZMQError) -> str:
    verb = "bind" if endpoint.bind else "connect"
    if error.errno == errno.EADDRINUSE:
        remedy = f"another process uses it; stop that one, or choose another endpoint with --{role}"
    elif error.errno == errno.EACCES:
        remedy = f"this user may not; choose another endpoint with --{role}"
    elif error.errno in (errno.ENODEV, errno.EADDRNOTAVAIL):
        remedy = "no interface of this machine has that address"
    else:
        remedy = f"{error.strerror}; choose another endpoint with --{role}"
    return f"cannot {verb} {role} to {endpoint.address}: {remedy}"
