"""What does a daemon add to the sockets that it stands between?

    python benchmarks/wire.py                       all questions, some four minutes
    python benchmarks/wire.py --only light open     some of them
    python benchmarks/wire.py --soak 600            half of peak throughput for ten minutes instead of twenty seconds

Three processes on the machine's cores: a source, a server and a sink that receives every answer (`plumbing.py`). The
server is the daemon (LSTM-32, 8 inputs, one sample a message) on its compiled path, the daemon on the path over pyzmq,
or a relay that receives and resends without looking, the floor. They take turns, round by round. First a daemon's
outputs are compared with an engine's in this process, bit for bit, and the relay's frames with what went in; only then
anything is timed.

Latency is the age of an answer when the sink has it, from the time at which its sample was due: a server that stalls is
charged for all samples that were due meanwhile.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from plumbing import BEHIND, COUNT, RUNNING, SKIP, STOP, board, bodies_of, quantile

from streamrnn import Control, Engine, Model, Publisher, Subscriber
from streamrnn.measure import Report

PLUMBING = Path(__file__).with_name("plumbing.py")
RESULTS = Path(__file__).parent / "results"
N_IN, STREAMS, CHECKED = 8, 256, 2_000
SERVERS = ("relay", "compiled", "pyzmq")
QUESTIONS = ("throughput", "light", "open", "soak", "blocks")


def model(hidden: int) -> Model:
    return Model.random(cell="lstm", n_in=N_IN, hidden=hidden, n_out=N_IN, seed=1)


class Role:
    """A process of `plumbing.py`, ready, and the numbers that it tells."""

    def __init__(self, folder: Path, role: str, *arguments: str) -> None:
        path = folder / f"{role}-{time.monotonic_ns()}"
        self.told = board(path, create=True)
        command = [sys.executable, str(PLUMBING), role, *arguments, "--board", str(path)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def wait(self) -> None:
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            raise SystemExit(f"{self.process.args} ended with status {self.process.wait()}")

    def stop(self) -> None:
        self.told[STOP] = 1
        try:
            self.process.communicate(timeout=2)
        except subprocess.TimeoutExpired:  # it waits for a peer that is gone
            self.process.kill()
            self.process.communicate()


class Server:
    """A relay or a daemon between two endpoints."""

    def __init__(self, folder: Path, kind: str, scheme: str, hidden: int = 32) -> None:
        self.kind = kind
        unique = time.monotonic_ns()
        roles = ("ingest", "outputs", "control")
        self.where = {r: f"ipc://{folder}/{r}-{unique}" if scheme == "ipc" else "tcp://127.0.0.1:*" for r in roles}
        if kind == "relay":
            if scheme == "tcp":
                self.where |= dict(zip(roles[:2], _free_ports(), strict=True))
            self.role = Role(folder, "relay", self.where["ingest"], self.where["outputs"])
            self.process = self.role.process
            self.role.wait()
            return
        path = folder / f"lstm{hidden}.safetensors"
        model(hidden).save(path)
        flags = [f"--{role}={endpoint}" for role, endpoint in self.where.items()]
        command = [sys.executable, "-m", "streamrnn", "serve", str(path), "--log-format=json", f"--data-path={kind}"]
        self.process = subprocess.Popen([*command, *flags], stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.startswith("{") and (said := json.loads(line))["event"] == "ready":
                self.where = {role: said[role][0] for role in roles}
                return
        raise SystemExit(f"the daemon ended with status {self.process.wait()}")

    @property
    def counters(self) -> dict[str, Any]:
        with Control(self.where["control"], timeout=20) as control:
            return dict(control.info()["counters"])

    @property
    def memory(self) -> int:
        """Bytes resident."""
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * 4096

    def stop(self) -> None:
        if self.kind == "relay":
            self.role.stop()
            return
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=30)


def _free_ports() -> list[str]:
    import socket

    found = []
    with ExitStack() as stack:
        for _ in range(2):
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            found.append(f"tcp://127.0.0.1:{probe.getsockname()[1]}")
    return found


@contextmanager
def running(folder: Path, kind: str, scheme: str, *source: str, hidden: int = 32) -> Iterator[Any]:
    """(server, source, sink) of which the source waits to begin."""
    with ExitStack() as stack:
        server = Server(folder, kind, scheme, hidden)
        stack.callback(server.stop)
        prefix = "" if kind == "relay" else "block/" if "--rows" in source else "out/"
        sink = Role(folder, "sink", server.where["outputs"], "--prefix", prefix)
        stack.callback(sink.stop)
        sink.wait()
        time.sleep(0.2)  # for its subscription
        origin = Role(folder, "source", server.where["ingest"], "--streams", str(STREAMS), *source)
        stack.callback(origin.stop)
        origin.wait()
        yield server, origin, sink


def window(role: Role, seconds: float) -> float:
    """What a role counted a second."""
    before, began = int(role.told[COUNT]), time.perf_counter()
    time.sleep(seconds)
    return (int(role.told[COUNT]) - before) / (time.perf_counter() - began)


def check(folder: Path) -> None:
    """Stop where the daemon's outputs are not an engine's, bit for bit."""
    rng = np.random.default_rng(0)
    ids = [f"s{i}" for i in rng.integers(0, 32, CHECKED)]
    X = rng.standard_normal((CHECKED, N_IN)).astype(np.float32)
    expected = Engine(model(32)).step_many(ids, X)
    for kind in SERVERS[1:]:
        server = Server(folder, kind, "ipc")
        try:
            with Subscriber(server.where["outputs"], ["out/", "block/"], timeout=20) as outputs:
                outputs.wait()
                with Publisher(server.where["ingest"]) as publisher:
                    for stream, x in zip(ids, X, strict=True):
                        publisher.send(stream, x)
                    publisher.send_block([f"block-{stream}" for stream in ids], X)
                for i in range(CHECKED):
                    out = next(outputs)
                    said = out.stream, np.array(out.y, np.float32).tobytes(), np.float32(out.score)
                    if said != (ids[i], expected.y[i].tobytes(), expected.score[i]):
                        sys.exit(
                            f"output {i} of {out.stream} on the path {kind} is not the engine's; nothing was timed"
                        )
                block = next(outputs)
                if (block.y.tobytes(), block.score.tobytes()) != (expected.y.tobytes(), expected.score.tobytes()):
                    sys.exit(f"the answer to a block on the path {kind} is not the engine's; nothing was timed")
        finally:
            server.stop()
    print(
        f"outputs of {CHECKED} samples, one by one and as a block, are the engine's on both paths, bit for bit",
        flush=True,
    )


def check_relay(folder: Path) -> None:
    """Stop where what comes out of the relay is not what went in, frame by frame."""
    topics, bodies, _, _ = bodies_of(STREAMS, N_IN, 1)
    server = Server(folder, "relay", "ipc")
    try:
        with zmq.Context() as context, context.socket(zmq.XPUB) as feed, context.socket(zmq.SUB) as sink:
            feed.linger = 0
            sink.rcvtimeo = feed.rcvtimeo = 20_000
            sink.subscribe(b"")
            sink.connect(server.where["outputs"])
            feed.connect(server.where["ingest"])
            feed.recv()  # the relay's subscription
            time.sleep(0.2)  # for the sink's, which the relay does not tell
            for frames in zip(topics, bodies, strict=True):
                feed.send_multipart(frames)
                if sink.recv_multipart() != list(frames):
                    sys.exit("the relay does not resend what it receives; nothing was timed")
    finally:
        server.stop()


def throughput(folder: Path, report: Report, rounds: int, seconds: float) -> float:
    """Answers a second that reach the sink; returns the compiled path's over ipc."""
    peak = 0.0
    for scheme in ("ipc", "tcp"):
        found: dict[str, list[float]] = {kind: [] for kind in SERVERS}
        for _ in range(rounds):
            for kind in SERVERS:
                with running(folder, kind, scheme) as (_, origin, sink):
                    origin.told[RUNNING] = 1
                    time.sleep(0.7)  # past the first rush
                    found[kind].append(window(sink, seconds))
        rates = {k: report.add("throughput", k, "samples/s", v, scheme=scheme) for k, v in found.items()}
        tell = ", ".join(f"{kind} {rate:,.0f}/s" for kind, rate in rates.items())
        of_relay, of_pyzmq = rates["compiled"] / rates["relay"], rates["compiled"] / rates["pyzmq"]
        print(f"{scheme}: {tell}; compiled is {of_relay:.2f} of the relay, {of_pyzmq:.1f} times pyzmq", flush=True)
        peak = max(peak, rates["compiled"]) if scheme == "ipc" else peak
    return peak


