"""What a refused sample's number counts for, on both data paths: docs/protocol.md, "Sequence numbers"."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest
import zmq
from daemon_process import DaemonProcess, raw_publisher

from streamrnn.client import Event, Output, Subscriber

FAR = 1 << 62  # ns: more than a day ahead


@pytest.fixture(scope="module", params=["compiled", "pyzmq"])
def daemon(request):
    with DaemonProcess("--n-in=2", f"--data-path={request.param}") as process:
        yield process


def told(process, stream, *bodies):
    """What is published for samples of a stream, by kind: "out", "gap 1", "rejected wrong_width"."""
    with zmq.Context() as context, Subscriber(process.outputs, [""], timeout=20) as subscriber:
        subscriber.wait()
        socket = raw_publisher(context, process.ingest)
        for body in bodies:
            socket.send_multipart([f"in/{stream}/".encode(), msgpack.packb(body)])
        found = []
        while not (found and found[-1] == f"out {bodies[-1]['seq']}"):
            message = next(subscriber)
            if isinstance(message, Output):
                found.append(f"out {message.seq}")
            elif isinstance(message, Event) and message.kind == "rejected":
                found.append(message.data["code"])
            elif isinstance(message, Event) and message.kind == "gap":
                found.append(f"gap {message.data['missing']}")
        socket.close(0)
    return found


def sample(seq, **changed):
    return {"x": [1.0, 2.0], "seq": seq, "session": "a", "t": 1000 + seq, **changed}


def test_a_time_that_goes_back_counts_as_delivered(daemon):
    assert told(daemon, "back", sample(1), sample(2, t=1), sample(3)) == ["out 1", "bad_time", "out 3"]


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"x": [1.0]}, "wrong_width"),
        ({"x": [1.0, float("inf")]}, "not_finite"),
        ({"t": FAR}, "bad_time"),
        ({"t": "soon"}, "bad_time"),
        ({"x": ["a", "b"]}, "malformed"),
        ({"x": [1.0, 2.0], "z": [None] * 400_000}, "malformed"),
        ({"x": np.ones(400_000, np.float32).tobytes()}, "too_large"),
    ],
)
def test_any_other_refusal_shows_as_a_gap_too(daemon, changed, code):
    stream = f"{code}-{len(str(changed))}"
    expected = ["out 1", code, "gap 1", "out 3"]
    assert told(daemon, stream, sample(1), sample(2, **changed), sample(3)) == expected
