"""The linear map y = W h + b of all streams of a grid: the twin of `kernels.readout`."""

from __future__ import annotations

from streamrnn._cuda import block_function, cuda

from .access import get, put, rows_from
from .product import BLOCK, COLUMN_0, TILE, WARPS, Operand, accumulate, nothing, padded, placed

__all__ = ["linear"]


@block_function
def linear(state, rows, h, W, b, y, y_rows, y_off, z, n):
    """y[y_rows[s], y_off:] = W h + b for s < n, h = state[rows[s], h : h + H]; b (n_out,), z as in `rnn`, W packed."""
    n_out = b.shape[0]
    lane, warp = placed()
    own = rows_from(z, cuda.blockIdx.x * TILE)
    Wh = Operand(W, W.shape[0] // padded(n_out), state, rows, h)
    first = cuda.blockIdx.x * TILE
    while first < n:
        m = min(TILE, n - first)
        accumulate(own, COLUMN_0, m, n_out, b, Wh, nothing(Wh), first)
        cuda.syncthreads()
        s = warp
        while s < m:
            row = get(y_rows, first + s)
            j = lane
            while j < n_out:
                put(y, (row, y_off + j), get(own, (s, j)))
                j += BLOCK
            s += WARPS
        cuda.syncthreads()
        first += cuda.gridDim.x * TILE
