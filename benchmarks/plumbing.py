"""What a daemon is measured with: a relay, a source of samples and a sink for answers, in compiled code on libzmq.

Each runs in a process of its own (`python benchmarks/plumbing.py ROLE ...`, started by `wire.py`) and tells how far it
is in a file that others map into memory, so that nobody has to be asked while it is measured.

    relay INGEST OUTPUTS      receives on a SUB and resends on a PUB without looking: the floor of any daemon's cost
    source ENDPOINT           sends samples or blocks: as fast as they are taken, or at a rate, each at its own time
    sink ENDPOINT             receives everything, counts, and notes how old each answer is

The source is open-loop: a sample's `t` is the time at which it was due, whether or not it could be sent then; so a
daemon that stalls is charged for every sample that was due meanwhile. Where answers are awaited one by one instead, a
stall is counted once ("coordinated omission").
"""

from __future__ import annotations

import argparse
import ctypes
import sys
import time
from pathlib import Path

import msgpack
import numpy as np
import zmq

from streamrnn._jit import call_at, kernel
from streamrnn.frames import address_of
from streamrnn.transport.native import (
    REALTIME,
    Library,
    Messages,
    data,
    find_library,
    more,
    now,
    poll,
    receive,
    size,
)
from streamrnn.wire.messages import sample_topic
from streamrnn.wire.raw import put64, u8
from streamrnn.wire.reader import REFUSED, STR, head, integer, skip

# Places in the file that tells how far a process is; from AGES on stands a histogram of answers' ages.
RUNNING, STOP, COUNT, BYTES, BEHIND, SKIP, AGES = range(7)
FINE = 7
"""Bits of an age behind its first: buckets are less than one per cent wide."""
BUCKETS = 64 << FINE
BURST = 256


def board(path: Path, create: bool = False) -> np.ndarray:
    """The int64 numbers of that file."""
    if create:
        with path.open("wb") as file:
            file.truncate(8 * (AGES + BUCKETS))
    return np.asarray(np.memmap(path, np.int64, "r+"))


def _address(name: str) -> int:
    from zmq.backend.cython import _zmq

    return int(ctypes.cast(getattr(ctypes.CDLL(_zmq.__file__), name), ctypes.c_void_p).value or 0)


@kernel
def relay(library, items, ingest, outputs, msg_send, message, told):
    """Resend every frame, until told to stop."""
    while told[STOP] == 0:
        poll(library, address_of(items), 1, 100)
        for _ in range(BURST):
            n = receive(library, ingest, message)
            if n < 0:
                break
            flag = 2 if more(library, message) else 0  # ZMQ_SNDMORE
            call_at(msg_send, (message, outputs, flag))
            told[BYTES] += n
            if flag == 0:
                told[COUNT] += 1


