"""Recursive least squares for all streams of a tile: the twin of `kernels.rls`.

A block takes as many streams at once as it has threads for their features, so that their P stays in its cache while it
passes three times: each element is brought up to date by one thread; each element of v = P phi is then summed up by one
thread, the row's part in eight sums of its own and the column's behind it, as the CPU's vectors have them. An element
of P serves two sums, whose orders are the CPU's; that is why it is read twice.
"""

from __future__ import annotations

import math

import numpy as np
from numba import float64

from streamrnn._cuda import block_function, cuda
from streamrnn.kernels import rls
from streamrnn.kernels.rls import LANES64

from .across import dot, total
from .numerics import fma64
from .product import THREADS, TILE

__all__ = ["learn", "predict"]

_TILE = LANES64 * LANES64
_PRIOR, _DRIFT = (list(rls.SETTINGS).index(name) for name in ("prior", "drift"))
_ZERO, _ONE = np.float64(0.0), np.float64(1.0)


@block_function
def _update(row, P, pending, n, prior):
    """Apply the pending update to the P packed at row[P:], n by n, whose diagonal drifts where it is below prior."""
    drift = row[pending + n]
    for b in range(n // LANES64):
        start = P + b * (b + 1) // 2 * _TILE
        for e in range(cuda.threadIdx.x, (b + 1) * _TILE, THREADS):
            c, r, k = e // _TILE, e // LANES64 % LANES64, e % LANES64
            p = fma64(row[pending + c * LANES64 + k], -row[pending + b * LANES64 + r], row[start + e])
            if c == b and r == k and p < prior:
                p = p + drift
            row[start + e] = p


@block_function
def _times(row, P, phi, i, n):
    """Element i of P phi, P as above and up to date, phi float64 (n,)."""
    a = cuda.local.array(LANES64, float64)
    b, r = i // LANES64, i % LANES64
    start = P + b * (b + 1) // 2 * _TILE + r * LANES64
    # The diagonal's tile comes last in memory; its products start the sums.
    for k in range(LANES64):
        a[k] = row[start + b * _TILE + k] * phi[b * LANES64 + k]
    for c in range(b):
        for k in range(LANES64):
            a[k] = fma64(row[start + c * _TILE + k], phi[c * LANES64 + k], a[k])
    v = total(a)
    for below in range(b + 1, n // LANES64):
        start = P + (below * (below + 1) // 2 + b) * _TILE + r
        for k in range(LANES64):
            v = fma64(row[start + k * LANES64], phi[below * LANES64 + k], v)
    return v


@block_function
def learn(phi, target, missing, learns, adapt, rows, P, w, pending, gain, params, n_out, first, m):
    """One update of each of the m streams from `first` on whose `learns`, int64 (TILE,), is set.

    phi float64 (gridDim.x * TILE, n), n = whole(F), and gain float64 (gridDim.x * TILE, n + 1 + n_out), scratch, a row
    for each stream of every block's tile; target float32 and missing, a row of n_out or more for each stream; adapt
    float64 (slots, any) has P, w (n_out, n) and the pending update at those columns of the streams' rows; params as on
    the CPU. A stream learns only where it misses less than all channels.
    """
    t, n, own = cuda.threadIdx.x, phi.shape[1], cuda.blockIdx.x * TILE
    group = max(THREADS // n, 1)
    for g in range(0, m, group):
        some = min(group, m - g)
        for s in range(g, g + some):
            if learns[s] != 0:
                _update(adapt[rows[first + s]], P, pending, n, params[_PRIOR])
        cuda.syncthreads()
        for i in range(t, some * n, THREADS):
            s = g + i // n
            if learns[s] != 0:
                gain[own + s, i % n] = _times(adapt[rows[first + s]], P, phi[own + s], i % n, n)
        cuda.syncthreads()
        for s in range(g + t, g + some, THREADS):
            if learns[s] != 0:
                fall = dot(gain[own + s], 0, phi[own + s], 0, n)
                gain[own + s, n] = math.sqrt(_ONE / (_ONE + (fall if fall > _ZERO else _ZERO)))
        cuda.syncthreads()
        for i in range(t, some * n, THREADS):
            s = g + i // n
            if learns[s] != 0:
                adapt[rows[first + s], pending + i % n] = gain[own + s, i % n] * gain[own + s, n]
                if i % n == 0:
                    adapt[rows[first + s], pending + n] = params[_DRIFT]
        for i in range(t, some * n_out, THREADS):
            s, k = g + i // n_out, i % n_out
            if learns[s] != 0 and missing[first + s, k] == 0:
                error = np.float64(target[first + s, k]) - dot(adapt[rows[first + s]], w + k * n, phi[own + s], 0, n)
                gain[own + s, n + 1 + k] = gain[own + s, n] * error
        cuda.syncthreads()
        for i in range(t, some * n_out * n, THREADS):
            s, k, j = g + i // (n_out * n), i // n % n_out, i % n
            if learns[s] != 0 and missing[first + s, k] == 0:
                row, at = adapt[rows[first + s]], w + k * n + j
                row[at] = fma64(row[pending + j], gain[own + s, n + 1 + k], row[at])
    cuda.syncthreads()


@block_function
def predict(phi, adapt, rows, w, y, n_out, first, m):
    """y[s, :n_out] = w phi, the forecast of the next normalised sample, for the m streams from `first` on."""
    n, own = phi.shape[1], cuda.blockIdx.x * TILE
    for i in range(cuda.threadIdx.x, m * n_out, THREADS):
        s, k = i // n_out, i % n_out
        y[first + s, k] = np.float32(dot(adapt[rows[first + s]], w + k * n, phi[own + s], 0, n))
