"""The end of a daemon: everything received is answered, and nothing holds it up."""

import signal
import socket
import tempfile
import time

import numpy as np
import pytest
import zmq
from daemon_process import DaemonProcess, eventually, flooding, raw_publisher, until

from streamrnn.client import Control, Event, Publisher, Subscriber
from streamrnn.errors import Timeout
from streamrnn.wire.messages import encode_sample


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_everything_received_is_answered_before_the_end(number):
    n = 20_000
    with DaemonProcess("--n-in=2", "--receive-queue=100000") as process, zmq.Context() as context:
        with Subscriber(process.outputs, ["out/", "event/daemon/"], timeout=10) as subscriber:
            subscriber.wait()
            socket = raw_publisher(context, process.ingest)
            bodies = [encode_sample([float(i % 7), 1.0], seq=i) for i in range(n)]
            for body in bodies:
                socket.send_multipart([b"in/bed1/", body])
            process.signal(number)
            began = time.monotonic()
            messages = until(subscriber, lambda m: isinstance(m, Event) and m.data["state"] == "stopping")
            assert process.wait() == 0
            assert time.monotonic() - began < 5
            socket.close(0)
        answered = [m.seq for m in messages if not isinstance(m, Event)]
        assert answered == list(range(len(answered)))
        stopped = process.lines("stopped")[0]
    assert stopped["reason"] == signal.Signals(number).name
    assert stopped["messages"] == stopped["accepted"] == len(answered)


def test_what_waits_in_the_queue_is_answered():
    """A slow model, so that nearly everything still waits when the signal comes; it arrived long before."""
    n = 300
    flags = ["--n-in=2", "--hidden=700", "--capacity=10", "--drain-timeout=60", "--burst=1"]
    with DaemonProcess(*flags) as process:
        with Publisher(process.ingest) as publisher:
            for i in range(n):
                publisher.send("bed1", [1.0, float(i)])
        eventually(lambda: process.counters["accepted"] >= 30, 60, "a beginning")
        process.signal(signal.SIGTERM)
        assert process.wait(60) == 0
        (begun,), (stopped,) = process.lines("stopping"), process.lines("stopped")
    assert begun["messages"] < n, "the model is too quick for this test"
    assert stopped["accepted"] == n


def test_what_there_was_no_time_to_answer_is_counted():
    flags = [
        "--n-in=2",
        "--hidden=1000",
        "--capacity=10",
        "--drain-timeout=0.2",
        "--receive-queue=1000000",
        "--burst=1",
    ]
    n = 20_000
    with DaemonProcess(*flags) as process, Publisher(process.ingest) as publisher:
        publisher.send("bed1", [1.0, 2.0])
        eventually(lambda: process.counters["accepted"] == 1, what="the first answer")
        for _ in range(n):
            publisher.send("bed1", [1.0, 2.0])
        process.signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait() == 0
        assert time.monotonic() - began < 2
        stopped, discarded = process.lines("stopped")[0], process.lines("discarded")[0]
    assert discarded["messages"] == stopped["discarded"] > 0
    assert stopped["messages"] == stopped["accepted"] + stopped["discarded"]


def test_a_slow_subscriber_does_not_hold_up_the_end():
    with DaemonProcess("--n-in=2") as process, zmq.Context() as context:
        slow = context.socket(zmq.SUB)
        slow.rcvhwm = 1
        slow.subscribe(b"")
        slow.connect(process.outputs)
        eventually(lambda: process.ask("info")["subscribers"] == 1, what="the subscription")
        X = np.zeros((100_000, 2), np.float32)
        with Publisher(process.ingest, linger=0) as publisher:
            publisher.send_block("bed1", X)
            for i in range(30_000):
                publisher.send("bed2", [1.0, float(i)])
            process.signal(signal.SIGTERM)
            began = time.monotonic()
            assert process.wait() == 0
            assert time.monotonic() - began < 5.5
        slow.close(0)


def test_publishers_that_go_on_sending_do_not_hold_up_the_end():
    with DaemonProcess("--n-in=2") as process, flooding(process.ingest, [b"in/flood/", encode_sample([1.0, 2.0])]):
        eventually(lambda: process.counters["accepted"] > 1000, what="flow")
        process.signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait() == 0
        assert time.monotonic() - began < 5


def test_a_connected_ingest_endpoint_is_drained_too(tmp_path):
    """With `>` the publisher binds; what it had sent before the signal is answered."""
    with zmq.Context() as context:
        socket = context.socket(zmq.XPUB)
        socket.bind(f"ipc://{tmp_path}/feed")
        process = DaemonProcess("--n-in=1")
        process.ingest = f">ipc://{tmp_path}/feed"
        with process:
            assert socket.poll(10_000)
            socket.recv()
            for i in range(1000):
                socket.send_multipart([b"in/bed1/", encode_sample([1.0], seq=i)])
            eventually(lambda: process.counters["accepted"] == 1000, what="arrival")
            process.signal(signal.SIGTERM)
            assert process.wait() == 0
        socket.close(0)


def test_a_second_signal_ends_at_once():
    flags = ["--n-in=2", "--drain-timeout=60", "--receive-queue=1000000"]
    with DaemonProcess(*flags) as process, zmq.Context() as context:
        slow = context.socket(zmq.SUB)
        slow.rcvhwm = 1
        slow.subscribe(b"")
        slow.connect(process.outputs)
        eventually(lambda: process.ask("info")["subscribers"] == 1, what="the subscription")
        with Publisher(process.ingest, linger=0) as publisher:
            for i in range(60_000):
                publisher.send("bed2", [1.0, float(i)])
            process.signal(signal.SIGTERM)
            eventually(lambda: process.lines("stopping"), what="stopping")
            process.signal(signal.SIGTERM)
            assert process.wait(2) == 128 + signal.SIGTERM
        slow.close(0)


def test_the_service_manager_is_told():
    with (
        tempfile.TemporaryDirectory(prefix="srnn-") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told,
    ):
        told.bind(f"{folder}/notify")
        told.settimeout(10)
        with DaemonProcess("--n-in=1", env={"NOTIFY_SOCKET": f"{folder}/notify"}) as process:
            assert told.recv(100) == b"READY=1"
            assert process.stop() == 0
            assert told.recv(100) == b"STOPPING=1"


def test_nobody_answers_after_the_end():
    with DaemonProcess("--n-in=1") as process:
        endpoint = process.control
        assert process.stop() == 0
        with Control(endpoint, timeout=0.2, retries=0) as control, pytest.raises(Timeout):
            control.ping()
