"""One step of every form of cell that has no kernel of its own, for all streams of a grid: the twin of `kernels.forms`.

What a unit becomes after a product, one thread makes from start to end; products read what other threads wrote, behind
a barrier.
"""

from __future__ import annotations

import numpy as np

from streamrnn._cuda import block_function, cuda
from streamrnn.kernels.forms import ELMAN, GRU_AFTER, GRU_BEFORE, LSTM

from .access import get, put, rows_from
from .activate import activated, clipped
from .numerics import bounded, fma
from .product import BLOCK, COLUMN_0, TILE, WARPS, Operand, accumulate, nothing, padded, placed

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
def _gate(z, s, j, kind, limit):
    """The activation of a bounded pre-activation."""
    return activated(clipped(get(z, (s, j)), limit), kind)


@block_function
def _lstm(z, s, at, H, j, c, gate, act, out, limit):
    """c' of unit j; z[s, at + j] = o act(c'), from the pre-activations i, f, g, o of stream s in z."""
    i, f = _gate(z, s, j, gate, limit), _gate(z, s, H + j, gate, limit)
    g, o = _gate(z, s, 2 * H + j, act, limit), _gate(z, s, 3 * H + j, gate, limit)
    new = bounded(fma(f, c, i * g))
    # No other thread reads the gates of this unit, so a projection's sums may start there.
    put(z, (s, j), _ZERO)
    put(z, (s, at + j), bounded(o * activated(new, out)))
    return new


@block_function
def _gru(z, s, at, H, j, h, gate, limit, before):
    """The gates of unit j, and what becomes of the candidate before or after its product; z[s] is [n_x|r|z|n_h]."""
    r = _gate(z, s, H + j, gate, limit)
    put(z, (s, 2 * H + j), _gate(z, s, 2 * H + j, gate, limit))
    if before:
        put(z, (s, at + j), bounded(r * h))
    else:
        put(z, (s, j), fma(r, get(z, (s, 3 * H + j)), get(z, (s, j))))


@block_function
def _products(family, z, m, H, b, ih, hh, first, lane, warp):
    """The pre-activations of m streams from `first` on: a GRU's as [n_x | r | z | n_h], in two products."""
    gru = family in (GRU_AFTER, GRU_BEFORE)
    accumulate(z, COLUMN_0, m, 3 * H if gru else b.shape[0], b, ih, nothing(hh) if gru else hh, first)
    if gru:
        s = warp
        while s < m:
            j = lane
            while j < H:
                put(z, (s, 3 * H + j), get(b, 3 * H + j))
                j += BLOCK
            s += WARPS
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
    lane, warp = placed()
    mine = rows_from(z, cuda.blockIdx.x * TILE)
    ih = Operand(W_ih, n_in, src, src_rows, src_off)
    hh = Operand(W_hh, P, state, rows, h)
    second = Operand(W_2, H, mine, own, at)
    # Where what is new will stand in `mine`.
    new = at if family == LSTM and W_2.shape[0] == 0 else COLUMN_0
    first = cuda.blockIdx.x * TILE
    while first < n:
        m = min(TILE, n - first)
        _products(family, mine, m, H, b, ih, hh, first, lane, warp)
        s = warp
        while s < m and family != ELMAN:
            row = get(rows, first + s)
            j = lane
            while j < H:
                if gru:
                    _gru(mine, s, at, H, j, get(state, (row, h + j)), gate, limit, family == GRU_BEFORE)
                else:
                    c = get(state, (row, h + P + j))
                    put(state, (row, h + P + j), _lstm(mine, s, at, H, j, c, gate, act, out, limit))
                j += BLOCK
            s += WARPS
        if W_2.shape[0] > 0:
            cuda.syncthreads()
            accumulate(mine, COLUMN_0, m, P if family == LSTM else H, b[:0], second, nothing(second), _STREAM_0)
            cuda.syncthreads()
        s = warp
        while s < m:
            row = get(rows, first + s)
            j = lane
            while j < P:
                value = get(mine, (s, new + j))
                if family != LSTM:
                    value = activated(clipped(value, limit), act)
                if gru:
                    u = get(mine, (s, 2 * H + j))
                    value = fma(u, get(state, (row, h + j)), (_ONE - u) * value)
                put(state, (row, h + j), bounded(value))
                j += BLOCK
            s += WARPS
        cuda.syncthreads()
        first += cuda.gridDim.x * TILE
