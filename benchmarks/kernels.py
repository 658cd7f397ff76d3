"""What a step costs, and how that grows: with hidden size, layers, streams and threads.

    python benchmarks/kernels.py               all questions, about two minutes; figures to results/kernels.json
    python benchmarks/kernels.py --quick       less of everything
    python benchmarks/kernels.py --only steps batches

Questions, one thread unless said, 4 inputs and 4 outputs, float32; times in ns a sample:

    ceilings   10^9 operations a second of FMAs, and with weights streamed from L1, from L2 and from further away
    step       one stream, the layers alone, inside the engine's compiled loop
    tile       1,024 streams, the layers alone, likewise
    batch      step_many with handles, 1,024 streams: look-up, fill, score, step, readout, ring
    scoring    the detector alone, 1,024 streams of 4 outputs
    call       engine.step from Python with a handle
    hidden, layers, streams    step_many as they grow; streams in an order that caches cannot foresee
    threads    step_many of 4,096 streams on 1 and 2 threads
    adaptive   the model that learns, 64 units

Before anything is timed, a batch is compared with streams stepped alone, to the last bit. Inputs are a random walk, and
streams have seen 800 samples, so that detectors are past their youth. Times are processor time of the one thread that
works, so that other processes on a busy machine count less; those of several threads are by the clock on the wall.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, thread_time

import numpy as np
from cases import LSTM, TIMED, Case, many_samples
from ceilings import ceilings, nearest, side_by_side
from loops import layers_loop, score_loop, warmed

from streamrnn import Engine, Model
from streamrnn.engine.core import SHARE
from streamrnn.measure import Report, available_memory, interleaved, per_call

RESULTS = Path(__file__).parent / "results"
STREAMS = 1024
N_IN = 4
WARM = 800

Round = Callable[[], float]


def check() -> None:
    """A stream among two hundred gives the bits that it gives alone, and layers timed bare those of the engine: for
    every cell and size, the deepest chain, the other heads, and threads."""
    cases = [case for row in TIMED.values() for case in row]
    cases += [Case("lstm", N_IN, (h,), 4) for h in (8, 256)] + [Case("lstm", N_IN, (32,) * 8, 4)]
    for case in cases:
        _compare(case.name, case.model(seed=1), layers_loop(case.model(seed=1), 200))
    _compare("forecast", LSTM[0].model(seed=1, head="forecast"))
    _compare("adaptive", Model.adaptive(N_IN, hidden=64))
    _compare("two threads", LSTM[1].model(seed=1), threads=2, streams=4 * SHARE)


def _compare(name: str, model: Model, bare: layers_loop | None = None, threads: int = 1, streams: int = 200) -> None:
    """Stop where a stream in a batch is not what it is alone, or the bare loop not what the engine is."""
    X = many_samples(12, streams, N_IN)
    many, alone = Engine(model, capacity=streams, threads=threads), Engine(model, capacity=1)
    handles = many.handles([f"s{i}" for i in range(streams)])
    for x in X:
        a, b = many.step_many(handles, x)[123], alone.step("s", x[123])
        if a.y.tobytes() != b.y.tobytes() or a.score != b.score:
            raise SystemExit(f"{name}: the batch and the single stream differ; wrong results are not timed")
        if bare is not None:
            bare.run(x)
    if bare is not None:
        last = f"h_l{len(model.spec.layers) - 1}"
        if bare.h().tobytes() != np.stack([many.state(f"s{i}").arrays[last] for i in range(streams)]).tobytes():
            raise SystemExit(f"{name}: the bare loop and the engine differ; wrong results are not timed")


def batch(
    model: Model,
    streams: int,
    threads: int = 1,
    warm: int = WARM,
    shuffled: bool = False,
    clock: Callable[[], float] = thread_time,
) -> Round:
    """Measures ns a sample of step_many over all streams, 1,024 a call at most where they are shuffled."""
    engine, handles, X = warmed(model, streams, threads, warm)
    at = [0]
    if not shuffled:

        def call() -> None:
            at[0] = (at[0] + 1) % len(X)
            engine.step_many(handles, X[at[0]])

        measure = per_call(call, clock=clock)
        return lambda: measure() / streams * 1e9
    order = np.random.default_rng(5).permutation(streams)
    parts = [(handles[p], X[0][p]) for p in np.array_split(order, max(1, streams // STREAMS))]

    def everyone() -> None:
        for some, x in parts:
            engine.step_many(some, x)

    measure = per_call(everyone, clock=clock)
    return lambda: measure() / streams * 1e9


def bare(case: Case, streams: int, clock: Callable[[], float] = thread_time) -> Round:
    """Measures ns a stream of the layers alone, in compiled code."""
    loop = layers_loop(case.model(seed=1), streams)
    x = many_samples(2, streams, case.n_in)[1]
    repeat = max(1, int(2e7 / (case.flops * streams)))
    measure = per_call(lambda: loop.run(x, repeat), clock=clock)
    return lambda: measure() / (repeat * streams) * 1e9


def from_python(case: Case, clock: Callable[[], float] = thread_time) -> Round:
    """Measures ns of engine.step with a handle."""
    engine, handles, X = warmed(case.model(seed=1), 1, 1, WARM)
    handle, x = int(handles[0]), X[0][0]
    measure = per_call(lambda: engine.step(handle, x), clock=clock)
    return lambda: measure() * 1e9


def ask_steps(report: Report, rounds: int) -> None:
    """Ceilings, single steps and tiles, in turn with each other: their ratios are what matters."""
    cases = [case for row in TIMED.values() for case in row]
    contestants: dict[str, Round] = dict(ceilings())
    contestants |= {f"step {c.name}": bare(c, 1) for c in cases}
    contestants |= {f"tile {c.name}": bare(c, STREAMS) for c in cases}
    found = interleaved(contestants, rounds)
    limits = {name: report.add("ceilings", name, "GFLOP/s", found[name]) for name in ("fma", "l1", "l2", "far")}
    for case in cases:
        where = nearest(4 * case.weights)
        for question, limit in (("step", where), ("tile", "fma")):
            times = found[f"{question} {case.name}"]
            rate = case.flops / sorted(times)[len(times) // 2]
            report.add(
                question,
                case.cell,
                "ns",
                times,
                hidden=case.hidden[0],
                streams=1 if question == "step" else STREAMS,
                gflops=rate,
                ceiling=limit,
                of_ceiling=rate / limits[limit],
            )


def ask_batches(report: Report, rounds: int) -> None:
    contestants = {f"batch {c.name}": batch(c.model(seed=1), STREAMS) for row in TIMED.values() for c in row}
    contestants |= {f"call {c.name}": from_python(c) for c in LSTM}
    for head in ("regress", "forecast"):
        contestants[f"scoring {head}"] = score_loop(LSTM[0].model(seed=1, head=head), STREAMS, WARM)
    found = interleaved(contestants, rounds)
    for row in TIMED.values():
        for case in row:
            times = found[f"batch {case.name}"]
            report.add("batch", case.cell, "ns", times, hidden=case.hidden[0], streams=STREAMS)
    for case in LSTM:
        report.add("call", case.cell, "ns", found[f"call {case.name}"], hidden=case.hidden[0], streams=1)
    for head in ("regress", "forecast"):
        report.add("scoring", head, "ns", found[f"scoring {head}"], streams=STREAMS, outputs=4)


def ask_growth(report: Report, rounds: int, quick: bool) -> None:
    for hidden in (8, 16, 32, 64, 128, 256, *([] if quick else [512])):
        case = Case("lstm", N_IN, (hidden,), 4)
        pair = {"bare": bare(case, 1), "batch": batch(case.model(seed=1), STREAMS, warm=50)}
        for name, values in interleaved(pair, rounds).items():
            report.add("hidden", name, "ns", values, hidden=hidden, streams=1 if name == "bare" else STREAMS)
    for depth in (1, 2, 4, 8):
        case = Case("lstm", N_IN, (32,) * depth, 4)
        values = interleaved({"batch": batch(case.model(seed=1), STREAMS, warm=50)}, rounds)["batch"]
        report.add("layers", "batch", "ns", values, hidden=32, layers=depth, streams=STREAMS)


def ask_streams(report: Report, rounds: int, quick: bool) -> None:
    case = Case("lstm", N_IN, (32,), 4)
    for streams in (1, 10, 100, 1_000, 10_000, 100_000, *([] if quick else [1_000_000])):
        sizes = Engine(case.model(), capacity=1000).nbytes
        needed = sum(sizes.values()) * streams // 1000
        room = available_memory()
        if room is not None and needed > 0.6 * room:
            report.note(f"{streams:,} streams take {needed / 2**30:.1f} GiB, more than this machine has to spare")
            continue
        measure = batch(case.model(seed=1), streams, warm=2 if streams > 10_000 else 50, shuffled=True)
        values = interleaved({"batch": measure}, 5 if streams > 10_000 else rounds)["batch"]
        report.add("streams", "batch", "ns", values, hidden=32, streams=streams)


def ask_threads(report: Report, rounds: int) -> None:
    """The speed-up, and what it could be: two virtual cores may be one core, or busy."""
    report.add("speedup", "FMAs alone", "ratio", [measure() for measure in [side_by_side()] * rounds], streams=0)
    for case in LSTM[1:3]:
        contestants = {str(n): batch(case.model(seed=1), 4096, threads=n, warm=200, clock=perf_counter) for n in (1, 2)}
        found = interleaved(contestants, 2 * rounds)
        speedups = [a / b for a, b in zip(found["1"], found["2"], strict=True)]
        for n in (1, 2):
            report.add("threads", "batch", "ns", found[str(n)], hidden=case.hidden[0], streams=4096, threads=n)
        report.add("speedup", "two threads", "ratio", speedups, hidden=case.hidden[0], streams=4096)


def ask_adaptive(report: Report, rounds: int) -> None:
    model = Model.adaptive(N_IN, hidden=64)
    contestants = {str(n): batch(model, n, warm=WARM) for n in (1, 100, STREAMS)}
    for n, values in interleaved(contestants, rounds).items():
        report.add("adaptive", "batch", "ns", values, hidden=64, streams=int(n))


def show(report: Report) -> None:
    for row in report.rows:
        at = ", ".join(f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in list(row.items())[7:])
        print(f"{row['question']:10}{row['name']:12}{row['median']:12,.2f} {row['unit']:8}{at}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, no million streams")
    parser.add_argument("--only", nargs="+", metavar="PART", help="steps, batches, growth, streams, threads, adaptive")
    parser.add_argument(
        "--json", type=Path, help="where the figures go; else results/kernels.json, of parts kernels-part.json"
    )
    args = parser.parse_args()
    rounds = 5 if args.quick else args.rounds
    parts = {
        "steps": lambda r: ask_steps(r, rounds),
        "batches": lambda r: ask_batches(r, rounds),
        "growth": lambda r: ask_growth(r, rounds, args.quick),
        "streams": lambda r: ask_streams(r, rounds, args.quick),
        "threads": lambda r: ask_threads(r, rounds),
        "adaptive": lambda r: ask_adaptive(r, rounds),
    }
    check()
    report = Report("kernels")
    for name in args.only or parts:
        parts[name](report)
    show(report)
    report.write(args.json or RESULTS / ("kernels-part.json" if args.only else "kernels.json"))


if __name__ == "__main__":
    main()
