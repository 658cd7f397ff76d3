"""The engine on a GPU: the CPU's bits first, then how fast it is, and from which batch on it is worth having.

    python benchmarks/gpu.py                 all questions; figures to results/gpu.json
    python benchmarks/gpu.py --quick         64 units, fewer batches and rounds
    NUMBA_ENABLE_CUDASIM=1 python benchmarks/gpu.py --smoke   that it runs, in Numba's simulator; its times mean nothing

Ends with status 77, and says why, where no GPU can be used. Questions, of LSTMs with 4 inputs and 4 outputs:

    parity     every kind of model: answers, states, events and what the daemon publishes, on both devices; nothing is
               timed where a single bit differs
    latency    us from the call of step_many to its answers, everything included, by batch: p50 and p99 of single calls
    rate       samples a second of the same calls, one after the other
    parts      us of what a call is made of: an empty launch, the launch of the step alone, a packet down, a packet up
    peers      us of a bare step: torch nn.LSTM (cuDNN) and ONNX Runtime's CUDA provider, with samples from the host and
               hidden states back to it, where they are installed; checked against the float64 oracle, without TF32
    crossover  the smallest batch from which the GPU's p50 is below the CPU's, for one thread and for all processors

Streams are as many as the batch, and have seen 300 samples. Times are by the clock on the wall: what waits for a GPU
spends no processor time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from cases import LSTM, Case
from loops import warmed

from streamrnn.gpus import Found, look
from streamrnn.measure import Report, percentile

RESULTS = Path(__file__).parent / "results"
TESTS = Path(__file__).parents[1] / "tests"

NO_GPU = 77
"""The exit status of what was skipped, as test harnesses have it."""

BATCHES = (1, 16, 64, 256, 1024, 4096, 16_384, 65_536)
QUICK_BATCHES = (1, 64, 1024, 8192)
SMOKE_BATCHES = (1, 17)
WARM = 300
CALLS, SECONDS = 1000, 2.0
"""Calls of a batch that are timed at most, and for how long at most; at least 20."""

Step = Callable[[int], object]


def check(report: Report) -> None:
    """Stop where an engine on the GPU says anything else than one on the CPU, for any kind of model."""
    sys.path.append(str(TESTS))
    import engines

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "gpu.npz"
        subprocess.run([sys.executable, str(TESTS / "engines.py"), str(out)], check=True)
        expected = engines.everything("cpu")
        with np.load(out) as found:
            wrong = [k for k, a in expected.items() if k not in found or found[k].tobytes() != a.tobytes()]
    if wrong:
        sys.exit(f"{len(wrong)} of {len(expected)} differ from the CPU's, and nothing is timed: {', '.join(wrong[:5])}")
    report.add("parity", "same", "arrays", [float(len(expected))], kinds=len(engines.MODELS))
    print(f"parity: {len(expected):,} arrays of {len(engines.MODELS)} kinds of model, to the last bit")


def step_of(case: Case, batch: int, device: str, threads: int = 1, warm: int = WARM) -> Step:
    """A call of step_many over `batch` streams that have seen `warm` samples; its argument chooses the samples."""
    engine, handles, X = warmed(case.model(seed=1), batch, threads, warm, device)
    return lambda k: engine.step_many(handles, X[k % len(X)])


def latencies(step: Step, calls: int = CALLS, seconds: float = SECONDS) -> list[float]:
    """us of single calls, one after the other."""
    clock, found = time.perf_counter_ns, []
    step(0)
    stop = time.perf_counter() + seconds
    while len(found) < calls and (len(found) < 20 or time.perf_counter() < stop):
        began = clock()
        step(len(found) + 1)
        found.append((clock() - began) / 1e3)
    return found


def ask(report: Report, case: Case, batch: int, who: str, step: Step, settings: argparse.Namespace) -> float:
    """Rows `latency` and `rate` of one contestant; its p50."""
    rounds = [latencies(step, settings.calls, settings.seconds) for _ in range(settings.rounds)]
    where = {"hidden": case.hidden[0], "batch": batch}
    p50, p99 = (
        report.add("latency", who, "us", [percentile(calls, q) for calls in rounds], percentile=q, **where)
        for q in (50, 99)
    )
    rate = report.add("rate", who, "samples/s", [1e6 * batch * len(c) / sum(c) for c in rounds], **where)
    print(
        f"H={case.hidden[0]:<4}{batch:>7,} {who:26}p50 {p50:12,.1f} us  p99 {p99:12,.1f} us {rate:14,.0f} /s",
        flush=True,
    )
    return p50


def compare(report: Report, case: Case, settings: argparse.Namespace) -> None:
    """All batches on both devices, beside the peers; and where the GPU overtakes the CPU."""
    from gpu_peers import PEERS, checked

    cores = os.cpu_count() or 1
    ours: dict[str, Callable[[int], Step]] = {
        "cuda": lambda batch: step_of(case, batch, "cuda", warm=settings.warm),
        "cpu, 1 thread": lambda batch: step_of(case, batch, "cpu", warm=settings.warm),
    }
    if cores > 1 and not settings.smoke:
        ours[f"cpu, {cores} threads"] = lambda batch: step_of(case, batch, "cpu", cores, warm=settings.warm)
    found: dict[str, dict[int, float]] = {name: {} for name in ours}
    for batch in settings.batches:
        for name, make in ours.items():
            found[name][batch] = ask(report, case, batch, name, make(batch), settings)
        for name in [] if settings.smoke else PEERS:
            step = checked(name, case, batch, report)
            if step is not None:
                ask(report, case, batch, name, step, settings)
    for name in list(ours)[1:]:
        at = crossover(found["cuda"], found[name])
        report.add("crossover", name, "streams", [float("nan") if at is None else at], hidden=case.hidden[0])
        said = "at no batch that was timed" if at is None else f"from {at:,} streams on"
        print(f"H={case.hidden[0]:<4} the GPU is ahead of {name} {said}")


def crossover(gpu: dict[int, float], cpu: dict[int, float]) -> int | None:
    """The smallest batch from which on the GPU takes less time, at all batches that follow too; None where none is.

    >>> crossover({1: 20.0, 64: 21.0, 1024: 25.0}, {1: 3.0, 64: 30.0, 1024: 400.0})
    64
    """
    ahead = None
    for batch in sorted(gpu, reverse=True):
        if gpu[batch] >= cpu[batch]:
            break
        ahead = batch
    return ahead


def run(settings: argparse.Namespace, found: Found) -> None:
    report = Report("gpu", packages=("streamrnn", "numba", "numba-cuda", "numpy", "torch", "onnxruntime-gpu"))
    if found.simulated:
        if hasattr(os, "sched_setaffinity"):  # the simulator's threads take turns, five times slower on two processors
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        report.note("Numba's simulator stands in for a GPU: these times mean nothing")
    for gpu in found.gpus:
        capability = "{}.{}".format(*gpu.capability)
        report.note(f"GPU {gpu.number}: {gpu.name}, {capability}, {gpu.memory / 2**30:.1f} GiB, driver {found.driver}")
    if not settings.smoke:
        check(report)
    from gpu_parts import ask_parts

    ask_parts(report, LSTM[2], settings.batches, settings.rounds, settings.smoke)
    for case in [LSTM[2]] if settings.quick or settings.smoke else LSTM:
        compare(report, case, settings)
    report.write(settings.json)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="64 units, fewer batches and rounds")
    parser.add_argument("--smoke", action="store_true", help="one tiny batch of each, no parity and no peers")
    parser.add_argument("--json", type=Path, default=RESULTS / "gpu.json", help="where the figures go")
    settings = parser.parse_args()
    found = look()
    if found.refusal is not None:
        print(f"no GPU can be used, and nothing was measured: {found.refusal}", file=sys.stderr)
        sys.exit(NO_GPU)
    if found.simulated and not settings.smoke:
        print(
            "NUMBA_ENABLE_CUDASIM is set, and a simulator is not measured: unset it, or give --smoke", file=sys.stderr
        )
        sys.exit(NO_GPU)
    settings.batches, settings.calls, settings.seconds, settings.warm = BATCHES, CALLS, SECONDS, WARM
    if settings.quick:
        settings.batches, settings.rounds = QUICK_BATCHES, min(settings.rounds, 3)
    if settings.smoke:
        settings.batches, settings.rounds, settings.calls, settings.warm = SMOKE_BATCHES, 1, 20, 1
        settings.seconds = 0.0
    run(settings, found)


if __name__ == "__main__":
    main()
