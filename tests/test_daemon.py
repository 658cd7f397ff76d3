"""The daemon as a process: serving, control, housekeeping. How it starts and ends has files of its own."""

import itertools
import json
import os
import threading
import time

import msgpack
import pytest
import zmq
from daemon_process import DaemonProcess, eventually, flooding, raw_publisher, until

from streamrnn import cli
from streamrnn.client import Control, Event, Publisher, Subscriber
from streamrnn.errors import BadRequest, UnknownStream
from streamrnn.wire.messages import encode_sample


@pytest.fixture(scope="module")
def daemon():
    with DaemonProcess("--n-in=2", "--capacity=1000", tcp=True) as process:
        yield process


@pytest.fixture
def publisher(daemon):
    with Publisher(daemon.ingest) as publisher:
        publisher.wait()
        yield publisher


@pytest.fixture
def subscriber(daemon):
    with Subscriber(daemon.outputs, [""], timeout=10) as subscriber:
        subscriber.wait()
        yield subscriber


@pytest.fixture
def control(daemon):
    with Control(daemon.control) as control:
        yield control


# Serving


def test_ready_says_where_and_what(daemon):
    line = daemon.lines("ready")[0]
    assert line["ingest"] == [daemon.ingest]
    assert line["model"] == "adaptive"
    assert len(line["fingerprint"]) == 16
    info = daemon.ask("info")
    assert info["endpoints"]["outputs"] == [daemon.outputs]
    assert info["model"]["fingerprint"] == line["fingerprint"]
    assert info["state"] == "ready"
    assert info["settings"]["capacity"] == 1000


def test_a_subscriber_that_waits_sees_ready_and_stopping():
    with DaemonProcess("--n-in=1", wait=False) as process:
        with Subscriber(process.outputs, ["event/daemon/"], timeout=180) as subscriber:
            ready = next(subscriber)
            process.wait_ready()
            with Control(process.control) as control:
                control.stop()
            stopping = next(subscriber)
        assert process.wait() == 0
    assert ready.kind == stopping.kind == "daemon"
    assert ready.stream is None
    assert ready.data["state"] == "ready"
    assert {"version", "model", "fingerprint", "ingest", "outputs", "control"} <= set(ready.data)
    assert stopping.data == {"state": "stopping", "reason": "control"}


def test_a_sample_is_answered_after_its_stream_is_announced(publisher, subscriber):
    publisher.send("fresh", [1.0, 2.0], t=5)
    created, out = until(subscriber, lambda m: getattr(m, "n", None) == 1)[-2:]
    assert (created.kind, created.stream) == ("created", "fresh")
    assert (out.stream, out.seq, out.t, out.n) == ("fresh", 0, 5, 1)
    assert 0 < out.recv <= out.sent <= time.time_ns()


def test_gaps_and_duplicates_are_told(publisher, subscriber):
    for seq in (0, 4, 4, 2):
        publisher.send("holes", [1.0, 2.0], seq=seq)
    told = until(subscriber, lambda m: isinstance(m, Event) and m.kind in ("late", "duplicate") and m.data["seq"] == 2)
    events = [(m.kind, m.data) for m in told if isinstance(m, Event)]
    assert events[0] == ("created", {})
    assert events[1] == ("gap", {"missing": 3, "seq": 4})
    assert events[2] == ("duplicate", {"seq": 4})
    assert events[3][0] in ("late", "duplicate")


# Control


