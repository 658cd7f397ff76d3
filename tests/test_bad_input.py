"""Attack one running daemon through real sockets: it answers, counts, and no stream's state is touched."""

import os
import time

import msgpack
import numpy as np
import pytest
import zmq
from daemon_process import DaemonProcess, eventually, raw_publisher
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamrnn.client import Control, Event, Output, Subscriber
from streamrnn.engine import Engine
from streamrnn.model import Model
from streamrnn.wire.messages import encode_sample

CODES = {"bad_topic", "bad_id", "malformed", "too_large", "wrong_width", "not_finite", "bad_time"}
CAPACITY = 64


class Target:
    """A daemon under attack, beside an engine of the same model that is fed only what is right."""

    def __init__(self, context, process):
        self.process = process
        self.control = Control(process.control, timeout=20)
        self.attack = raw_publisher(context, process.ingest)
        self.outputs = Subscriber(process.outputs, ["out/probe/", "event/rejected/"], timeout=20)
        self.outputs.wait()
        self.engine = Engine(Model.adaptive(2, hidden=16, features=["a", "b"]))
        self.sent = 0

    def close(self):
        self.attack.close(0)
        self.control.close()
        self.outputs.close()

    def send(self, *frames):
        self.attack.send_multipart(frames)

    def send_probe(self):
        """Send the probe stream's next sample; returns its number and what the engine makes of it."""
        x = np.array([np.sin(self.sent), self.sent % 5], np.float32)
        self.send(b"in/probe/", encode_sample(x, t=1000 + self.sent, seq=self.sent))
        self.sent += 1
        return self.sent - 1, self.engine.step("probe", x, t=1000 + self.sent - 1)

    def receive_probe(self, answer):
        """The next output has the engine's bits: whatever came before did not touch the probe's state."""
        seq, expected = answer
        rejected = []
        for message in self.outputs:
            if isinstance(message, Output):
                break
            rejected.append(message)
        assert np.array(message.y, np.float32).tobytes() == expected.y.tobytes()
        assert np.float32(message.score) == expected.score
        assert (message.n, message.seq) == (expected.n, seq)
        assert self.process.process.poll() is None
        return rejected

    def probe(self):
        """One sample of the probe stream, there and back; returns the refusals that were published before it."""
        return self.receive_probe(self.send_probe())

    def counters(self):
        return self.control.info()["counters"]

    def refused(self, send):
        """How the counters of refusals changed while `send` ran, with the events that told of it."""
        before = self.counters()
        send()
        events = self.probe()
        after = self.counters()
        counts = {code: n - before["rejected"].get(code, 0) for code, n in after["rejected"].items()}
        return {code: n for code, n in counts.items() if n}, events


@pytest.fixture(scope="module")
def target():
    flags = ["--features=a,b", "--hidden=16", f"--capacity={CAPACITY}", "--event-rate=1000000", "--event-burst=1000000"]
    with DaemonProcess(*flags) as process, zmq.Context() as context:
        found = Target(context, process)
        found.probe()
        yield found
        found.close()


def deep(levels):
    return b"\x91" * levels + b"\xc0"


GOOD = msgpack.packb({"x": [1.0, 2.0]})