def flow(origin: Role, sink: Role, rate: float, seconds: float) -> tuple[int, int]:
    """Let samples flow at the source's rate for so long; (how many were sent, how many have not arrived)."""
    sink.told[SKIP] = min(rate * seconds / 10, rate)  # the first moments are those of waking up
    sink.told[RUNNING] = origin.told[RUNNING] = 1
    time.sleep(seconds)
    origin.told[STOP] = 1
    origin.process.wait(5)
    sent, deadline = int(origin.told[COUNT]), time.monotonic() + 5
    while int(sink.told[COUNT]) < sent and time.monotonic() < deadline:
        time.sleep(0.01)
    return sent, sent - int(sink.told[COUNT])


def light(folder: Path, report: Report, rounds: int, seconds: float, rate: float = 500.0) -> None:
    """Latency at a rate at which every sample travels alone."""
    for scheme in ("ipc", "tcp"):
        found: dict[tuple[str, int], list[float]] = {}
        for _ in range(rounds):
            for kind in SERVERS:
                with running(folder, kind, scheme, "--rate", str(rate)) as (_, origin, sink):
                    flow(origin, sink, rate, seconds)
                    for q in (50, 99):
                        found.setdefault((kind, q), []).append(quantile(sink.told, q) / 1e3)
        told = {k: report.add("light", k[0], "us", v, scheme=scheme, q=k[1], rate=rate) for k, v in found.items()}
        for q in (50, 99):
            tell = ", ".join(f"{kind} {told[kind, q]:.0f} us" for kind in SERVERS)
            ratio = told["compiled", q] / told["relay", q]
            print(f"{scheme} at {rate:.0f}/s, p{q}: {tell}; compiled is {ratio:.2f} of the relay", flush=True)