def test_control_lists_shows_resets_and_evicts(publisher, subscriber, control):
    for i in range(25):
        publisher.send(f"list/{i:02}", [1.0, 2.0])
    until(subscriber, lambda m: getattr(m, "stream", None) == "list/24" and not isinstance(m, Event))
    eventually(lambda: len(control.streams("list/")) == 25, what="the list")
    assert [s["id"] for s in control.streams("list/", limit=2, after="list/03")] == ["list/04", "list/05"]
    assert [s["id"] for s in control.all_streams("list/", page=10)] == [f"list/{i:02}" for i in range(25)]
    shown = control.stream("list/07")
    assert (shown["id"], shown["n"], shown["x"]) == ("list/07", 1, [[1.0, 2.0]])
    control.reset("list/07")
    assert control.stream("list/07")["n"] == 0
    control.evict("list/07")
    with pytest.raises(UnknownStream, match="no stream 'list/07'"):
        control.stream("list/07")
    with pytest.raises(UnknownStream):
        control.reset("list/07")
    told = until(subscriber, lambda m: isinstance(m, Event) and m.kind == "evicted")
    assert [(m.kind, m.stream, m.data["reason"]) for m in told] == [
        ("reset", "list/07", "request"),
        ("evicted", "list/07", "request"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        os.urandom(100),
        msgpack.packb([1, 2]),
        msgpack.packb({"no": "op"}),
        msgpack.packb({"op": 5}),
        msgpack.packb({"op": "unheard"}),
        msgpack.packb({"op": "stream"}),
        msgpack.packb({"op": "stream", "stream": 7}),
        msgpack.packb({"op": "stream", "stream": ["a"]}),
        msgpack.packb({"op": "streams", "limit": 0}),
        msgpack.packb({"op": "streams", "limit": 1 << 40}),
        msgpack.packb({"op": "streams", "prefix": None}),
        b"\x81" * 50_000,
        b"\xdf\xff\xff\xff\xff",
        b"x" * 100_000,
    ],
)
def test_a_wrong_request_is_answered_with_an_error(daemon, control, body):
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(daemon.control)
        for envelope in ([], [b""]):
            dealer.send_multipart([*envelope, body])
            assert dealer.poll(10_000)
            frames = dealer.recv_multipart()
            assert frames[:-1] == envelope or body == b""
            reply = msgpack.unpackb(frames[-1])
            assert reply["ok"] is False
            assert reply["error"]["code"] == "bad_request"
            assert 0 < len(reply["error"]["message"]) < 500
    assert control.ping()["now"] > 0


@pytest.mark.parametrize("frames", [[b"", b"a", b"b"], [b"a"] * 50, [b"", b""], [b"a", b"b", b"c"]])
def test_a_request_of_wrong_frames_is_answered_too(daemon, control, frames):
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(daemon.control)
        dealer.send_multipart(frames)
        assert dealer.poll(10_000)
        assert msgpack.unpackb(dealer.recv_multipart()[-1])["ok"] is False
    control.ping()


def test_a_correlated_request_gets_its_number_back(daemon):
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.connect(daemon.control)
        dealer.send_multipart([b"request 7", b"", msgpack.packb({"op": "ping"})])
        assert dealer.poll(10_000)
        frames = dealer.recv_multipart()
    assert frames[:2] == [b"request 7", b""]
    assert msgpack.unpackb(frames[2])["ok"] is True


def test_a_request_far_too_large_only_loses_its_sender(daemon, control):
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(daemon.control)
        dealer.send(bytes(4 << 20))
        assert not dealer.poll(300)
    control.ping()


def test_control_answers_under_a_flood_of_samples_and_samples_under_a_flood_of_requests(daemon, publisher):
    stop = threading.Event()

    def ask():
        with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
            dealer.linger = 0
            dealer.connect(daemon.control)
            while not stop.is_set():
                dealer.send(msgpack.packb({"op": "info"}))
                while dealer.poll(0):
                    dealer.recv()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        with flooding(daemon.ingest, [b"in/flood/", encode_sample([1.0, 2.0])]):
            with Control(daemon.control, timeout=5) as control:
                before = control.info()["counters"]["accepted"]
                eventually(lambda: control.info()["counters"]["accepted"] > before + 2000, 20, "progress")
            with Subscriber(daemon.outputs, ["out/among/"], timeout=10) as outputs:
                outputs.wait()
                publisher.send("among", [1.0, 2.0])
                assert next(outputs).stream == "among"
    finally:
        stop.set()
        asking.join()


