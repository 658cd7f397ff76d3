"""How many samples a second does a daemon take through its sockets, and how long does one take?

    python benchmarks/wire.py --seconds 5 --json wire.json

A daemon process (LSTM-32, 8 inputs, one sample a message) and a publisher process that sends messages it encoded in
advance, over TCP on the loopback interface. First a daemon's outputs are compared, bit for bit, with an engine's in
this process; only then anything is timed. Throughput is read from the daemon's own counter over a window in which the
publisher is never waited for: with nobody subscribed, and with one subscriber (a third process) receiving everything.
Latency is measured with a sample every `1/rate` seconds, from just before it is handed to ZeroMQ until its output
has been received, and inside the daemon from receipt to hand-over.

On fewer cores than processes the figures say how they share; this benchmark flatters nobody but the loopback device.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from streamrnn import Control, Engine, Model, Publisher, Subscriber
from streamrnn.wire.messages import encode_sample, sample_topic

N_IN, HIDDEN = 8, 32
CHECKED = 2_000
READY_SECONDS = 180


def _model() -> Model:
    return Model.random(cell="lstm", n_in=N_IN, hidden=HIDDEN, n_out=N_IN, seed=1)


def _streams(n: int) -> list[str]:
    return [f"ward{i // 16}/bed{i % 16}" for i in range(n)]


@contextmanager
def daemon(folder: Path) -> Iterator[dict[str, str]]:
    """A daemon on free ports; yields its endpoints."""
    path = folder / "model.safetensors"
    _model().save(path)
    anywhere = [f"--{role}=tcp://127.0.0.1:*" for role in ("ingest", "outputs", "control")]
    command = [sys.executable, "-m", "streamrnn", "serve", str(path), "--log-format=json", *anywhere]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("{") and (said := json.loads(line))["event"] == "ready":
                yield {role: said[role][0] for role in ("ingest", "outputs", "control")}
                return
        raise SystemExit(f"the daemon ended with status {process.wait()}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def check(where: dict[str, str]) -> None:
    """Stop where the daemon's outputs are not an engine's, bit for bit."""
    rng = np.random.default_rng(0)
    ids = [_streams(32)[i] for i in rng.integers(0, 32, CHECKED)]
    X = rng.standard_normal((CHECKED, N_IN)).astype(np.float32)
    expected = Engine(_model()).step_many(ids, X)
    with Subscriber(where["outputs"], ["out/"], timeout=20) as outputs, Publisher(where["ingest"]) as publisher:
        outputs.wait()
        for stream, x in zip(ids, X, strict=True):
            publisher.send(stream, x)
        for i in range(CHECKED):
            out = next(outputs)
            if out.stream != ids[i] or np.array(out.y, np.float32).tobytes() != expected.y[i].tobytes():
                sys.exit(f"output {i} of {out.stream} is not the engine's; nothing was timed")
    with Control(where["control"]) as control:
        for stream in set(ids):
            control.evict(stream)


def flood(endpoint: str, streams: int) -> None:
    """Send for ever, as fast as the daemon takes it. Runs in a process of its own."""
    socket = zmq.Context().socket(zmq.XPUB)
    socket.xpub_nodrop = True
    socket.connect(endpoint)
    socket.recv()  # the daemon's subscription
    rng = np.random.default_rng(2)
    x = rng.standard_normal((streams, N_IN)).astype(np.float32)
    topics = [sample_topic(stream) for stream in _streams(streams)]
    print("flowing", flush=True)
    # A new session lets the counters begin again, so that the same messages are accepted for ever.
    bodies = [
        [encode_sample(x[i], t=0, seq=seq, session=session) for i in range(streams)]
        for session in ("a", "b")
        for seq in range(128)
    ]
    send, more = socket.send, int(zmq.SNDMORE)
    while True:
        for round_ in bodies:
            for topic, body in zip(topics, round_, strict=True):
                send(topic, more)
                send(body)


def sink(endpoint: str) -> None:
    """Receive everything for ever. Runs in a process of its own."""
    socket = zmq.Context().socket(zmq.SUB)
    socket.subscribe(b"out/")
    socket.connect(endpoint)
    print("flowing", flush=True)
    receive = socket.recv
    while True:
        receive()


@contextmanager
def _helper(*arguments: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "flowing\n"
        yield
    finally:
        process.kill()
        process.communicate()


def throughput(where: dict[str, str], streams: int, seconds: float) -> dict[str, float]:
    """Samples a second, by the daemon's count of accepted ones, and what else happened in that time."""
    with _helper("--flood", where["ingest"], "--streams", str(streams)), Control(where["control"]) as control:
        time.sleep(1.0)  # past the first rush
        before, began = control.info()["counters"], time.perf_counter()
        time.sleep(seconds)
        after, ended = control.info()["counters"], time.perf_counter()
    accepted, messages = (after[name] - before[name] for name in ("accepted", "messages"))
    if abs(messages - accepted) > 0.01 * messages:
        sys.exit(f"of {messages} messages only {accepted} were accepted; this window measures something else")
    return {"samples_per_second": accepted / (ended - began)}


def latency(where: dict[str, str], rate: float, seconds: float) -> dict[str, float]:
    """Percentiles in µs under light load: the round trip, and the part of it inside the daemon."""
    n = int(rate * seconds)
    trips, inside = np.zeros(n), np.zeros(n)
    with Subscriber(where["outputs"], ["out/probe/"], timeout=5) as outputs, Publisher(where["ingest"]) as publisher:
        outputs.wait()
        x = np.zeros(N_IN, np.float32)
        due = time.perf_counter()
        for i in range(n):
            due += 1 / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            sent = time.perf_counter_ns()
            publisher.send("probe", x)
            out = next(outputs)
            trips[i] = time.perf_counter_ns() - sent
            inside[i] = out.sent - out.recv
    report = {}
    for name, values in (("round_trip", trips), ("inside", inside)):
        for q in (50, 99):
            report[f"{name}_p{q}_us"] = float(np.percentile(values, q)) / 1e3
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each window")
    parser.add_argument("--streams", type=int, default=256)
    parser.add_argument("--rate", type=float, default=500.0, help="samples a second for the latency")
    parser.add_argument("--json", metavar="FILE", help="write the report there; - for standard output")
    parser.add_argument("--flood", help=argparse.SUPPRESS)
    parser.add_argument("--sink", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.flood:
        flood(options.flood, options.streams)
    if options.sink:
        sink(options.sink)
    report: dict[str, Any] = {"cores": os.cpu_count(), "streams": options.streams}
    with tempfile.TemporaryDirectory() as folder, daemon(Path(folder)) as where:
        check(where)
        report["latency"] = latency(where, options.rate, options.seconds)
        report["alone"] = throughput(where, options.streams, options.seconds)
        with _helper("--sink", where["outputs"]):
            report["subscribed"] = throughput(where, options.streams, options.seconds)
    print(f"outputs of {CHECKED} samples are the engine's, bit for bit")
    print(f"samples/s, daemon + publisher:              {report['alone']['samples_per_second']:10,.0f}")
    print(f"samples/s, daemon + publisher + subscriber: {report['subscribed']['samples_per_second']:10,.0f}")
    for name, value in report["latency"].items():
        print(f"{name:<18} {value:8.0f}")
    if options.json == "-":
        print(json.dumps(report))
    elif options.json:
        Path(options.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
