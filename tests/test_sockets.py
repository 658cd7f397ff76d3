"""The daemon's sockets: who is connected, whatever else knocks at the door."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
import zmq
from daemon_process import eventually

from streamrnn.transport.sockets import Door, Marks, open_ingest
from streamrnn.wire.endpoints import parse_endpoint

KNOCKS = [
    b"",
    b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
    b"\x16\x03\x01\x02\x00" + bytes(200),
    b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f",
    b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x01NULL" + bytes(16 + 32),
    b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x01NULL" + bytes(16 + 32) + b"\x04\x05WRONG",
    b"\x00" * 64,
    b"\x7f" * 64,
]


@pytest.fixture
def door() -> Iterator[Door]:
    context = zmq.Context()
    opened = open_ingest(context, [parse_endpoint("@tcp://127.0.0.1:*")], Marks(10, 10, 1 << 10))
    opened.attach()
    yield opened
    opened.close(0)
    context.destroy(0)


def knock(door: Door, said: bytes, stay: float = 0.05) -> None:
    """A TCP connection that says this, waits a little, and hangs up."""
    host, port = door.addresses[0].removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port)), 10) as peer:
        peer.sendall(said)
        peer.settimeout(stay)
        end = time.monotonic() + stay
        while time.monotonic() < end:
            try:
                if not peer.recv(1 << 12):
                    break
            except (TimeoutError, ConnectionResetError):
                break


def publishers(door: Door, n: int) -> list[zmq.Socket[bytes]]:
    """So many publishers, connected."""
    opened = []
    for _ in range(n):
        publisher = door._context.socket(zmq.PUB)
        publisher.linger = 0
        publisher.connect(door.addresses[0])
        opened.append(publisher)
    return opened


def settles(door: Door, n: int) -> None:
    """The count comes to `n`, and stays there for as long as stragglers may take."""
    eventually(lambda: door.count_peers() == n, what=f"a count of {n}")
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        assert door.count_peers() == n
        time.sleep(0.02)


@pytest.mark.parametrize("said", KNOCKS)
def test_what_is_no_zeromq_counts_for_nothing(door: Door, said: bytes) -> None:
    knock(door, said)
    settles(door, 0)
    (one, two) = publishers(door, 2)
    settles(door, 2)
    knock(door, said)
    settles(door, 2)
    one.close()
    settles(door, 1)
    two.close()
    settles(door, 0)


def test_a_silent_stranger_is_not_taken_for_the_publisher_that_came_after_it(door: Door) -> None:
    host, port = door.addresses[0].removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port)), 10):
        (before,) = publishers(door, 1)
        settles(door, 1)
        with socket.create_connection((host, int(port)), 10):
            pass
        settles(door, 1)
        (after,) = publishers(door, 1)
        settles(door, 2)
        before.close()
        settles(door, 1)
    settles(door, 1)
    after.close()
    settles(door, 0)
