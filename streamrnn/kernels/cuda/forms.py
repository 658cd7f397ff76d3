"""One step of every form of cell that has no kernel of its own, for all streams of a grid: the twin of `kernels.forms`.

What a unit becomes after a product, one thread makes from start to end; products read what other threads wrote, behind
a barrier.
"""

from __future__ import annotations

import numpy as np

from streamrnn._cuda import block_function, cuda
from streamrnn.kernels.forms import ELMAN, GRU_AFTER, GRU_BEFORE, LSTM

from .activate import activated, clipped
from .numerics import bounded, fma
from .product import BLOCK, COLUMN_0, TILE, WARPS, Operand, accumulate, nothing, padded

__all__ = ["form", "tail"]

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_STREAM_0 = np.int64(0)
"""The first of the streams whose rows in z are 0, 1, ..."""


@block_function
def tail(H):
    """First column of z behind all pre-activations: H numbers there are read by the second product."""
    return H + padded(4 * H)


@block_function
def _lstm(z, s, H, j, c, gate, act, out, limit):
    """(c', o act(c')) of unit j, from the pre-activations i, f, g, o of stream s in z."""
    i, f = activated(clipped(z[s, j], limit), gate), activated(clipped(z[s, H + j], limit), gate)
    g, o = activated(clipped(z[s, 2 * H + j], limit), act), activated(clipped(z[s, 3 * H + j], limit), gate)
    new = bounded(fma(f, c, i * g))
    return new, bounded(o * activated(new, out))


@block_function
def _products(family, z, m, b, ih, hh, first, lane, warp):
    """The pre-activations of m streams from `first` on: a GRU's as [n_x | r | z | n_h], in two products."""
    gru = family in (GRU_AFTER, GRU_BEFORE)
    H = b.shape[0] if family == ELMAN else b.shape[0] // 4
    accumulate(z, COLUMN_0, m, 3 * H if gru else b.shape[0], b, ih, nothing(hh) if gru else hh, first)
    if gru:
        for s in range(warp, m, WARPS):
            for j in range(lane, H, BLOCK):
                z[s, 3 * H + j] = b[3 * H + j]
        cuda.syncthreads()
        accumulate(z, H, m, 2 * H if family == GRU_BEFORE else 3 * H, b[:0], hh, nothing(hh), first)
    cuda.syncthreads()


@block_function
def form(family, src, src_rows, src_off, n_in, state, rows, h, P, W_ih, W_hh, W_2, b, gate, act, out, limit, z, own, n):
    """Advance h = state[rows[s], h : h + P], and of an LSTM c in the H numbers behind it, in place.

    Arguments as on the CPU, but z is float32 (gridDim.x * TILE, columns), wide enough for `tail` and H more; own int64,
    0 to TILE - 1.
    """
    H = b.shape[0] if family == ELMAN else b.shape[0] // 4
    at = tail(H)
    gru = family in (GRU_AFTER, GRU_BEFORE)
    t = cuda.threadIdx.x
    lane, warp = t % BLOCK, t // BLOCK
    mine = z[cuda.blockIdx.x * TILE : (cuda.blockIdx.x + 1) * TILE]
    ih = Operand(W_ih, n_in, src, src_rows, src_off)
    hh = Operand(W_hh, P, state, rows, h)
    second = Operand(W_2, H, mine, own, at)
    for first in range(cuda.blockIdx.x * TILE, n, cuda.gridDim.x * TILE):
        m = min(TILE, n - first)
        _products(family, mine, m, b, ih, hh, first, lane, warp)
        for s in range(warp, m, WARPS):
            row = rows[first + s]
            for j in range(lane, H, BLOCK):
                if family == LSTM:
                    c, o = _lstm(mine, s, H, j, state[row, h + P + j], gate, act, out, limit)
                    state[row, h + P + j] = c
                    # No other thread reads the gates of this unit, so a projection's sums may start there.
                    mine[s, j] = _ZERO
                    mine[s, at + j] = o
                elif gru:
                    r = activated(clipped(mine[s, H + j], limit), gate)
                    mine[s, 2 * H + j] = activated(clipped(mine[s, 2 * H + j], limit), gate)
                    if family == GRU_BEFORE:
                        mine[s, at + j] = bounded(r * state[row, h + j])
                    else:
                        mine[s, j] = fma(r, mine[s, 3 * H + j], mine[s, j])
        if W_2.shape[0] > 0:
            cuda.syncthreads()
            accumulate(mine, COLUMN_0, m, P if family == LSTM else H, b[:0], second, nothing(second), _STREAM_0)
            cuda.syncthreads()
        # What is new stands in `mine` from here on.
        new = at if family == LSTM and W_2.shape[0] == 0 else COLUMN_0
        for s in range(warp, m, WARPS):
            row = rows[first + s]
            for j in range(lane, P, BLOCK):
                value = mine[s, new + j]
                if family != LSTM:
                    value = activated(clipped(value, limit), act)
                if gru:
                    u = mine[s, 2 * H + j]
                    value = fma(u, state[row, h + j], (_ONE - u) * value)
                state[row, h + j] = bounded(value)
        cuda.syncthreads()
