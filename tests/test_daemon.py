"""The daemon as a process: starting, answering, housekeeping, stopping."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import msgpack
import numpy as np
import pytest
import zmq
from daemon_process import DaemonProcess, eventually, flooding, raw_publisher

from streamrnn import cli
from streamrnn.client import Control, Event, Publisher, Subscriber
from streamrnn.daemon import Server, load_settings
from streamrnn.errors import BadRequest, ConfigError, Timeout, UnknownStream
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


def until(subscriber, found):
    """The messages up to and with the first for which `found` holds."""
    messages = []
    for message in subscriber:
        messages.append(message)
        if found(message):
            return messages
    raise AssertionError("unreachable")


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
    assert json.loads(ctl("stream", "ctl/1", "--json")[1])["x"] == [[1.0, None]]
    assert ctl("stream", "ctl/1")[1].startswith("id               ctl/1")
    assert ctl("reset", "ctl/1")[0] == 0
    assert ctl("evict", "ctl/1")[0] == 0
    status, _, told = ctl("evict", "ctl/1")
    assert (status, told.split(";")[0]) == (1, "streamrnn: no stream 'ctl/1'")
    assert cli.run(["ctl", "ping", "--control", "ipc:///nowhere", "--timeout", "0.1"]) == 1
    assert "no reply to ping" in capsys.readouterr().err


# Housekeeping


def test_silent_streams_become_stale_and_then_go():
    with (
        DaemonProcess("--n-in=1", "--stale-after=0.2", "--idle-ttl=0.6") as process,
        Publisher(process.ingest) as publisher,
        Subscriber(process.outputs, ["event/"], timeout=10) as subscriber,
    ):
        subscriber.wait()
        publisher.send("bed1", [1.0])
        created, stale, evicted = (next(subscriber) for _ in range(3))
        assert [e.kind for e in (created, stale, evicted)] == ["created", "stale", "evicted"]
        assert evicted.data == {"reason": "idle", "n": 1}
        assert stale.at - created.at >= 0.2e9
        assert evicted.at - created.at >= 0.6e9
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


# Stopping


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


# What can go wrong at the start


def run_serve(*flags, env=None):
    return subprocess.run(
        [sys.executable, "-m", "streamrnn", "serve", "--log-format=json", *flags],
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, **(env or {})},
    )


def test_a_port_in_use_is_one_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_serve(
            f"--ingest=tcp://127.0.0.1:{port}", f"--outputs=ipc://{tmp_path}/o", f"--control=ipc://{tmp_path}/c"
        )
    assert done.returncode == 1
    assert done.stderr == (
        f"streamrnn: cannot bind ingest to tcp://127.0.0.1:{port}: another process uses it; "
        "stop that one, or choose another endpoint with --ingest\n"
    )


def test_a_unix_socket_in_use_is_not_taken_away(daemon, tmp_path):
    with DaemonProcess("--n-in=1") as process:
        done = run_serve(f"--ingest={process.ingest}", f"--outputs=ipc://{tmp_path}/o", f"--control=ipc://{tmp_path}/c")
        assert done.returncode == 1
        assert "another process uses it" in done.stderr
        process.ask("ping")


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["nothing.safetensors"], 1, "there is no model file 'nothing.safetensors'"),
        (["--capacity=0"], 1, "capacity is 0; it must be greater than or equal to 1"),
        (["--capacity=x"], 2, "--capacity"),
        (["--config=nothing.toml"], 1, "cannot read the settings file 'nothing.toml'"),
        (["--n-in=64", "--capacity=2000000000"], 1, "streams of 64 channels do not fit into memory; lower capacity"),
        (["--ingest=tcp://192.0.2.1:5590"], 1, "no interface of this machine has that address"),
    ],
)
def test_a_wrong_option_is_one_line(tmp_path, flags, status, message):
    ends = [f"--{role}=ipc://{tmp_path}/{role}" for role in ("ingest", "outputs", "control")]
    done = run_serve(*ends, *flags)
    assert done.returncode == status
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_endpoint_for_other_machines_is_warned_of():
    process = DaemonProcess("--n-in=1")
    process.outputs = "tcp://0.0.0.0:*"
    with process:
        warning = process.lines("exposed")[0]
    assert warning["level"] == "warning"
    assert "nothing is encrypted" in warning["hint"]


def test_a_signal_before_ready_ends_it(tmp_path):
    with DaemonProcess("--n-in=1", wait=False, env={"NUMBA_CACHE_DIR": str(tmp_path)}) as process:
        eventually((process.folder / "control").exists, 60, "binding")
        process.signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.lines("stopped")[0]["ready"] is False


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    with DaemonProcess("--n-in=1", env={"NUMBA_CACHE_DIR": str(blocked)}) as process:
        assert process.ask("ping")["now"] > 0
        warnings = [line for line in process.log if isinstance(line, dict) and line["level"] == "warning"]
        assert [w["event"] for w in warnings] == ["no_cache"]
        assert "NUMBA_CACHE_DIR" in warnings[0]["hint"]
        assert all(isinstance(line, dict) for line in process.log)


# In a thread


def test_a_server_runs_in_a_thread(tmp_path):
    where = {role: f"ipc://{tmp_path}/{role}" for role in ("ingest", "outputs", "control")}
    server = Server(load_settings(**where, n_in=1, log_level="error"))
    status = []
    thread = threading.Thread(target=lambda: status.append(server.run()))
    thread.start()
    assert server.ready.wait(180)
    with Control(where["control"]) as control:
        assert control.info()["model"]["n_in"] == 1
    server.stop()
    thread.join(10)
    assert status == [0]


def test_a_server_in_a_thread_raises_what_is_wrong(tmp_path):
    with pytest.raises(ConfigError, match="no model file"):
        where = {role: f"ipc://{tmp_path}/{role}" for role in ("ingest", "outputs", "control")}
        Server(load_settings(model="nothing", **where)).run()


def test_a_server_in_a_program_may_use_inproc():
    with zmq.Context() as context:
        where = {role: f"inproc://{role}" for role in ("ingest", "outputs", "control")}
        server = Server(load_settings(**where, n_in=1, log_level="error"), context=context)
        thread = threading.Thread(target=server.run)
        thread.start()
        assert server.ready.wait(180)
        with (
            Subscriber(where["outputs"], ["out/"], timeout=10, context=context) as outputs,
            Publisher(where["ingest"], context=context) as publisher,
        ):
            # A connection within the process tells nobody that it stands, so send until an answer comes.
            def answered():
                publisher.send("bed1", [1.0])
                try:
                    return outputs.recv(0.02)
                except Timeout:
                    return None

            assert eventually(answered).stream == "bed1"
        server.stop()
        thread.join(10)
        assert not thread.is_alive()


def test_nobody_answers_after_the_end():
    with DaemonProcess("--n-in=1") as process:
        endpoint = process.control
        assert process.stop() == 0
        with Control(endpoint, timeout=0.2, retries=0) as control, pytest.raises(Timeout):
            control.ping()


def test_bad_request_is_raised_by_the_client(control):
    with pytest.raises(BadRequest, match="unknown op"):
        control.ask("dance")
