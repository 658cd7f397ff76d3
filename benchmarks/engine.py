"""What a step costs in the engine, and what a stream costs in memory.

    python benchmarks/engine.py             all questions
    python benchmarks/engine.py --json F    and the figures as JSON

1. step_many, 1,024 streams of LSTM-32, with handles: microseconds a sample.
2. The same with 100 and with 100,000 streams of LSTM-64 in one engine, every stream once a round, in an order that
   caches cannot foresee: the ratio.
3. Memory of those 100,000 streams: growth of the process over what state, ring and ids need.

Results are checked against a stream stepped alone before anything is timed. Times are medians of rounds, after the
compilation, which is reported apart.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from streamrnn import Engine, Model, __version__

N_IN = 4


def resident() -> int:
    """Bytes that this process holds in memory now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # not Linux: the peak is the nearest there is
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * resource.getpagesize()


def check(model: Model) -> None:
    """A stream among a thousand gives the bits that it gives alone."""
    x = np.random.default_rng(0).normal(size=(20, 1000, N_IN)).astype(np.float32)
    many, alone = Engine(model, capacity=1000), Engine(model, capacity=1)
    handles = many.handles([f"s{i}" for i in range(1000)])
    for row in x:
        a = many.step_many(handles, row)[123]
        b = alone.step("s", row[123])
        if a.y.tobytes() != b.y.tobytes() or a.score != b.score:
            sys.exit("the batch and the single stream differ: not timing wrong results")


def per_sample(engine: Engine, handles: np.ndarray, X: np.ndarray, batch: int, rounds: int) -> tuple[float, float]:
    """(median, interquartile range) of microseconds a sample over rounds through all streams, `batch` a call."""
    times = []
    for r in range(rounds + 1):
        start = time.perf_counter()
        for a in range(0, len(handles), batch):
            engine.step_many(handles[a : a + batch], X[a : a + batch])
        if r:  # the first round warms up
            times.append((time.perf_counter() - start) / len(handles) * 1e6)
    low, _, high = statistics.quantiles(times, n=4)
    return statistics.median(times), high - low


def many_streams(n: int, rounds: int) -> dict[str, float]:
    """Cost and memory of n streams of LSTM-64, each stepped once a round in shuffled order."""
    model = Model.random("lstm", n_in=N_IN, hidden=64, n_out=N_IN, seed=1)
    before = resident()
    engine = Engine(model, capacity=n)
    handles = engine.handles([f"stream-{i}" for i in range(n)])
    rng = np.random.default_rng(2)
    rng.shuffle(handles)
    X = rng.normal(size=(n, N_IN)).astype(np.float32)
    # Enough rounds to fill every ring.
    median, spread = per_sample(engine, handles, X, 1000 if n > 1000 else 100, max(rounds, 16))
    grown = resident() - before
    parts = engine.nbytes
    needed = parts["state"] + parts["ring"] + parts["ids"]
    return {
        "streams": n,
        "us_per_sample": median,
        "us_spread": spread,
        "bytes_per_stream": grown / n,
        "needed_per_stream": needed / n,
        "memory_ratio": grown / needed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--rounds", type=int, default=31)
    args = parser.parse_args()

    model = Model.random("lstm", n_in=N_IN, hidden=32, n_out=N_IN, seed=1)
    start = time.perf_counter()
    Engine(model, capacity=1).compile()
    compiled = time.perf_counter() - start
    check(model)
    print(f"compiling, or loading from the cache: {compiled:.2f} s")

    engine = Engine(model, capacity=1024)
    handles = engine.handles([f"s{i}" for i in range(1024)])
    X = np.random.default_rng(1).normal(size=(1024, N_IN)).astype(np.float32)
    median, spread = per_sample(engine, handles, X, 1024, 20 * args.rounds)
    print(f"step_many, LSTM-32, {N_IN} inputs, 1,024 streams: {median:.3f} us a sample (IQR {spread:.3f})")

    few, lots = many_streams(100, 20 * args.rounds), many_streams(100_000, args.rounds)
    ratio = lots["us_per_sample"] / few["us_per_sample"]
    print(f"LSTM-64, {few['streams']:,} streams: {few['us_per_sample']:.3f} us a sample (IQR {few['us_spread']:.3f})")
    print(f"LSTM-64, {lots['streams']:,} streams: {lots['us_per_sample']:.3f} us a sample, {ratio:.2f} times that")
    print(
        f"memory of {lots['streams']:,} streams: {lots['bytes_per_stream']:.0f} bytes each, "
        f"{lots['memory_ratio']:.3f} times state, ring and ids ({lots['needed_per_stream']:.0f})"
    )
    if args.json:
        args.json.write_text(
            json.dumps(
                {
                    "streamrnn": __version__,
                    "python": platform.python_version(),
                    "machine": platform.processor() or platform.machine(),
                    "compile_s": compiled,
                    "step_many_1024": {"us_per_sample": median, "us_spread": spread},
                    "few": few,
                    "many": lots,
                    "cost_ratio": ratio,
                },
                indent=2,
            )
        )


if __name__ == "__main__":
    main()
