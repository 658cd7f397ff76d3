"""One step of the LSTM for all streams of a grid: the twin of `kernels.lstm`, whose formulae it shares."""

from __future__ import annotations

from streamrnn._cuda import block_function, cuda

from .access import get, put, rows_from
from .numerics import cell, gated
from .product import BLOCK, COLUMN_0, TILE, WARPS, Operand, accumulate, padded, placed

__all__ = ["lstm"]


@block_function
def lstm(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, n):
    """Advance h = state[rows[s], h : h + H] and c = state[rows[s], h + H : h + 2H] in place; arguments as in `rnn`.

    A thread makes c and h of one unit one after the other, so neither passes through another thread.
    """
    H = b.shape[0] // 4
    lane, warp = placed()
    own = rows_from(z, cuda.blockIdx.x * TILE)
    ih = Operand(W_ih, W_ih.shape[0] // padded(4 * H), src, src_rows, src_off)
    hh = Operand(W_hh, H, state, rows, h)
    first = cuda.blockIdx.x * TILE
    while first < n:
        m = min(TILE, n - first)
        accumulate(own, COLUMN_0, m, 4 * H, b, ih, hh, first)
        cuda.syncthreads()
        s = warp
        while s < m:
            row = get(rows, first + s)
            j = lane
            while j < H:
                i, f, g = get(own, (s, j)), get(own, (s, H + j)), get(own, (s, 2 * H + j))
                c = cell(i, f, g, get(state, (row, h + H + j)))
                put(state, (row, h + H + j), c)
                put(state, (row, h + j), gated(get(own, (s, 3 * H + j)), c))
                j += BLOCK
            s += WARPS
        cuda.syncthreads()
        first += cuda.gridDim.x * TILE
