"""Where sockets meet: endpoint strings in CZMQ's manner, and the default ports.

`@tcp://…` binds, `>tcp://…` connects, and no sign means what is usual for the role: the daemon binds, clients
connect. http://czmq.zeromq.org/manual:zsock (zsock_attach).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import ConfigError

__all__ = ["CONTROL", "INGEST", "OUTPUTS", "Endpoint", "parse_endpoint"]

INGEST = "tcp://127.0.0.1:5590"
OUTPUTS = "tcp://127.0.0.1:5591"
CONTROL = "tcp://127.0.0.1:5592"

_TCP = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%*]+\]|[^\[\]:/@>\s]+):(?P<port>\d{1,5}|\*)")
_IPC_PATH = 107
"""Longest path of a Unix socket in bytes (sun_path without its final zero)."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A ZeroMQ address, and whether to bind or to connect it."""

    address: str
    bind: bool

    def __str__(self) -> str:
        return f"{'@' if self.bind else '>'}{self.address}"


def parse_endpoint(text: str, bind: bool = False) -> Endpoint:
    """The endpoint that `text` names; `bind` is for text without a sign. ConfigError says what is wrong
    with it.

    >>> parse_endpoint("@tcp://127.0.0.1:5590")
    Endpoint(address='tcp://127.0.0.1:5590', bind=True)
    """
    address = text.strip()
    if address[:1] in ("@", ">"):
        bind = address[0] == "@"
        address = address[1:]
    scheme, separator, rest = address.partition("://")
    if not separator or scheme not in ("tcp", "ipc", "inproc") or not rest:
        raise ConfigError(f"endpoint {text!r} is not tcp://HOST:PORT, ipc://PATH or inproc://NAME")
    if scheme == "tcp":
        _check_tcp(text, rest, bind)
    elif scheme == "ipc" and len(rest.encode()) > _IPC_PATH:
        raise ConfigError(f"endpoint {text!r}: a socket's path has at most {_IPC_PATH} bytes, choose a shorter one")
    return Endpoint(address, bind)


def _check_tcp(text: str, rest: str, bind: bool) -> None:
    match = _TCP.fullmatch(rest)
    if match is None:
        raise ConfigError(f"endpoint {text!r} is not tcp://HOST:PORT (an IPv6 host goes in brackets)")
    host, port = match["host"], match["port"]
    if port != "*" and int(port) > 65_535:
        raise ConfigError(f"endpoint {text!r}: port {port} is above 65535")
    if not bind and (host == "*" or port == "*" or int(port) == 0):
        raise ConfigError(f"endpoint {text!r}: only a bound endpoint may leave host or port open; name both, or use @")
