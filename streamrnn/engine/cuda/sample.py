"""One sample of each stream of a wave on its way into the network and out of it: the twin of `engine.sample`, and of
what `engine.advance` does around the layers.

Each function is run by all threads of the grid; block b takes the streams of tiles b, b + gridDim.x, ..., so that they
and the layers follow each other without a word between blocks. They take tuples that a kernel makes of its arrays:

    program, slab      as on the CPU
    work               `Work`
    down, up           waves.Down and waves.Up: samples and answers, a row for each stream of the wave

A channel of a stream belongs to one thread, and so does an element of its readout's matrix. What a token or a decision
passes on to the next is a chain, and one thread's.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import int64

from streamrnn._cuda import SIMULATED, block_function, cuda
from streamrnn.burst import HAS_T
from streamrnn.kernels import rls
from streamrnn.kernels.cuda.clock import day_phase
from streamrnn.kernels.cuda.normalise import denormalise, observe
from streamrnn.kernels.cuda.numerics import bounded, fma
from streamrnn.kernels.cuda.product import THREADS, TILE
from streamrnn.kernels.cuda.rls import learn, predict
from streamrnn.kernels.cuda.rows import alone
from streamrnn.kernels.cuda.score import nothing_found, score
from streamrnn.kernels.cuda.surprise import judge

from .. import sample as _sample
from ..packing import OUT
from ..program import FORECAST, NORMALISER_CAUSAL, NORMALISER_FIXED

__all__ = ["Work", "after", "before", "online", "past", "scale_back", "scratch"]

_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
_ONE64, _ZERO64 = np.float64(1.0), np.float64(0.0)

# A function of whole numbers is the same in Python.
past = _sample.past.py_func if SIMULATED else _sample.past


class Work(NamedTuple):
    """Scratch: filled float32 (rows of a wave, n_in), samples without gaps; u float32 (rows of a wave, u_width) as on
    the CPU; phi and gain float64 (streams, ...) of `scratch`, a row for each stream that the grid's blocks hold."""

    filled: npt.NDArray[np.float32]
    u: npt.NDArray[np.float32]
    phi: npt.NDArray[np.float64]
    gain: npt.NDArray[np.float64]


def scratch(n_features: int, n_out: int) -> tuple[int, int]:
    """Columns of Work.phi and Work.gain of a model whose online readout has so many features, 0 where it has none."""
    n = rls.whole(n_features)
    return n, n + 1 + n_out if n else 0


@block_function
def _fill(sizes, state, down, filled, missing, at, first, m):
    """Hold the channels that are there, and put something in the place of those that are missing; see the CPU's `fill`.

    The forecast of stream s stands at column at[s - first] of its row; there is none where that is negative.
    """
    n = sizes.n_in
    for i in range(cuda.threadIdx.x, m * n, THREADS):
        s, k = i // n, i % n
        row = down.slots[first + s]
        value = down.x[first + s, k]
        if math.isnan(value):
            missing[first + s, k] = 1
            held = sizes.x_held
            if at[s] >= 0 and state[row, sizes.seen + k] > _ZERO:
                held = at[s]
            filled[first + s, k] = state[row, held + k]
        else:
            missing[first + s, k] = 0
            filled[first + s, k] = value
            state[row, sizes.x_held + k] = value
            state[row, sizes.seen + k] = _ONE


@block_function
def _normalise(sizes, weights, x, u, first, m):
    """u = (x - mean) / scale, or x itself, within the limit that keeps every later sum finite."""
    n = sizes.n_in
    for i in range(cuda.threadIdx.x, m * n, THREADS):
        s, k = first + i // n, i % n
        value = bounded(x[s, k])
        if sizes.normaliser == NORMALISER_FIXED:
            value = bounded((value - weights[sizes.mean + k]) / weights[sizes.mean + n + k])
        u[s, k] = value


@block_function
def _features(sizes, state, rows, h, u, u_rows, at, phi, first, m):
    """phi = [h, u, 1, 0, ...] of the m streams from `first` on; u[u_rows[s], at:] is a network's input."""
    n, own = phi.shape[1], cuda.blockIdx.x * TILE
    H = sizes.features - 1 - sizes.n_net
    for i in range(cuda.threadIdx.x, m * n, THREADS):
        s, j = i // n, i % n
        value = _ZERO64
        if j < H:
            value = np.float64(state[rows[first + s], h + j])
        elif j < H + sizes.n_net:
            value = np.float64(u[u_rows[first + s], at + j - H])
        elif j == H + sizes.n_net:
            value = _ONE64
        phi[own + s, j] = value


@block_function
def _token(sizes, program, slab, work, down, up, i, forecast_at):
    """What happens to a token before the network sees it: it is judged, and given to the first layer."""
    x = down.x[i, 0]
    work.u[i, 0] = x
    up.missing[i, 0] = 0
    row = down.slots[i]
    p = _ZERO
    if forecast_at >= 0:
        p = slab.state[row, forecast_at + min(max(int(x), 0), sizes.tokens - 1)]
    judge(p, forecast_at >= 0, slab.detector[row], program.detector, i, up.score, up.flag, up.edge, up.cause)


