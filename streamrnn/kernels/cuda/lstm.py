"""One step of the LSTM for all streams of a grid: the twin of `kernels.lstm`, whose formulae it shares."""

from __future__ import annotations

from streamrnn._cuda import block_function, cuda

from .numerics import cell, gated
from .product import COLUMN_0, THREADS, TILE, Operand, accumulate, padded

__all__ = ["lstm"]


@block_function
def lstm(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, n):
    """Advance h = state[rows[s], h : h + H] and c = state[rows[s], h + H : h + 2H] in place; arguments as in `rnn`.

    A thread makes c and h of one unit one after the other, so neither passes through another thread.
    """
    H = b.shape[0] // 4
    own = z[cuda.blockIdx.x * TILE : (cuda.blockIdx.x + 1) * TILE]
    ih = Operand(W_ih, W_ih.shape[0] // padded(4 * H), src, src_rows, src_off)
    hh = Operand(W_hh, H, state, rows, h)
    for first in range(cuda.blockIdx.x * TILE, n, cuda.gridDim.x * TILE):
        m = min(TILE, n - first)
        accumulate(own, COLUMN_0, m, 4 * H, b, ih, hh, first)
        cuda.syncthreads()
        for i in range(cuda.threadIdx.x, m * H, THREADS):
            s, j = i // H, i % H
            row = rows[first + s]
            c = cell(own[s, j], own[s, H + j], own[s, 2 * H + j], state[row, h + H + j])
            state[row, h + H + j] = c
            state[row, h + j] = gated(own[s, 3 * H + j], c)
        cuda.syncthreads()
