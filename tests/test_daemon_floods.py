"""Floods of large messages: control keeps its turn, and the end comes in time, whatever still waits."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import msgpack
import numpy as np
import pytest
import zmq
from daemon_process import DaemonProcess, eventually, raw_publisher

ROWS = 32_768
BLOCK = msgpack.packb({"ids": [f"s{i % 100}" for i in range(ROWS)], "x": np.ones((ROWS, 4), "<f4").tobytes()})
SKIPPED = msgpack.packb({"z": [None] * 983_040})
NESTED = msgpack.packb({"x": [1.0], "z": [[None] * 100] * 5_000})


@pytest.mark.parametrize("path", ["compiled", "pyzmq"])
@pytest.mark.parametrize(
    ("frames", "n"), [([b"block/", BLOCK], 120), ([b"in/a/", SKIPPED], 60), ([b"in/a/", NESTED], 60)]
)
def test_a_flood_of_large_messages(path, frames, n):
    with DaemonProcess(f"--data-path={path}") as process, zmq.Context() as context:
        socket = raw_publisher(context, process.ingest)
        for _ in range(n):
            socket.send_multipart(frames)
        eventually(lambda: process.counters["messages"] > 0, 10, "a beginning")
        began = time.monotonic()
        process.ask("ping")
        assert time.monotonic() - began < 1.0
        began = time.monotonic()
        process.signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert time.monotonic() - began < 5.0
        socket.close(0)
        stopped = process.lines("stopped")[0]
    settled = stopped.get("blocks", 0) + sum(stopped.get("rejected", {}).values()) + stopped.get("discarded", 0)
    assert 0 < stopped["messages"] <= settled, "every message that was read is accounted for"


BUSY = """
import sys, threading
from numba import njit
from streamrnn.daemon.signals import Signals, Waker

@njit(nogil=True)
def busy(n):
    total = 0.0
    for i in range(n):
        total = (total + i) % 7.0
    return total

busy(1)
with Signals(Waker(), lambda name: None):
    print("busy", flush=True)
    busy(20_000_000_000)
"""


@pytest.mark.parametrize(
    ("numbers", "status"), [([signal.SIGINT, signal.SIGINT], 130), ([signal.SIGINT, signal.SIGTERM], 143)]
)
def test_a_second_signal_ends_a_process_that_is_in_compiled_code(numbers, status):
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "busy\n"
            time.sleep(0.1)  # it shall be in compiled code by then; sooner would test less, not fail
            began = time.monotonic()
            process.send_signal(numbers[0])
            time.sleep(0.05)
            assert process.poll() is None, "the first signal does not end it"
            process.send_signal(numbers[1])
            assert process.wait(10) == status
            assert time.monotonic() - began < 2.0
        finally:
            process.kill()