@block_function
def _channels(sizes, program, slab, work, down, up, at, when, first, m):
    """The same for a sample of channels: filled, judged, normalised. `at` and `when` are those of `score`."""
    _fill(sizes, slab.state, down, work.filled, up.missing, at, first, m)
    # From here to `learn`, what a thread reads of a channel it has written itself.
    if sizes.scored:
        score(
            work.filled,
            up.missing,
            sizes.n_in,
            slab.state,
            down.slots,
            at,
            when,
            slab.detector,
            program.detector,
            sizes.clock != 0,
            up.score,
            up.flag,
            up.edge,
            up.cause,
            first,
            m,
        )
    elif alone(m) >= 0:
        nothing_found(first + alone(m), up.score, up.flag, up.edge, up.cause)
    if sizes.normaliser == NORMALISER_CAUSAL:
        observe(work.filled, up.missing, slab.adapt, down.slots, sizes.stats, work.u, sizes.n_in, first, m)
    else:
        _normalise(sizes, program.weights, work.filled, work.u, first, m)


@block_function
def _learn(sizes, program, slab, work, down, up, first, m):
    """Teach the online readouts of streams that have seen a sample before what this one is."""
    learns = cuda.shared.array(TILE, int64)
    own = alone(m)
    if own >= 0:
        seen = 0
        for k in range(sizes.n_in):
            seen += up.missing[first + own, k] == 0
        learns[own] = 1 if seen > 0 and down.counts[first + own] > 0 else 0
    last = program.layers[program.layers.shape[0] - 1, OUT]
    _features(sizes, slab.state, down.slots, last, slab.state, down.slots, sizes.u_prev, work.phi, first, m)
    cuda.syncthreads()
    learn(
        work.phi,
        work.u,
        up.missing,
        learns,
        slab.adapt,
        down.slots,
        sizes.p,
        sizes.w,
        sizes.pending,
        work.gain,
        program.learning,
        sizes.n_out,
        first,
        m,
    )


@block_function
def before(sizes, program, slab, work, down, up, n):
    """Everything that happens to the n samples before the network sees them: work.u receives the network's inputs, `up`
    what the detector says and which channels are missing. Rows that are to start from zero have been cleared."""
    at = cuda.shared.array(TILE, int64)
    when = cuda.shared.array(TILE, int64)
    for first in range(cuda.blockIdx.x * TILE, n, cuda.gridDim.x * TILE):
        m = min(TILE, n - first)
        own = alone(m)
        if own >= 0:
            i = first + own
            at[own] = -1
            if sizes.head == FORECAST and down.counts[i] >= sizes.horizon:
                at[own] = past(sizes, down.counts[i])
            when[own] = down.t[i] if down.has[i] & HAS_T else 0
            if sizes.tokens > 0:
                _token(sizes, program, slab, work, down, up, i, at[own])
            elif sizes.clock:
                day_phase(when[own], work.u[i][sizes.n_in : sizes.n_net])
        cuda.syncthreads()
        if sizes.tokens == 0:
            _channels(sizes, program, slab, work, down, up, at, when, first, m)
            cuda.syncthreads()
            if sizes.online:
                _learn(sizes, program, slab, work, down, up, first, m)


@block_function
def online(sizes, program, slab, work, down, rows, y, n):
    """y[s] float32 (n, n_out): forecasts of the n streams' own readouts, in channels' units; rows int64 (n,) = 0, 1,
    ..., of Work.u."""
    last = program.layers[program.layers.shape[0] - 1, OUT]
    for first in range(cuda.blockIdx.x * TILE, n, cuda.gridDim.x * TILE):
        m = min(TILE, n - first)
        _features(sizes, slab.state, down.slots, last, work.u, rows, 0, work.phi, first, m)
        cuda.syncthreads()
        predict(work.phi, slab.adapt, down.slots, sizes.w, y, sizes.n_out, first, m)
        # A thread's own: both go through channels in the same order.
        denormalise(slab.adapt, down.slots, sizes.stats, y, sizes.n_out, first, m)
        cuda.syncthreads()


@block_function
def scale_back(sizes, program, y, n):
    """Forecasts of normalised channels, y float32 (n, n_out), in their own units, in place."""
    N, weights = sizes.n_in, program.weights
    for first in range(cuda.blockIdx.x * TILE, n, cuda.gridDim.x * TILE):
        for i in range(cuda.threadIdx.x, min(TILE, n - first) * N, THREADS):
            s, k = first + i // N, i % N
            y[s, k] = fma(bounded(y[s, k]), weights[sizes.mean + N + k], weights[sizes.mean + k])
        cuda.syncthreads()


@block_function
def after(sizes, slab, work, down, up, n):
    """Keep what the next samples of the n streams will ask for; the host counts them."""
    t, n_in, n_out = cuda.threadIdx.x, sizes.n_in, sizes.n_out
    for first in range(cuda.blockIdx.x * TILE, n, cuda.gridDim.x * TILE):
        m = min(TILE, n - first)
        if sizes.online:
            for i in range(t, m * sizes.n_net, THREADS):
                s, k = first + i // sizes.n_net, i % sizes.n_net
                slab.state[down.slots[s], sizes.u_prev + k] = work.u[s, k]
        if sizes.head == FORECAST:
            for i in range(t, m * sizes.kept, THREADS):
                s, k = first + i // sizes.kept, i % sizes.kept
                slab.state[down.slots[s], past(sizes, down.counts[s]) + k] = up.y[s, k]
        if sizes.ring > 0:
            width = n_in + n_out + 1
            for i in range(t, m * width, THREADS):
                s, k = first + i // width, i % width
                value = up.score[s]
                if k < n_in:
                    value = down.x[s, k]
                elif k < n_in + n_out:
                    value = up.y[s, k - n_in]
                slab.ring[down.slots[s], down.counts[s] % sizes.ring, k] = value
        cuda.syncthreads()