def open_loop(folder: Path, report: Report, peak: float, seconds: float) -> None:
    """Latency against rate, up to the peak."""
    for share in (0.05, 0.25, 0.5, 0.75, 0.9):
        with running(folder, "compiled", "ipc", "--rate", str(share * peak)) as (_, origin, sink):
            _, lost = flow(origin, sink, share * peak, seconds)
            quantiles = {q: quantile(sink.told, q) / 1e3 for q in (50, 99, 99.9)}
            behind = int(origin.told[BEHIND])
        for q, value in quantiles.items():
            report.add("open", "compiled", "us", [value], q=q, share=share, rate=share * peak, lost=lost)
        tell = ", ".join(f"p{q} {value:,.0f} us" for q, value in quantiles.items())
        late = f"the source was late by {behind / 1e6:.1f} ms at worst"
        print(f"open loop at {share:.0%} of peak, {share * peak:,.0f}/s: {tell}, {lost} lost; {late}", flush=True)


def soak(folder: Path, report: Report, peak: float, seconds: float) -> None:
    """Half of peak for long: nothing lost, memory flat."""
    rate = 0.5 * peak
    with running(folder, "compiled", "ipc", "--rate", str(rate)) as (server, origin, sink):
        at: list[int] = []
        watches = [
            threading.Timer(when, lambda: at.append(server.memory)) for when in (min(5.0, seconds / 4), seconds / 2)
        ]
        for watch in watches:
            watch.start()
        sent, lost = flow(origin, sink, rate, seconds)
        before, halfway, after = *at, server.memory
        missing = server.counters["missing"]
        p999 = quantile(sink.told, 99.9) / 1e3
    report.add("soak", "p99.9", "us", [p999], seconds=seconds, rate=rate)
    report.add("soak", "lost", "samples", [lost], seconds=seconds, rate=rate, sent=sent, missing=missing)
    report.add("soak", "memory growth", "bytes", [after - before], seconds=seconds, before=before, halfway=halfway)
    print(
        f"{seconds:.0f} s at {rate:,.0f}/s: {sent:,} sent, {lost} lost, p99.9 {p999 / 1e3:.1f} ms, memory "
        f"{before / 1e6:.1f} MB at first, {halfway / 1e6:.1f} half way, {after / 1e6:.1f} at the end",
        flush=True,
    )


def blocks(folder: Path, report: Report, rounds: int, seconds: float, rows: int = 256) -> None:
    """Samples a second in blocks of 256, by the sink's answers."""
    for hidden in (16, 32):
        found: dict[str, list[float]] = {kind: [] for kind in SERVERS[1:]}
        for _ in range(rounds):
            for kind in SERVERS[1:]:
                with running(folder, kind, "ipc", "--rows", str(rows), hidden=hidden) as (_, origin, sink):
                    origin.told[RUNNING] = 1
                    time.sleep(0.7)
                    found[kind].append(rows * window(sink, seconds))
        rates = {k: report.add("blocks", k, "samples/s", v, hidden=hidden, rows=rows) for k, v in found.items()}
        tell = ", ".join(f"{kind} {rate:,.0f}/s" for kind, rate in rates.items())
        print(f"blocks of {rows}, LSTM-{hidden}: {tell}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=QUESTIONS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each window")
    parser.add_argument("--soak", type=float, default=20.0, help="length of the soak in seconds")
    parser.add_argument(
        "--json", type=Path, help="where the report goes; else results/wire.json, of some questions wire-part.json"
    )
    options = parser.parse_args()
    report = Report("wire", packages=("streamrnn", "numba", "numpy", "pyzmq", "msgpack"))
    with tempfile.TemporaryDirectory(prefix="srnn-") as name:
        folder, peak = Path(name), 0.0
        check(folder)
        check_relay(folder)
        if {"throughput", "open", "soak"} & set(options.only):
            peak = throughput(folder, report, options.rounds, options.seconds)
        if "light" in options.only:
            light(folder, report, options.rounds, 2 * options.seconds)
        if "open" in options.only:
            open_loop(folder, report, peak, 2 * options.seconds)
        if "blocks" in options.only:
            blocks(folder, report, options.rounds, options.seconds)
        if "soak" in options.only:
            soak(folder, report, peak, options.soak)
    whole = set(options.only) == set(QUESTIONS)
    report.write(options.json or RESULTS / ("wire.json" if whole else "wire-part.json"))


if __name__ == "__main__":
    main()
