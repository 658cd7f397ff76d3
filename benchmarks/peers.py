"""One LSTM step, here and in the runtimes that people would use instead.

    python benchmarks/peers.py                 1 and 1,024 streams, and STAC-ML's shapes; about four minutes
    python benchmarks/peers.py --quick         64 units only

Each contestant lives in a process of its own, with one thread, and computes the same weights on the same inputs. It is
compared with the float64 oracle of the tests over 20 steps before it is timed; one that is wrong by more than 2e-5 is
reported and not timed. Then contestants take turns, round by round, while the others wait. What is not installed is
left out, and named.

What is timed is the processor's time of a contestant's process, all its threads together: where contestants compute in
one thread that is what a clock on the wall would show on a machine with nothing else to do. STAC-ML's shapes are timed
by the wall.

What the peers do is their bare step: state in, state out. `engine.step` and `step_many` do more: they look up streams,
fill missing values, step, read out, score, flag, and keep rings; `no detector` leaves out score and flag. `streamrnn
loop` is the bare step in compiled code.

STAC-ML's shapes are timed call by call: p50 and p99 of single steps, and weights read a second. This is no STAC result:
STAC's rules, data and audit are its own.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from cases import LSTM, STAC, Case, many_samples
from contestants import CONTESTANTS, oracle, timing

from streamrnn.measure import Report, per_call, percentile

RESULTS = Path(__file__).parent / "results"
CHECKED = 20
TOLERANCE = 2e-5
CALLS = 2000
"""Single steps of a STAC shape a round, at most; and at most for as long as SECONDS."""
SECONDS = 1.0

SINGLE = [name for name in CONTESTANTS if not name.startswith("streamrnn step_many")]
MANY = [name for name in CONTESTANTS if name != "streamrnn engine.step"]
STATEFUL = ["streamrnn loop", "streamrnn engine.step", "onnxruntime run", "onnxruntime IO binding", "torch nn.LSTM"]
COMPILED_HIDDEN = 64
"""torch.compile takes half a minute a shape, so it is asked for one."""


def wrong_by(case: Case, streams: int, step: Any) -> float:
    """The largest error of three streams' last hidden states over CHECKED steps."""
    watched = sorted({0, streams // 2, streams - 1})
    oracles = [oracle(case) for _ in watched]
    worst = 0.0
    for x in many_samples(CHECKED, streams, case.n_in, seed=3):
        h = np.array(step(x))
        for s, truth in zip(watched, oracles, strict=True):
            truth.step(x[s])
            worst = max(worst, float(np.abs(h[s] - truth.h[-1]).max()))
    return worst


def latencies(step: Any, X: np.ndarray) -> list[float]:
    """ns of single calls, one after the other."""
    clock, found, stop = time.perf_counter_ns, [], time.perf_counter() + SECONDS
    while len(found) < CALLS and (len(found) < 50 or time.perf_counter() < stop):
        x = X[len(found) % len(X)]
        began = clock()
        step(x)
        found.append(float(clock() - began))
    return found


def serve(name: str) -> None:
    """What a contestant's process does: answer lines of JSON, until there are no more."""
    made: dict[str, Any] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        answer: dict[str, Any]
        if asked["do"] == "prepare":
            case = Case(asked["cell"], asked["n_in"], tuple(asked["hidden"]), asked["n_out"])
            streams = asked["streams"]
            timing[0] = 0
            step = CONTESTANTS[name][0](case, streams)
            answer = {"error": wrong_by(case, streams, step)}
            loops = max(1, int(1e7 / (case.flops * streams))) if name.endswith("loop") else 1
            X = many_samples(512, streams, case.n_in, seed=4)
            made = {"case": case, "streams": streams, "step": step, "loops": loops, "X": X}
            if answer["error"] <= TOLERANCE and not asked["singly"]:
                timing[0] = loops
                at = [0]

                def call(step: Any = step, X: np.ndarray = X, at: list[int] = at) -> None:
                    at[0] = (at[0] + 1) % len(X)
                    step(X[at[0]])

                made["measure"] = per_call(call, clock=time.process_time)
        elif asked["do"] == "round":
            timing[0] = made["loops"]
            answer = {"ns": made["measure"]() / (made["loops"] * made["streams"]) * 1e9}
        else:
            timing[0] = 1
            answer = {"ns": latencies(made["step"], made["X"])}
        print(json.dumps(answer), flush=True)


class Process:
    """A contestant in a process of its own."""

    def __init__(self, name: str) -> None:
        pinned = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, "--serve", name],
            env={**os.environ, **pinned},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        while line and not line.startswith("{"):  # what a library has to say
            line = process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with status {process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait(timeout=30)


def prepared(processes: dict[str, Process], names: list[str], case: Case, streams: int, singly: bool) -> list[Process]:
    """Those of the contestants that are here, made for a case, and right."""
    ready = []
    for name in names:
        if name not in processes or (name == "torch.compile" and case.hidden != (COMPILED_HIDDEN,)):
            continue
        asked = {"cell": case.cell, "n_in": case.n_in, "hidden": case.hidden, "n_out": case.n_out}
        error = processes[name].ask(do="prepare", streams=streams, singly=singly, **asked)["error"]
        if error > TOLERANCE:
            print(f"{name} is wrong by {error:.1e} on {case.name}, and is not timed")
        else:
            ready.append(processes[name])
    return ready


def compare(report: Report, processes: dict[str, Process], cases: list[Case], streams: int, rounds: int) -> None:
    """Rows `single` or `many`: ns a stream and step."""
    for case in cases:
        ready = prepared(processes, SINGLE if streams == 1 else MANY, case, streams, singly=False)
        found: dict[str, list[float]] = {p.name: [] for p in ready}
        for _ in range(rounds):
            for process in ready:
                found[process.name].append(process.ask(do="round")["ns"])
        for name, values in found.items():
            question = "single" if streams == 1 else "many"
            median = report.add(question, name, "ns", values, hidden=case.hidden[0], streams=streams)
            print(f"{question:8}H={case.hidden[0]:<5}{name:34}{median:12,.0f} ns", flush=True)


def stac(report: Report, processes: dict[str, Process], rounds: int, quick: bool) -> None:
    """Rows `stac`: ns a step, p50 and p99 of single calls, and bytes of weights a second."""
    for name, case in list(STAC.items())[: 1 if quick else None]:
        ready = prepared(processes, STATEFUL, case, 1, singly=True)
        found: dict[str, list[list[float]]] = {p.name: [] for p in ready}
        for _ in range(rounds):
            for process in ready:
                found[process.name].append(process.ask(do="singly")["ns"])
        for who, each in found.items():
            p50s, p99s = ([percentile(calls, q) for calls in each] for q in (50, 99))
            p50 = report.add("stac", who, "ns", p50s, shape=name, percentile=50, weight_bytes=4 * case.weights)
            p99 = report.add("stac", who, "ns", p99s, shape=name, percentile=99, weight_bytes=4 * case.weights)
            rate = 4 * case.weights / p50
            print(f"{name:8} {who:26} p50 {p50:12,.0f} ns  p99 {p99:12,.0f} ns  {rate:6.1f} GB/s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="64 units and LSTM_A only, five rounds, no torch.compile")
    parser.add_argument("--json", type=Path, default=RESULTS / "peers.json", help="where the figures go")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve)
        return
    packages = ("streamrnn", "numba", "numpy", "onnxruntime", "openvino", "torch")
    report = Report("peers", packages)
    needed = {name: package for name, (_, package) in CONTESTANTS.items() if package}
    absent = {p for p in {*needed.values(), "onnx"} if importlib.util.find_spec(p) is None}
    if "onnx" in absent:
        absent |= {"onnxruntime", "openvino"}
    for package in sorted(absent):
        report.note(f"{package} is not installed, so not compared: pip install -e '.[bench]'")
    names = [n for n in CONTESTANTS if needed.get(n) not in absent and not (args.quick and n == "torch.compile")]
    processes = {name: Process(name) for name in names}
    rounds = 5 if args.quick else args.rounds
    cases = [c for c in LSTM if not args.quick or c.hidden == (64,)]
    for streams in (1, 1024):
        compare(report, processes, cases, streams, rounds)
    stac(report, processes, min(rounds, 5), args.quick)
    for process in processes.values():
        process.end()
    report.write(args.json)


if __name__ == "__main__":
    main()