ATTACKS = {
    "no topic": ([b"", GOOD], "bad_topic"),
    "topic without a stream": ([b"in/", GOOD], "bad_topic"),
    "topic with an empty stream": ([b"in//", GOOD], "bad_id"),
    "topic of another kind": ([b"out/probe/", GOOD], "bad_topic"),
    "topic without its end": ([b"in/probe", GOOD], "bad_topic"),
    "topic that is not UTF-8": ([b"in/\xff\xfe/", GOOD], "bad_id"),
    "topic with a control character": ([b"in/a\nb/", GOOD], "bad_id"),
    "id too long": ([b"in/" + b"x" * 201 + b"/", GOOD], "bad_id"),
    "one frame": ([b"in/probe/"], "malformed"),
    "three frames": ([b"in/probe/", GOOD, b""], "malformed"),
    "thousands of frames": ([b"in/probe/", *[b"x"] * 5000], "malformed"),
    "empty body": ([b"in/probe/", b""], "malformed"),
    "a body that is no map": ([b"in/probe/", msgpack.packb([1, 2])], "malformed"),
    "a truncated body": ([b"in/probe/", GOOD[:-3]], "malformed"),
    "bytes after the body": ([b"in/probe/", GOOD + b"\xc0"], "malformed"),
    "a map of 4 billion entries": ([b"in/probe/", b"\xdf\xff\xff\xff\xff"], "malformed"),
    "an array of 4 billion values": ([b"in/probe/", b"\x81\xa1x\xdd\xff\xff\xff\xff"], {"malformed", "wrong_width"}),
    "a bin of 4 gigabytes": ([b"in/probe/", b"\x81\xa1x\xc6\xff\xff\xff\xff"], "malformed"),
    "a str of 4 gigabytes": ([b"in/probe/", b"\x81\xdb\xff\xff\xff\xff"], "malformed"),
    "nested 100,000 deep": ([b"in/probe/", b"\x81\xa1z" + deep(100_000)], "malformed"),
    "x nested deep": ([b"in/probe/", b"\x81\xa1x" + deep(1000)], "malformed"),
    "x of text": ([b"in/probe/", msgpack.packb({"x": ["a", "b"]})], "malformed"),
    "x of bools": ([b"in/probe/", msgpack.packb({"x": [True, False]})], "malformed"),
    "x too short": ([b"in/probe/", msgpack.packb({"x": [1.0]})], "wrong_width"),
    "x too long": ([b"in/probe/", msgpack.packb({"x": [1.0] * 3})], "wrong_width"),
    "x empty": ([b"in/probe/", msgpack.packb({"x": []})], "wrong_width"),
    "x far too long": ([b"in/probe/", msgpack.packb({"x": [1.0] * 100_000})], "wrong_width"),
    "an infinity": ([b"in/probe/", msgpack.packb({"x": [1.0, float("inf")]})], "not_finite"),
    "an infinity in float32": ([b"in/probe/", msgpack.packb({"x": [1.0, -1e300]})], "not_finite"),
    "a time before the last": ([b"in/probe/", encode_sample([1.0, 2.0], t=1)], "bad_time"),
    "a time in the far future": ([b"in/probe/", encode_sample([1.0, 2.0], t=(1 << 63) - 1)], "bad_time"),
    "a time beyond int64": ([b"in/probe/", msgpack.packb({"x": [1.0, 2.0], "t": (1 << 64) - 1})], "bad_time"),
    "a time of text": ([b"in/probe/", msgpack.packb({"x": [1.0, 2.0], "t": "now"})], "bad_time"),
    "a seq below zero": ([b"in/probe/", msgpack.packb({"x": [1.0, 2.0], "seq": -1})], "malformed"),
    "a session too long": ([b"in/probe/", msgpack.packb({"x": [1.0, 2.0], "session": "s" * 65})], "malformed"),
    "a message above the limit": ([b"in/probe/", bytes(1 << 20)], "too_large"),
    "a block without rows": ([b"block/", msgpack.packb({"ids": [], "x": b""})], "malformed"),
    "a block that disagrees": ([b"block/", msgpack.packb({"ids": ["probe"] * 3, "x": bytes(8)})], "malformed"),
    "a block of another width": ([b"block/", msgpack.packb({"ids": ["probe"], "x": bytes(12)})], "wrong_width"),
    "a block with an infinity": (
        [b"block/", msgpack.packb({"ids": ["probe"], "x": np.array([1, np.inf], np.float32).tobytes()})],
        "not_finite",
    ),
    "a block of too many rows": (
        [b"block/", msgpack.packb({"ids": "probe", "n": 70_000, "x": bytes(560_000)})],
        "too_large",
    ),
    "a block with a bad id": ([b"block/", msgpack.packb({"ids": ["a\0b"], "x": bytes(8)})], "bad_id"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_each_attack_is_refused_by_its_code(target, name):
    frames, code = ATTACKS[name]
    counts, events = target.refused(lambda: target.send(*frames))
    assert len(counts) == 1
    assert sum(counts.values()) == 1
    assert set(counts) <= ({code} if isinstance(code, str) else code)
    (event,) = events
    assert event.data["code"] in counts
    assert 0 < len(event.data["reason"]) <= 300
    assert "\n" not in event.data["reason"]


known_keys = st.sampled_from(["x", "t", "seq", "session", "reset", "ids", "n"])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=16),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(known_keys, st.integers(0, 9)), inner, max_size=3)
    ),
    max_leaves=8,
)
bodies = st.one_of(
    st.binary(max_size=64),
    st.dictionaries(known_keys, values, max_size=5).map(msgpack.packb),
    st.tuples(st.dictionaries(known_keys, values, max_size=5).map(msgpack.packb), st.integers(0, 40)).map(
        lambda pair: pair[0][: -pair[1]] if pair[1] else pair[0]
    ),
)
topics = st.one_of(st.sampled_from([b"in/fuzz/", b"block/", b"in/fuzz", b"in//", b"event/x/"]), st.binary(max_size=12))
frames = st.one_of(st.tuples(topics, bodies), st.lists(st.binary(max_size=20), min_size=1, max_size=4).map(tuple))


