"""libzmq, the clock and a short sleep from compiled code.

pyzmq has loaded a libzmq; its functions are looked up by name in that very library, and their addresses travel to
compiled code as data. So compiled code can be cached, and holds no name that a loader would have to resolve. A message
is a `zmq_msg_t`, 64 bytes that stay where they are and are used again; receiving into one lets go of what it held.
"""

from __future__ import annotations

import ctypes
import errno
import sys
import time
from typing import NamedTuple

import numpy as np
import zmq

from .._jit import call_at, fused, kernel
from ..frames import address_of
from ..wire.raw import native64

__all__ = [
    "AGAIN",
    "BROKEN",
    "INTERRUPTED",
    "MONOTONIC",
    "REALTIME",
    "Library",
    "Messages",
    "data",
    "find_library",
    "more",
    "now",
    "pause",
    "poll",
    "receive",
    "send",
    "size",
]

MESSAGE = 64
"""Bytes of a `zmq_msg_t`; fixed since ZeroMQ 4."""

AGAIN, INTERRUPTED, BROKEN = -1, -2, -3
"""Nothing waits; a signal came; the socket or its context is gone."""

REALTIME, MONOTONIC = int(time.CLOCK_REALTIME), int(time.CLOCK_MONOTONIC)

_EAGAIN, _EINTR = errno.EAGAIN, errno.EINTR
_NOBLOCK = int(zmq.NOBLOCK)


class Library(NamedTuple):
    """Addresses of the C functions, int64."""

    msg_init: int
    msg_recv: int
    msg_data: int
    msg_size: int
    msg_more: int
    send: int
    poll: int
    errno: int
    clock_gettime: int
    nanosleep: int


def find_library() -> Library | str:
    """The functions of the libzmq that pyzmq uses, or why they cannot be had."""
    if sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return "this machine is not a little-endian one of 64 bits"
    try:
        from zmq.backend.cython import _zmq  # noqa: PLC0415 - another backend has no such module

        loaded = ctypes.CDLL(_zmq.__file__)  # a look-up goes on to the libraries that it was linked with
        version = [ctypes.c_int() for _ in range(3)]
        loaded.zmq_version(*map(ctypes.byref, version))
        if tuple(v.value for v in version) != zmq.zmq_version_info():
            return "another libzmq was found than the one that pyzmq uses"
        names = [f"zmq_{name}" for name in Library._fields[:-2]]
        system = ctypes.CDLL(None)
        functions = [getattr(loaded, name) for name in names] + [system.clock_gettime, system.nanosleep]
    except (ImportError, OSError, AttributeError) as error:
        return f"the libzmq that pyzmq uses was not found: {error}"
    return Library(*(ctypes.cast(f, ctypes.c_void_p).value or 0 for f in functions))


class Messages:
    """So many `zmq_msg_t`, initialised; `addresses` are where they are."""

    def __init__(self, library: Library, n: int) -> None:
        self._memory = np.zeros(n * MESSAGE + MESSAGE, np.uint8)
        first = self._memory.ctypes.data
        first += -first % MESSAGE
        self.addresses = [first + k * MESSAGE for k in range(n)]
        init = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(library.msg_init)
        for address in self.addresses:
            init(address)


@fused
def _c_int(value):
    """A C int from what `call_at` gives."""
    return np.int64(np.int32(value))


@kernel
def _failure(library):
    number = _c_int(call_at(library.errno, ()))
    return AGAIN if number == _EAGAIN else (INTERRUPTED if number == _EINTR else BROKEN)


@kernel
def receive(library, socket, message):
    """Receive a frame into a message without waiting; its size, or AGAIN or BROKEN."""
    while True:
        n = _c_int(call_at(library.msg_recv, (message, socket, _NOBLOCK)))
        if n >= 0:
            return n
        why = _failure(library)
        if why != INTERRUPTED:
            return why


@fused
def data(library, message):
    """The address of a message's bytes."""
    return call_at(library.msg_data, (message,))


@fused
def size(library, message):
    """How many bytes a message holds."""
    return call_at(library.msg_size, (message,))


@fused
def more(library, message):
    """Whether another frame follows."""
    return _c_int(call_at(library.msg_more, (message,))) != 0


@kernel
def send(library, socket, address, n, flags):
    """Send n bytes as a frame; 0, or BROKEN. On a PUB socket this never waits."""
    while True:
        if _c_int(call_at(library.send, (socket, address, n, flags))) >= 0:
            return 0
        why = _failure(library)
        if why != INTERRUPTED:
            return BROKEN


@kernel
def poll(library, items, n, wait_ms):
    """Wait until one of n `zmq_pollitem_t` at an address is ready; how many are, or INTERRUPTED or BROKEN."""
    ready = _c_int(call_at(library.poll, (items, n, wait_ms)))
    return ready if ready >= 0 else _failure(library)


@kernel
def now(library, clock, scratch):
    """A clock's time in ns; scratch int64 (2,), by its address, receives the C structure."""
    call_at(library.clock_gettime, (clock, scratch))
    return native64(scratch) * 1_000_000_000 + native64(scratch + 8)


@kernel
def pause(library, ns, scratch):
    """Sleep for less than a second; scratch int64 (2,) is the C structure. A signal ends it early."""
    scratch[0] = 0
    scratch[1] = ns
    call_at(library.nanosleep, (address_of(scratch), 0))