def test_ctl_speaks_for_people_and_programs(daemon, publisher, subscriber, capsys):
    def ctl(*arguments):
        status = cli.run(["ctl", *arguments, "--control", daemon.control])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    publisher.send("ctl/1", [1.0, float("nan")])
    until(subscriber, lambda m: getattr(m, "stream", None) == "ctl/1" and not isinstance(m, Event))
    assert "now" in ctl("ping")[1]
    info = json.loads(ctl("info", "--json")[1])
    assert info["counters"]["accepted"] > 0
    assert f"capacity         {1000}" in ctl("info")[1]
    eventually(lambda: "ctl/1" in ctl("streams", "ctl/")[1], what="the list")
    assert [s["id"] for s in json.loads(ctl("streams", "ctl/", "--json")[1])] == ["ctl/1"]
    assert ctl("streams", "nobody/")[1] == "no streams begin with nobody/\n"
    assert json.loads(ctl("streams", "nobody/", "--json")[1]) == []
    assert json.loads(ctl("stream", "ctl/1", "--json")[1])["x"] == [[1.0, None]]
    assert ctl("stream", "ctl/1")[1].startswith("id            ctl/1")
    assert ctl("reset", "ctl/1")[0] == 0
    assert ctl("evict", "ctl/1")[0] == 0
    status, _, told = ctl("evict", "ctl/1")
    assert (status, told.split(";")[0]) == (1, "streamrnn: no stream 'ctl/1'")
    assert cli.run(["ctl", "ping", "--control", "ipc:///nowhere", "--timeout", "0.1"]) == 1
    assert "nobody answered ping" in capsys.readouterr().err


def test_bad_request_is_raised_by_the_client(control):
    with pytest.raises(BadRequest, match="unknown op"):
        control.ask("dance")


# Housekeeping


def test_silent_streams_become_stale_and_then_go():
    with (
        DaemonProcess("--n-in=1", "--stale-after=0.2", "--idle-ttl=0.6") as process,
        Publisher(process.ingest) as publisher,
        Subscriber(process.outputs, ["event/", "out/"], timeout=10) as subscriber,
    ):
        subscriber.wait()
        publisher.send("bed1", [1.0])
        created, out, stale, evicted = (next(subscriber) for _ in range(4))
        assert [e.kind for e in (created, stale, evicted)] == ["created", "stale", "evicted"]
        assert evicted.data == {"reason": "idle", "n": 1}
        # Silence counts from the sample's receipt, which is a little before its stream is announced.
        assert stale.at - out.recv >= 0.2e9
        assert evicted.at - out.recv >= 0.6e9
        counters = process.counters
    assert (counters["stale"], counters["evicted"]) == (1, 1)


def test_totals_are_logged_and_samples_are_not():
    with DaemonProcess("--n-in=1", "--stats-interval=0.1") as process, Publisher(process.ingest) as publisher:
        publisher.wait()
        with zmq.Context() as context:
            socket = raw_publisher(context, process.ingest)
            socket.send_multipart([b"nonsense", b""])
            socket.close()
        for i in range(100):
            publisher.send("bed1", [float(i)])
        eventually(lambda: [t for t in process.lines("totals") if t.get("accepted") == 100], what="totals")
        assert process.lines("rejected")[0]["bad_topic"] == 1
        assert len([line for line in process.log if "bed1" in str(line)]) == 0


def test_a_quiet_daemon_repeats_nothing_and_says_nothing_empty():
    environment = {"STREAMRNN_CAPCITY": "5", "STREAMRNN_NONSENSE": "1"}
    with DaemonProcess("--stats-interval=0.05", env=environment) as process:
        assert [(line["name"], line["hint"]) for line in process.lines("unknown_variable")] == [
            ("STREAMRNN_CAPCITY", "did you mean STREAMRNN_CAPACITY?"),
            ("STREAMRNN_NONSENSE", "it sets nothing"),
        ]
        assert "fingerprint" not in process.lines("ready")[0]
        with Publisher(process.ingest) as publisher:
            publisher.send("bed1", [1.0])
            eventually(lambda: [t for t in process.lines("totals") if t.get("accepted") == 1], what="totals")
    totals = [{k: v for k, v in line.items() if k != "timestamp"} for line in process.lines("totals")]
    assert all(a != b for a, b in itertools.pairwise(totals))
