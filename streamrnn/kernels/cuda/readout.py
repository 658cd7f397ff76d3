"""The linear map y = W h + b of all streams of a grid: the twin of `kernels.readout`."""

from __future__ import annotations

from streamrnn._cuda import block_function, cuda

from .product import COLUMN_0, THREADS, TILE, Operand, accumulate, nothing, padded

__all__ = ["linear"]


@block_function
def linear(state, rows, h, W, b, y, y_rows, y_off, z, n):
    """y[y_rows[s], y_off:] = W h + b for s < n, h = state[rows[s], h : h + H]; b (n_out,), z as in `rnn`, W packed."""
    n_out = b.shape[0]
    own = z[cuda.blockIdx.x * TILE : (cuda.blockIdx.x + 1) * TILE]
    Wh = Operand(W, W.shape[0] // padded(n_out), state, rows, h)
    for first in range(cuda.blockIdx.x * TILE, n, cuda.gridDim.x * TILE):
        m = min(TILE, n - first)
        accumulate(own, COLUMN_0, m, n_out, b, Wh, nothing(Wh), first)
        cuda.syncthreads()
        for i in range(cuda.threadIdx.x, m * n_out, THREADS):
            s, j = i // n_out, i % n_out
            y[y_rows[first + s], y_off + j] = own[s, j]
        cuda.syncthreads()
