"""`streamrnn bench`: what a sample costs on this machine, with a model of one's own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..measure import Report
    from ..model import Model

__all__ = ["bench"]

BATCHES = (1, 16, 256, 1024, 4096)
"""Streams that one call of step_many advances."""

CHECKED = 40
"""Streams, and samples of each, that are compared before anything is timed."""

WARM = 200
"""Samples that a stream has seen before it is timed, so that its detector is at work."""

CALLS = 20_000
"""Single steps of which p50 and p99 are taken."""

ROUNDS = 15

PATIENCE = 2.0
"""Seconds after which a large network has been warmed, or stepped by itself, often enough."""


def bench(
    model: Annotated[str, typer.Argument(metavar="[MODEL]", help="A model file, built-in or 'adaptive'.")] = "adaptive",
    n_in: Annotated[
        int | None,
        typer.Option("--n-in", min=1, max=4096, show_default="4", help="Channels of the adaptive model."),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, max=1024, help="Threads of large batches.")] = 1,
    start: Annotated[bool, typer.Option("--start", help="Also the time to compile, and to load again.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> int:
    """Measure what a sample costs on this machine.

    First it checks that a batch gives the bits of its streams alone; then it times single steps from Python and batches
    of several sizes, with scores and outputs, and says what a stream takes in memory. Ten seconds, for the largest
    networks a minute; leave the machine alone meanwhile.

    Example: streamrnn bench adaptive --n-in 8
    """
    from ..measure import Report
    from .models import load_sized
    from .notice import hint

    network = load_sized(model, n_in)
    # Lines, and no bar or spinner: those draw from a thread, which would be timed too.
    report = Report("bench", packages=("streamrnn", "numba", "numpy"))
    hint("checking a batch against its streams alone (the first time this compiles for half a minute)")
    check(network, threads)
    hint("timing single steps")
    single(report, network)
    hint("timing batches")
    batches(report, network, threads)
    memory(report, network)
    if start:
        hint("timing a start that compiles, and one that does not")
        starts(report)
    busy(report)
    if json:
        from json import dumps

        sizes = {"n_in": network.spec.n_in, "n_out": network.spec.n_out}
        print(dumps({"model": model, **sizes, "threads": threads, **report.as_dict()}))
    else:
        _print(f"{model}, {network.spec.n_in} channels,", threads, report)
    return 0


def walk(n: int, streams: int, model: Model) -> npt.NDArray[np.float32]:
    """Inputs (n, streams, n_in) of ordinary size that never settle: random walks pulled back to 0, or any tokens."""
    import numpy as np

    rng = np.random.default_rng(7)
    if model.spec.tokens:
        return rng.integers(0, model.spec.tokens, (n, streams, 1)).astype(np.float32)
    steps = rng.normal(size=(n, streams, model.spec.n_in))
    for i in range(1, n):
        steps[i] += 0.9 * steps[i - 1]
    return steps.astype(np.float32)


def check(model: Model, threads: int) -> None:
    """Exit where streams in a batch, and on several threads, do not give the bits that each gives alone.

    Raises ConfigError where so many streams do not fit into memory.
    """
    from ..engine import Engine
    from ..errors import ConfigError

    streams = CHECKED * threads * 4  # enough rows that all threads take part
    if not _fits(model, streams, CHECKED):
        raise ConfigError(
            f"the check takes {streams} streams of {model.spec.n_in} channels, more than a quarter of the free memory; "
            "lower --threads or --n-in"
        )
    X = walk(CHECKED, streams, model)
    names = [f"s{i}" for i in range(X.shape[1])]
    many = Engine(model, capacity=len(names), threads=threads)
    handles = many.handles(names)
    watched = {i: Engine(model, capacity=1) for i in (0, len(names) // 2, len(names) - 1)}
    for x in X:
        out = many.step_many(handles, x)
        for i, engine in watched.items():
            one = engine.step("s", x[i])
            if (one.y.tobytes(), one.score) != (out[i].y.tobytes(), out[i].score):
                sys.exit(
                    "streamrnn: a batch and a stream alone differ; wrong results are not timed: please report this"
                )


def _fits(model: Model, streams: int, n: int) -> bool:
    """Whether so many streams, and n samples for each, take less than a quarter of the memory that is free."""
    from ..measure import available_memory
    from .info import describe

    room = available_memory()
    samples = 24 * n * model.spec.n_in  # in float64 twice, while they are made, and in float32
    try:
        each = int(describe(model)["bytes_per_stream"]["total"]) + samples
    except MemoryError:
        return False
    return room is None or streams * each < room / 4


def single(report: Report, model: Model) -> None:
    """Rows `step`: p50 and p99 of engine.step with a handle and a float32 array, µs, in `ROUNDS` parts that take turns;
    p99.9 and the longest of all of them.
    """
    from time import perf_counter, perf_counter_ns

    from ..engine import Engine
    from ..measure import percentile

    X = walk(256, 1, model)[:, 0]
    engine = Engine(model, capacity=1)
    handle = int(engine.handles(["s"])[0])
    for x in X:
        engine.step(handle, x)
    times: list[int] = []
    until = perf_counter() + PATIENCE
    while len(times) < CALLS and (len(times) < 60 or perf_counter() < until):
        x = X[len(times) % 256]
        began = perf_counter_ns()
        engine.step(handle, x)
        times.append(perf_counter_ns() - began)
    parts = [times[k::ROUNDS] for k in range(ROUNDS)]
    for q in (50, 99):
        report.add("step", f"p{q}", "us", [percentile(part, q) / 1e3 for part in parts])
    report.add("step", "p99.9", "us", [percentile(times, 99.9) / 1e3])
    report.add("step", "max", "us", [max(times) / 1e3])


def batches(report: Report, model: Model, threads: int) -> None:
    """Rows `batch`: µs a sample of step_many, with handles, by the number of streams."""
    from time import perf_counter

    from ..engine import Engine
    from ..measure import interleaved, per_call

    def prepared(streams: int) -> Any:
        X = walk(16, streams, model)
        engine = Engine(model, capacity=streams, threads=threads)
        handles = engine.handles([f"s{i}" for i in range(streams)])
        until = perf_counter() + PATIENCE
        for k in range(WARM):
            engine.step_many(handles, X[k % 16])
            if perf_counter() > until:
                break
        at = [0]

        def call() -> None:
            at[0] = (at[0] + 1) % 16
            engine.step_many(handles, X[at[0]])

        measure = per_call(call)
        return lambda: measure() / streams * 1e6

    sizes = [n for k, n in enumerate(BATCHES) if _fits(model, sum(BATCHES[: k + 1]), 16)]
    if left := [n for n in BATCHES if n not in sizes]:
        report.notes.append(
            f"batches of {left} streams would take more than a quarter of the free memory, and are left out"
        )
    found = interleaved({str(n): prepared(n) for n in sizes}, ROUNDS)
    for n in sizes:
        report.add("batch", "step_many", "us", found[str(n)], streams=n)


def memory(report: Report, model: Model) -> None:
    """Row `stream`: bytes that a stream takes."""
    from .info import describe

    report.add("stream", "total", "bytes", [describe(model)["bytes_per_stream"]["total"]])


def busy(report: Report) -> None:
    """A note where other programs had more than half of the processors when this began."""
    machine = report.as_dict()["machine"]
    load, cores = machine["load"], machine["cores"]
    if load is not None and cores is not None and load > cores / 2:
        report.notes.append(
            f"{load:.1f} programs ran on {cores} processors before this began: times are longer than on a quiet machine"
        )


def starts(report: Report) -> None:
    """Rows `start`: seconds until a new process has compiled everything, and until one finds it compiled."""
    import os
    import subprocess
    from tempfile import TemporaryDirectory
    from time import perf_counter

    code = "from streamrnn import Engine, Model; Engine(Model.adaptive(1), capacity=1).compile()"
    with TemporaryDirectory() as folder:
        for name in ("first", "later"):
            began = perf_counter()
            subprocess.run(  # noqa: S603
                [sys.executable, "-c", code], env={**os.environ, "NUMBA_CACHE_DIR": folder}, check=True
            )
            report.add("start", name, "s", [perf_counter() - began])


def _print(model: str, threads: int, report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    from .board import quantity

    about = report.as_dict()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("", "median", "quartiles", "samples/s"):
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    for row in report.rows:
        median, low, high, unit = row["median"], row["low"], row["high"], row["unit"].replace("us", "µs")
        spread, rate = f"{low:.3g} to {high:.3g}", ""
        if row["question"] == "step":
            what, amount = f"step from Python, {row['name']}", f"{median:.2f} {unit}"
            rate = quantity(round(1e6 / median)) if row["name"] == "p50" else ""
            spread = spread if row["rounds"] > 1 else ""
        elif row["question"] == "batch":
            what, amount = f"step_many of {quantity(row['streams'])}, a sample", f"{median:.3f} {unit}"
            rate = quantity(round(1e6 / median))
        elif row["question"] == "stream":
            what, amount, spread = "memory of a stream", f"{quantity(round(median))} {unit}", ""
        else:
            what, amount, spread = f"{row['name']} start", f"{median:.1f} {unit}", ""
        table.add_row(what, amount, spread, rate)
    console = Console(highlight=False)
    on = about["machine"]
    console.print(f"{model} on {on['cpu']}, Python {on['python']}, {threads} thread{'s' * (threads > 1)}")
    console.print("a batch gives the bits of each stream alone: checked")
    console.print("timed: engine.step(handle, x) and engine.step_many(handles, X), float32 arrays")
    console.print(table)
    for note in about["notes"]:
        console.print(note)
