"""One step of the Elman network, and of the leaky reservoir, for all streams of a grid: the twins of `kernels.rnn`.

Arguments as there, but z is float32 (gridDim.x * TILE, columns), scratch of every block. h is read by the product and
written behind a barrier, by the one block that has the stream.
"""

from __future__ import annotations

import numpy as np

from streamrnn._cuda import block_function, cuda

from .numerics import LIMIT, fma, least, most, tanh32
from .product import THREADS, TILE, Operand, accumulate, padded

__all__ = ["relu", "reservoir", "tanh"]

_ZERO = np.float32(0.0)
_COLUMN_0 = np.int64(0)


@block_function
def _preactivation(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, first, m):
    """z = b + W_ih x + W_hh h of the m streams from `first` on, for every thread to read."""
    H = b.shape[0]
    ih = Operand(W_ih, W_ih.shape[0] // padded(H), src, src_rows, src_off)
    accumulate(z, _COLUMN_0, m, H, b, ih, Operand(W_hh, H, state, rows, h), first)
    cuda.syncthreads()


@block_function
def tanh(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, n):
    """Elman step with tanh."""
    H = b.shape[0]
    own = z[cuda.blockIdx.x * TILE : (cuda.blockIdx.x + 1) * TILE]
    for first in range(cuda.blockIdx.x * TILE, n, cuda.gridDim.x * TILE):
        m = min(TILE, n - first)
        _preactivation(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, own, first, m)
        for i in range(cuda.threadIdx.x, m * H, THREADS):
            s, j = i // H, i % H
            state[rows[first + s], h + j] = tanh32(own[s, j])
        cuda.syncthreads()


@block_function
def relu(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, n):
    """Elman step with max(0, z), clamped at numerics.LIMIT."""
    H = b.shape[0]
    own = z[cuda.blockIdx.x * TILE : (cuda.blockIdx.x + 1) * TILE]
    for first in range(cuda.blockIdx.x * TILE, n, cuda.gridDim.x * TILE):
        m = min(TILE, n - first)
        _preactivation(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, own, first, m)
        for i in range(cuda.threadIdx.x, m * H, THREADS):
            s, j = i // H, i % H
            state[rows[first + s], h + j] = least(most(own[s, j], _ZERO), LIMIT)
        cuda.syncthreads()


@block_function
def reservoir(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, leak, z, n):
    """Leaky integrator: h_t = h_{t-1} + a (tanh(...) - h_{t-1}), a float32 (H,), one rate for each unit."""
    H = b.shape[0]
    own = z[cuda.blockIdx.x * TILE : (cuda.blockIdx.x + 1) * TILE]
    for first in range(cuda.blockIdx.x * TILE, n, cuda.gridDim.x * TILE):
        m = min(TILE, n - first)
        _preactivation(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, own, first, m)
        for i in range(cuda.threadIdx.x, m * H, THREADS):
            s, j = i // H, i % H
            old = state[rows[first + s], h + j]
            state[rows[first + s], h + j] = fma(leak[j], tanh32(own[s, j]) - old, old)
        cuda.syncthreads()
