"""Parts of the engine alone, called from compiled code: its layers, and its detector. And engines that have run."""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time

import numpy as np
from cases import many_samples
from numba import njit

from streamrnn import Engine, Model
from streamrnn.engine.chain import layers
from streamrnn.engine.program import FORECAST, TILE, read_sizes
from streamrnn.engine.table import GENERATION
from streamrnn.kernels.score import score
from streamrnn.measure import per_call

__all__ = ["layers_loop", "score_loop", "warmed"]

_FLAGS = {"error_model": "numpy", "_nrt": False, "nogil": True}


@njit(**_FLAGS)
def _run_layers(program, slab, work, X, repeat):
    """All layers for every row of X, `repeat` times over, in waves as the engine takes them."""
    for _ in range(repeat):
        for first in range(0, X.shape[0], TILE):
            n = min(TILE, X.shape[0] - first)
            for s in range(n):
                work.slots[s] = first + s
                for k in range(X.shape[1]):
                    work.u[s, k] = X[first + s, k]
            layers(program, slab, work, n)


class layers_loop:  # noqa: N801 - it is called like the functions beside it
    """The layers of a model without a normaliser, for as many streams."""

    def __init__(self, model: Model, streams: int) -> None:
        engine = Engine(model, capacity=streams, ring=0)
        self._arrays = engine._program, engine._slab, engine._work
        self._last = engine._layout.parts[f"h_l{len(model.spec.layers) - 1}"]

    def run(self, x: np.ndarray, repeat: int = 1) -> None:
        """Step all streams with x (streams, n_in), `repeat` times."""
        _run_layers(*self._arrays, x, repeat)

    def h(self) -> np.ndarray:
        """The last layer's hidden state, (streams, H)."""
        _, at, shape = self._last
        return np.ascontiguousarray(self._arrays[1].state[:, at : at + shape[0]])


@njit(**_FLAGS)
def _run_score(program, slab, X, missing, answers):
    """The detector alone, for samples X (several, streams, n_in)."""
    sizes = read_sizes(program)
    for k in range(X.shape[0]):
        for i in range(X.shape[1]):
            row = slab.state[i]
            y = row[sizes.y_prev : sizes.y_prev + sizes.n_out]
            score(
                X[k, i],
                missing,
                0,
                y,
                sizes.head == FORECAST,
                np.int64(0),
                slab.detector[i],
                program.detector,
                i,
                answers[0],
                answers[1],
                answers[2],
                answers[3],
            )


def score_loop(model: Model, streams: int, warm: int) -> Callable[[], float]:
    """Measures ns a sample of the detector alone, on streams that have seen `warm` samples."""
    engine, _, X = warmed(model, streams, 1, warm)
    missing = np.zeros(model.spec.n_in, np.uint8)
    answers = tuple(np.zeros(streams, t) for t in (np.float32, np.uint8, np.int8, np.int32))
    measure = per_call(lambda: _run_score(engine._program, engine._slab, X, missing, answers), clock=thread_time)
    return lambda: measure() / (len(X) * streams) * 1e9


def warmed(
    model: Model, streams: int, threads: int, warm: int, device: str = "cpu"
) -> tuple[Engine, np.ndarray, np.ndarray]:
    """An engine whose streams have seen `warm` samples, their handles, and more samples (several, streams, n_in)."""
    engine = Engine(model, capacity=streams, threads=threads, device=device)
    names, step = [f"s{i}" for i in range(streams)], 100_000
    # Enough that a signal's highest value is rarely seen again: a detector looks closer at what leaves its envelope.
    several = 512 if streams <= 2_000 else 32 if streams <= 10_000 else 2
    X = many_samples(several, streams, model.spec.n_in, seed=7)
    for a in range(0, streams, step):  # ids in compiled code: a million handles one by one would take minutes
        engine.step_many(names[a : a + step], X[0][a : a + step])
    handles = engine._table.meta[:, GENERATION] << 32 | np.arange(streams)
    for k in range(warm):
        engine.step_many(handles, X[k % several])
    return engine, handles, X
