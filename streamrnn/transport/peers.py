"""How many peers are connected to a socket, from what libzmq's monitor tells of it."""

from __future__ import annotations

import zmq

__all__ = ["WATCHED", "Peers"]

_FAILED = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH

WATCHED = zmq.EVENT_ACCEPTED | zmq.EVENT_CONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | _FAILED
"""The events to ask the monitor for."""


class Peers:
    """Counts the connections whose handshake succeeded and that have not ended.

    Anything may open a TCP connection: a port scan, a browser, a load balancer's check. Those end with `DISCONNECTED`
    too, some after a `HANDSHAKE_FAILED` and some (what looks like ZMTP 1.0 and is not) without. A connection is known
    by its file descriptor, except where the handshake succeeds: that event names none. It is taken for the youngest
    connection that is still waiting, since a handshake takes a moment and strangers linger; should that one turn
    out to have failed, the next youngest is meant.

    >>> peers = Peers()
    >>> for event in ((zmq.EVENT_ACCEPTED, 7), (zmq.EVENT_HANDSHAKE_SUCCEEDED, 0), (zmq.EVENT_ACCEPTED, 8)):
    ...     peers.told(*event)
    >>> peers.told(zmq.EVENT_DISCONNECTED, 8)
    >>> peers.connected
    1
    """

    def __init__(self) -> None:
        self._waiting: dict[int, None] = {}
        self._known: set[int] = set()
        self._failed = False

    @property
    def connected(self) -> int:
        """How many there are."""
        return len(self._known)

    def told(self, event: int, value: int) -> None:
        """Take in the next event; `value` is the connection's file descriptor where the event has one."""
        if event in (zmq.EVENT_ACCEPTED, zmq.EVENT_CONNECTED):
            self._known.discard(value)
            self._waiting.pop(value, None)
            self._waiting[value] = None
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._admit()
        elif event == zmq.EVENT_DISCONNECTED:
            self._waiting.pop(value, None)
            if value in self._known:
                self._known.remove(value)
                if self._failed:  # so it was another one whose handshake succeeded
                    self._admit()
        self._failed = bool(event & _FAILED)

    def _admit(self) -> None:
        if self._waiting:
            self._known.add(self._waiting.popitem()[0])
