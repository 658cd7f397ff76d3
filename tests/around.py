"""What happens to samples around a network, on any device: steps of the CPU's engine, and the same by the twin.

    python tests/around.py OUT     in the simulator under NUMBA_ENABLE_CUDASIM=1, else on a GPU

writes what the twin makes of every kind of model to OUT. The network's part of each step is taken from the CPU, so that
the rest is compared alone; but the state, once begun, is the twin's own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import ptx as instructions
from networks import forecaster, speaker
from numba import types

from streamrnn import Engine, Model
from streamrnn._cuda import SIMULATED, block_function, cuda, exact, launched
from streamrnn.burst import HAS_RESET, HAS_T
from streamrnn.engine.advance import clear_row
from streamrnn.engine.cuda.sample import Work, after, before, online, scale_back, scratch
from streamrnn.engine.program import Program, Sizes, Slab, read_sizes
from streamrnn.engine.table import COUNT
from streamrnn.kernels.cuda.product import LAUNCH, THREADS, TILE
from streamrnn.kernels.score import COMPONENTS, SETTINGS

STREAMS, WARM, STEPS = 19, 160, 6

_LARGE = "large"
"""The kind whose readout has more features than a block has threads: slow in the simulator, so of one step."""

# Early in life and quick to judge, so that a few samples see all that can happen.
_QUICK = {"warmup": 4.0, "youth": 30.0, "hold": 3.0, "longest": 9.0, "missing": 2.0}
_OFF = {name: 0.0 for name in COMPONENTS if name in SETTINGS}

KINDS: dict[str, Any] = {
    "adaptive": lambda: Model.adaptive(3, 13, clock=False, detector=_QUICK, learning={"drift": 1e-3}),
    "clock": lambda: Model.adaptive(2, 5, detector=_QUICK),
    _LARGE: lambda: Model.adaptive(1, 130, clock=False, detector=_OFF),
    "wide": lambda: forecaster(n=11, detector=_QUICK),
    "horizon": lambda: forecaster(horizon=3, normaliser="none", detector=_QUICK),
    "spread": lambda: forecaster("gaussian", n=2, detector=_QUICK),
    "tokens": lambda: speaker(7, surprise_mean=2.0, surprise_scale=0.5, surprise_rate=0.4, hold=2.0, longest=5.0),
    "classify": lambda: Model.random("gru", n_in=2, hidden=5, n_out=3, head="classify", detector=_QUICK),
}

_DAY_ONE, _PACE = 1_767_225_600 * 10**9, 37 * 60 * 10**9  # 2026, and ns from one sample to the next


class Down(NamedTuple):
    t: np.ndarray
    slots: np.ndarray
    counts: np.ndarray
    x: np.ndarray
    has: np.ndarray


class Up(NamedTuple):
    y: np.ndarray
    score: np.ndarray
    cause: np.ndarray
    flag: np.ndarray
    edge: np.ndarray
    missing: np.ndarray


def _arrays(kinds: str) -> list[Any]:
    numbers = {"l": types.int64, "f": types.float32, "d": types.float64, "b": types.int8, "i": types.int32}
    return [types.Array(numbers[k[0]], int(k[1]), "C") for k in kinds.split()]


_PROGRAM, _SLAB, _WORK = _arrays("l1 l2 f1 d1 d1"), _arrays("f2 d2 d2 f3"), _arrays("f2 f2 d2 d2")
_DOWN, _UP = _arrays("l1 l1 l1 f2 b1"), _arrays("f2 f1 i1 b1 b1 b2")


def _parts() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """What the twin is made of, as kernels for an assembler: each function, and the types of its arguments."""
    sizes = types.NamedUniTuple(types.int64, len(Sizes._fields), Sizes)
    program, slab = types.NamedTuple(_PROGRAM, Program), types.NamedTuple(_SLAB, Slab)
    work, down, up = types.NamedTuple(_WORK, Work), types.NamedTuple(_DOWN, Down), types.NamedTuple(_UP, Up)
    rows, y = _arrays("l1 f2")
    return {
        "before": (before, (sizes, program, slab, work, down, up, types.int64)),
        "online": (online, (sizes, program, slab, work, down, rows, y, types.int64)),
        "scale_back": (scale_back, (sizes, program, y, types.int64)),
        "after": (after, (sizes, slab, work, down, up, types.int64)),
    }


PARTS = _parts()


class Step(NamedTuple):
    """A wave, what the network made of it (h: the streams' state up to what surrounds it), and what came of it."""

    down: Down
    h: np.ndarray
    u: np.ndarray
    up: Up


class Run(NamedTuple):
    """The model's program, the streams' rows before the steps and after them, and the steps."""

    program: Program
    begin: Slab
    steps: list[Step]
    end: Slab


def signals(model: Model, steps: int) -> np.ndarray:
    """x float32 (steps, STREAMS, n_in): noise about levels that shift, spikes, whole numbers, gaps; or tokens."""
    rng = np.random.default_rng(7)
    n = model.spec.n_in
    shape = steps, STREAMS, n
    if model.spec.tokens:
        return rng.integers(0, model.spec.tokens, shape).astype("f")
    level = np.cumsum(np.where(rng.random(shape) < 0.02, rng.normal(size=shape) * 30, 0.0), axis=0)
    x = level + rng.normal(size=shape) * 10.0 ** rng.integers(-2, 2, (STREAMS, n))
    x = np.where(rng.random(shape) < 0.02, x * 40, x)
    x = np.where(np.arange(STREAMS)[:, None] % 3 == 0, np.round(x), x)
    x[:, 1] = 98.0  # one that stands still, and then moves
    x[-2:, 1] = 80.0
    x[rng.random(shape) < 0.06] = np.nan
    x[rng.random((steps, STREAMS)) < 0.05] = np.nan
    x[WARM - 3 :, 4, 0] = x[WARM - 7 :, 5, 0] = np.nan  # gaps as there was none before
    x[-4, 3] = 1e30
    x[-3, 3] = -1e30
    return x.astype("f")


def _copy(slab: Slab) -> Slab:
    return Slab(*(np.array(a) for a in slab))


@cache
def on_cpu(kind: str) -> Run:
    """The CPU's engine over samples of that kind of model, of which the last are told: STEPS of them, or one."""
    model = KINDS[kind]()
    engine = Engine(model, capacity=STREAMS + 3, ring=4 if kind == "clock" else 5)
    x = signals(model, WARM + STEPS)
    handles = engine.handles([f"s{i}" for i in range(STREAMS)])
    rng = np.random.default_rng(8)
    x_held = int(Sizes(*engine._program.sizes.tolist()).x_held)
    steps: list[Step] = []
    begin = engine._slab
    last = WARM + (1 if kind == _LARGE else STEPS)
    for k in range(last):
        order = rng.permutation(STREAMS)
        told = k >= WARM
        reset = rng.random(STREAMS) < 0.1 if told and k % 3 == 1 else np.zeros(STREAMS, bool)
        t = np.full(STREAMS, _DAY_ONE + k * _PACE) if model.spec.clock and k % 5 != 4 else None
        if k == WARM:
            begin = _copy(engine._slab)
        slots = handles[order] & 0xFFFFFFFF
        counts = np.where(reset, 0, engine._table.meta[slots, COUNT])
        samples = x[k, order]
        out = engine.step_many(handles[order], samples[:, 0] if model.spec.tokens else samples, t, reset)
        if told:
            has = HAS_RESET * reset + (HAS_T if t is not None else 0)
            down = Down(np.zeros(STREAMS, np.int64) if t is None else t, slots, counts, samples, has.astype(np.int8))
            up = Up(out.y, out.score, out.cause_code, *(a.astype(np.int8) for a in (out.flag, out.edge, out.missing)))
            h, u = engine._slab.state[slots, :x_held], engine._work.u[:STREAMS, : model.spec.n_net]
            steps.append(Step(down, h.copy(), u.copy(), up))
    return Run(engine._program, begin, steps, _copy(engine._slab))


def expected(kind: str) -> list[np.ndarray]:
    """What the CPU's engine answers, and its streams' rows behind: what `replayed` is to give, array by array."""
    run = on_cpu(kind)
    return [a for step in run.steps for a in (step.u, *step.up)] + list(run.end)


_sizes = read_sizes.py_func if SIMULATED else read_sizes


def _around(
    sizes, layers, weights, settings, learning, state, adapt, detector, ring, filled, u, phi, gain, rows,
    t, slots, counts, x, has, h, y, score, cause, flag, edge, missing, n,
):  # fmt: skip
    """A step whose network's part is given: h, and y where the readout is the network's."""
    program, slab = Program(sizes, layers, weights, settings, learning), Slab(state, adapt, detector, ring)
    work, down = Work(filled, u, phi, gain), Down(t, slots, counts, x, has)
    up, all_sizes = Up(y, score, cause, flag, edge, missing), _sizes(program)
    before(all_sizes, program, slab, work, down, up, n)
    for first in range(cuda.blockIdx.x * TILE, n, cuda.gridDim.x * TILE):
        for i in range(cuda.threadIdx.x, min(TILE, n - first) * h.shape[1], THREADS):
            s, j = first + i // h.shape[1], i % h.shape[1]
            state[slots[s], j] = h[s, j]
        cuda.syncthreads()
    if all_sizes.online:
        online(all_sizes, program, slab, work, down, rows, y, n)
    after(all_sizes, slab, work, down, up, n)


around = block_function(_around)
AROUND = (*_PROGRAM, *_SLAB, *_WORK, *_arrays("l1"), *_DOWN, *_arrays("f2"), *_UP, types.int64)


def replayed(kind: str, blocks: int, launch: Callable[[list[Any]], None]) -> tuple[list[np.ndarray], Slab]:
    """What the twin answers to each step, its inputs of the network included, and the streams' rows behind them.

    `launch` runs `around` on so many blocks with the arguments that it is given.
    """
    model, run = KINDS[kind](), on_cpu(kind)
    slab, spec = _copy(run.begin), model.spec
    columns = scratch(spec.n_features if spec.readout == "online" else 0, spec.n_out)
    phi, gain = (np.full((blocks * TILE, c), np.nan) for c in columns)
    work = Work(np.full((STREAMS, spec.n_in), np.nan, "f"), np.full((STREAMS, spec.n_net + 2), np.nan, "f"), phi, gain)
    cpu = Engine(model, capacity=1)._work
    answers = []
    for down, h, _, expected in run.steps:
        for slot in down.slots[(down.has & HAS_RESET) != 0]:
            clear_row(run.program, slab, cpu, slot)
        y = np.full_like(expected.y, np.nan) if spec.readout == "online" else expected.y.copy()
        up = Up(y, *(np.full_like(a, 77) for a in expected[1:]))
        launch([*run.program, *slab, *work, np.arange(STREAMS), *down, h, *up, STREAMS])
        answers += [work.u[:, : spec.n_net].copy(), *up]
    return answers, slab


def on_device(
    kind: str, blocks: int = 1, launching: Callable[[], AbstractContextManager[Any]] = nullcontext
) -> tuple[list[np.ndarray], Slab]:
    """`replayed` in the simulator, or on a GPU; each launch is inside a `launching()`."""
    step = launched(around, LAUNCH)

    def launch(arguments: list[Any]) -> None:
        with exact(), launching():
            step[blocks, THREADS](*arguments)

    return replayed(kind, blocks, launch)


def by_instructions(kind: str, ptx: str, blocks: int = 1) -> tuple[list[np.ndarray], Slab]:
    """`replayed` by the PTX of `around`, one instruction at a time."""
    return replayed(kind, blocks, lambda arguments: instructions.run(ptx, blocks, THREADS, arguments))


def races() -> dict[str, list[int]]:
    """How many races there are in each step of every kind of model, two blocks having a tile each."""
    from races import watched  # the simulator's parts alone

    found: dict[str, list[int]] = {}
    for kind in KINDS:
        on_cpu(kind)

        @contextmanager
        def launching(kind: str = kind) -> Iterator[None]:
            with watched() as watch:
                yield
            assert watch.accesses > 1_000
            found.setdefault(kind, []).append(len(watch.races))

        if kind != _LARGE:
            on_device(kind, 2, launching)
    return found


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):  # the simulator's threads take turns, five times slower on two processors
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    arrays = {}
    for k, kind in enumerate(KINDS):
        answers, slab = on_device(kind, blocks=1 + k % 3)
        arrays |= {f"{kind}.{i}": a for i, a in enumerate([*answers, *slab])}
    np.savez(sys.argv[1], **arrays, races=np.array(json.dumps(races() if SIMULATED else {})))