@given(st.lists(frames, min_size=1, max_size=20))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_that_is_sent_ends_the_daemon_or_reaches_another_stream(target, messages):
    before = target.counters()
    for message in messages:
        if b"probe" not in b"".join(message):
            target.send(*message)
    sent = sum(b"probe" not in b"".join(m) for m in messages)
    events = target.probe()
    after = target.counters()
    assert after["messages"] - before["messages"] == sent + 1
    assert {e.data["code"] for e in events} <= CODES
    refused = sum(after["rejected"].values()) - sum(before["rejected"].values())
    assert refused == len(events)
    whole = sum("rows" not in e.data for e in events)
    taken = sum(after[k] - before[k] for k in ("accepted", "late", "duplicate"))
    # Every message is answered: by a refusal, or by at least one row that was settled.
    assert whole + taken >= sent


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_control_answers_any_bytes(target, body):
    with zmq.Context() as context:
        dealer = context.socket(zmq.DEALER)
        dealer.linger = 0
        dealer.connect(target.process.control)
        dealer.send(body)
        assert dealer.poll(10_000)
        assert "ok" in msgpack.unpackb(dealer.recv_multipart()[-1])
        dealer.close()


def test_a_message_far_above_the_limit_loses_only_its_sender(target):
    with zmq.Context() as context:
        huge = raw_publisher(context, target.process.ingest)
        huge.send_multipart([b"in/probe/", bytes(9 << 20)])
        assert target.refused(lambda: None) == ({}, [])
        huge.close(0)
    assert target.probe() == []


def test_ten_thousand_new_ids_a_second_against_a_small_capacity(target):
    """The probe is kept alive by its own samples, which nobody waits for; everybody else comes and goes."""
    new, rate = 20_000, 10_000
    before = target.counters()
    body = encode_sample([1.0, 2.0])
    expected = []
    began = time.monotonic()
    for i in range(new):
        target.send(b"in/new%d/" % i, body)
        if i % (CAPACITY // 2) == 0:
            expected.append(target.send_probe())
    for answer in expected:
        target.receive_probe(answer)
    took = time.monotonic() - began
    after = target.counters()
    assert after["created"] - before["created"] == new
    assert new - (after["evicted"] - before["evicted"]) <= CAPACITY
    assert target.control.info()["streams"] == CAPACITY
    assert new / took >= rate, f"{new / took:.0f} new ids a second"


def test_a_flood_of_refusals_is_no_flood_of_events():
    with (
        DaemonProcess("--n-in=1", "--event-rate=50", "--event-burst=10") as process,
        zmq.Context() as context,
        Subscriber(process.outputs, ["event/rejected/"], timeout=10) as events,
    ):
        events.wait()
        attack = raw_publisher(context, process.ingest)
        began = time.monotonic()
        for _ in range(5000):
            attack.send_multipart([os.urandom(3), b""])
        eventually(lambda: sum(process.counters["rejected"].values()) == 5000, what="counting")
        told = published = 0
        while told < 5000:
            event = next(events)
            assert isinstance(event, Event)
            held = event.data.get("suppressed", 0)
            told += held + (1 if "reason" in event.data else 0)
            published += 1
        elapsed = time.monotonic() - began
        assert told == 5000
        assert published <= 10 + 50 * (elapsed + 1)
        attack.close(0)
