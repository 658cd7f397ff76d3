"""A GPU that fails: what was answered before stays right, nothing is answered after, and a daemon says so and ends."""

from __future__ import annotations

from pathlib import Path

import pytest
import zmq
from daemon_process import DaemonProcess, raw_publisher, until
from failing import REASON, Failing
from hypothesis import given, settings
from hypothesis import strategies as st
from pumps import PATHS, Bench, timeless
from traffic import traffic

from streamrnn.client import Control, Event, Subscriber
from streamrnn.daemon.server import DEVICE_FAILED
from streamrnn.engine import Engine
from streamrnn.errors import DeviceError, StreamRNNError
from streamrnn.model import Model
from streamrnn.transport.fleet import Fleet
from streamrnn.wire.messages import Limits, encode_sample, sample_topic

LSTM = Model.random(cell="lstm", n_in=2, hidden=8, n_out=3, seed=1)
LIMITS = Limits(max_message=3000, max_width=8, max_block=40, max_depth=4, max_skipped=30)
PROGRAM = str(Path(__file__).with_name("failing.py"))


def failing(rows):
    def make(n_in):
        engine = Failing(LSTM, 4)
        engine._left = rows
        return engine

    return Fleet(make, 2, 8)


def published(fleet, messages, path):
    """What is published until all is answered or the GPU fails, whether it did, and the bench's counters after that."""
    with zmq.Context() as context:
        bench = Bench(context, fleet, path=path, limits=LIMITS)
        try:
            for frames in messages:
                bench.send(*frames)
            failed = False
            try:
                while bench.pump.burst() or bench.pump.pending or bench.ingest.poll(0):
                    continue
            except DeviceError as error:
                assert str(error) == REASON
                failed = True
                bench.pump.discard(5.0)
                assert not bench.pump.pending
            return [timeless(frames) for frames in bench.published()], failed, bench.counters
        finally:
            bench.close()


@pytest.mark.parametrize("path", PATHS)
@given(traffic(), st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_what_was_published_before_is_what_would_have_been(path, messages, rows):
    whole, failed, _ = published(Fleet(lambda n_in: Engine(LSTM, 4), 2, 8), messages, path)
    assert not failed
    found, failed, _ = published(failing(rows), messages, path)
    assert without_clock(found) == without_clock(whole[: len(found)])
    assert failed or len(found) == len(whole)


def without_clock(frames):
    return [(topic, b"" if b" ahead" in body else body) for topic, body in frames]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 25])
def test_every_message_is_answered_or_refused_or_counted(path, rows):
    messages = []
    for i in range(40):
        body = b"no map" if i % 7 == 3 else encode_sample([1.0, float(i)], seq=i - (i % 11 == 5), session="a")
        messages.append((sample_topic(f"s{i % 3}"), body))
    _, failed, counters = published(failing(rows), messages, path)
    assert failed
    settled = counters.accepted + counters.late + counters.duplicate + sum(counters.rejected.values())
    assert counters.messages - settled >= 1
    assert settled + counters.discarded == len(messages)
    assert counters.accepted <= rows


@pytest.mark.parametrize("path", PATHS)
def test_a_block_in_which_it_fails_is_not_answered(path):
    with zmq.Context() as context:
        bench = Bench(context, failing(20), path=path)
        bench.block(["a", "b", "c"], [[1.0, 2.0]] * 3)
        bench.block([f"s{i % 3}" for i in range(30)], [[1.0, 2.0]] * 30)
        with pytest.raises(DeviceError):
            bench.raw()
        kinds = [topic.split(b"/")[0] for topic, _ in bench.published()]
        assert kinds.count(b"block") == 1
        assert bench.pump.discard(1.0) == 1
        bench.close()


# In a daemon


@pytest.mark.parametrize("path", PATHS)
def test_a_daemon_whose_gpu_fails_says_so_and_ends(path):
    flags = ["--n-in=2", "--hidden=8", f"--data-path={path}"]
    with DaemonProcess(*flags, program=(PROGRAM, "300")) as process, zmq.Context() as context:
        with Subscriber(process.outputs, ["out/", "event/"], timeout=20) as subscriber:
            subscriber.wait()
            socket = raw_publisher(context, process.ingest)
            for i in range(2000):
                socket.send_multipart([sample_topic(f"bed{i % 5}"), encode_sample([1.0, float(i)])])
            messages = until(subscriber, lambda m: isinstance(m, Event) and m.data.get("state") == "stopping")
            socket.close(0)
        assert process.wait() == DEVICE_FAILED == 1
    failed, stopping = messages[-2:]
    assert failed.kind == "daemon"
    assert (failed.data["state"], failed.data["code"], failed.data["reason"]) == ("failed", "device_error", REASON)
    assert stopping.data["reason"] == "device_error"
    answered = sum(not isinstance(m, Event) for m in messages)
    (line,) = process.lines("device_failed")
    assert (line["level"], line["reason"], line["engines"]) == ("error", REASON, [{"n_in": 2, "streams": 5}])
    (stopped,) = process.lines("stopped")
    assert stopped["reason"] == "device_error"
    assert answered == stopped["accepted"] < 300
    assert stopped["messages"] == stopped["accepted"] + stopped["discarded"]


def test_a_request_that_meets_a_failed_gpu_is_told_and_the_daemon_ends():
    with DaemonProcess("--n-in=2", "--hidden=8", program=(PROGRAM, "300")) as process, zmq.Context() as context:
        socket = raw_publisher(context, process.ingest)
        with Subscriber(process.outputs, ["out/"], timeout=20) as subscriber:
            subscriber.wait()
            socket.send_multipart([sample_topic("cursed"), encode_sample([1.0, 2.0])])
            next(iter(subscriber))
        socket.close(0)
        with Control(process.control, timeout=10, retries=0) as control, pytest.raises(StreamRNNError, match=REASON):
            control.ask("stream", stream="cursed")
        assert process.wait() == DEVICE_FAILED
        assert process.lines("device_failed")


def test_a_gpu_that_fails_at_a_new_width_is_not_a_wrong_width():
    def make(n_in):
        raise DeviceError("the GPU does not answer")

    with pytest.raises(DeviceError, match="does not answer"):
        Fleet(make, None, 8).lane(3)