@kernel
def source(library, socket, zmq_send, nanosleep, clock, topics, ends, bodies, t_at, seq_at, width, tick, each, told):
    """Send the bodies round and round, their times and numbers written in: `each` of them due every `tick` ns, or as
    fast as they are taken where tick is 0. `t_at` and `seq_at` are places in a body, -1 for none."""
    n = ends.shape[0] - 1
    began = now(library, REALTIME, address_of(clock))
    i = np.int64(0)
    sent = np.int64(0)
    while told[STOP] == 0:
        due = began + i // each * tick if tick > 0 else now(library, REALTIME, address_of(clock))
        if tick > 0:
            early = due - now(library, REALTIME, address_of(clock))
            if early > 0:
                if early > 60_000:  # a sleep ends some 50 us late
                    clock[0] = 0
                    clock[1] = early - 55_000
                    call_at(nanosleep, (address_of(clock), 0))
                continue
            told[BEHIND] = max(told[BEHIND], -early)
        k = i % n
        body = address_of(bodies) + k * width
        if t_at >= 0:
            put64(body + t_at, due)
        if seq_at >= 0:
            put64(body + seq_at, i // n)
        topic = address_of(topics) + ends[k]
        call_at(zmq_send, (socket, topic, ends[k + 1] - ends[k], 2))
        call_at(zmq_send, (socket, body, width, 0))
        sent += 1
        i += 1
        told[COUNT] = sent
        told[BYTES] += width


@kernel
def _time_in(p, end, stack):
    """The value of the key `t` of a map, or -1."""
    _, p, pairs = head(p, end)
    for _ in range(pairs):
        kind, at, n = head(p, end)
        if at == REFUSED:
            return np.int64(-1)
        if kind == STR and n == 1 and u8(at) == 0x74:
            return integer(at + 1, end)[1]
        stack[-1] = 1000
        p = skip(at + n, end, 8, stack)
        if p == REFUSED:
            return np.int64(-1)
    return np.int64(-1)


@kernel
def _bucket(age):
    """Its highest bit, and the FINE bits behind that one."""
    age = max(age, np.int64(1))
    high = np.int64(0)
    while age >> (high + 1):
        high += 1
    rest = age >> (high - FINE) if high >= FINE else age << (FINE - high)
    return (high << FINE) | (rest & ((1 << FINE) - 1))


def quantile(told: np.ndarray, q: float) -> float:
    """The q-th percentile of the ages, ns: the upper end of its bucket."""
    counts = np.cumsum(told[AGES:])
    k = int(np.searchsorted(counts, q / 100 * counts[-1]))
    return float((1 + ((k & ((1 << FINE) - 1)) + 1) / (1 << FINE)) * 2.0 ** (k >> FINE))


@kernel
def sink(library, items, socket, message, clock, stack, told):
    """Receive, count and note ages, until told to stop."""
    while told[STOP] == 0:
        poll(library, address_of(items), 1, 100)
        for _ in range(BURST):
            n = receive(library, socket, message)
            if n < 0:
                break
            if more(library, message):
                continue
            p = data(library, message)
            told[BYTES] += n
            if told[RUNNING] != 0 and told[COUNT] >= told[SKIP]:
                t = _time_in(p, p + size(library, message), stack)
                told[AGES + _bucket(now(library, REALTIME, address_of(clock)) - t)] += 1
            told[COUNT] += 1


def _items(socket: zmq.Socket[bytes]) -> np.ndarray:
    return np.array([socket.underlying, int(zmq.POLLIN) << 32], np.int64)


def run_relay(ingest: str, outputs: str, told: np.ndarray) -> None:
    context = zmq.Context()
    library = find_library()
    assert isinstance(library, Library), library
    receiving, sending = context.socket(zmq.SUB), context.socket(zmq.PUB)
    receiving.rcvhwm, sending.sndhwm = 2_000, 100_000  # a daemon's
    receiving.subscribe(b"")
    receiving.bind(ingest)
    sending.bind(outputs)
    messages = Messages(library, 1)
    items = _items(receiving)
    sockets = receiving.underlying, sending.underlying
    print("ready", flush=True)
    relay(library, items, *sockets, _address("zmq_msg_send"), messages.addresses[0], told)


def bodies_of(streams: int, n_in: int, rows: int) -> tuple[list[bytes], list[bytes], int, int]:
    """Topics and bodies, all of one length, and where in a body time and number stand (-1: nowhere)."""
    rng = np.random.default_rng(2)
    if rows == 1:
        x = rng.standard_normal((streams, n_in)).astype("<f4")
        big = 1 << 62  # nine bytes, to be written over
        topics = [sample_topic(f"ward{i // 16:03}/bed{i % 16:02}") for i in range(streams)]
        bodies = [msgpack.packb({"x": row.tobytes(), "t": big, "seq": big}) for row in x]
        t_at = bodies[0].index(b"\xa1t\xcf") + 3
        return topics, bodies, t_at, bodies[0].index(b"\xa3seq\xcf") + 5
    bodies = []
    for k in range(max(1, streams // rows)):
        ids = [f"ward{i // 16:03}/bed{i % 16:02}" for i in range(k * rows, (k + 1) * rows)]
        x = rng.standard_normal((rows, n_in)).astype("<f4")
        bodies.append(msgpack.packb({"ids": ids, "x": x.tobytes()}))
    return [b"block/"] * len(bodies), bodies, -1, -1


def run_source(endpoint: str, streams: int, n_in: int, rows: int, rate: float, told: np.ndarray) -> None:
    context = zmq.Context()
    library = find_library()
    assert isinstance(library, Library), library
    socket = context.socket(zmq.XPUB)
    socket.xpub_nodrop = True
    socket.linger = 0
    socket.connect(endpoint)
    topics, bodies, t_at, seq_at = bodies_of(streams, n_in, rows)
    flat = np.frombuffer(b"".join(topics), np.uint8).copy()
    ends = np.cumsum([0, *map(len, topics)], dtype=np.int64)
    arena = np.frombuffer(b"".join(bodies), np.uint8).copy()
    assert len(set(map(len, bodies))) == 1, "bodies differ in length"
    nanosleep = int(ctypes.cast(ctypes.CDLL(None).nanosleep, ctypes.c_void_p).value or 0)
    clock = np.zeros(2, np.int64)
    told[STOP] = 1  # compile
    arguments = library, socket.underlying, _address("zmq_send"), nanosleep, clock
    # Above 10,000 a second, a burst every millisecond: to wait for each sample would take a processor for itself.
    tick, each = (0, 1) if not rate else (round(1e9 / rate), 1) if rate < 10_000 else (1_000_000, round(rate / 1000))
    rest = flat, ends, arena, t_at, seq_at, len(bodies[0]), tick, each, told
    source(*arguments, *rest)
    told[:] = 0
    socket.recv()  # the subscription
    print("ready", flush=True)
    while told[RUNNING] == 0:
        time.sleep(0.001)
    source(*arguments, *rest)


def run_sink(endpoint: str, prefix: str, told: np.ndarray) -> None:
    context = zmq.Context()
    library = find_library()
    assert isinstance(library, Library), library
    socket = context.socket(zmq.SUB)
    socket.rcvhwm = 1_000_000
    socket.subscribe(prefix.encode())
    socket.connect(endpoint)
    messages, items = Messages(library, 1), _items(socket)
    clock, stack = np.zeros(2, np.int64), np.zeros(10, np.int64)
    told[STOP] = 1
    arguments = library, items, socket.underlying, messages.addresses[0], clock, stack, told
    sink(*arguments)
    told[STOP] = 0
    print("ready", flush=True)
    sink(*arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", choices=("relay", "source", "sink"))
    parser.add_argument("endpoints", nargs="+")
    parser.add_argument("--board", type=Path, required=True)
    parser.add_argument("--streams", type=int, default=256)
    parser.add_argument("--n-in", type=int, default=8)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--prefix", default="")
    options = parser.parse_args()
    told = board(options.board)
    if options.role == "relay":
        run_relay(*options.endpoints, told)
    elif options.role == "source":
        run_source(*options.endpoints, options.streams, options.n_in, options.rows, options.rate, told)
    else:
        run_sink(*options.endpoints, options.prefix, told)


if __name__ == "__main__":
    sys.exit(main())
