"""The row of a table for each token, for all streams of a grid: the twin of `kernels.embed`."""

from __future__ import annotations

from streamrnn._cuda import block_function, cuda

from .access import get, put
from .product import BLOCK, TILE, WARPS, placed

__all__ = ["embed"]


@block_function
def embed(src, src_rows, src_off, table, n_tokens, out, out_off, n):
    """out[s, out_off : out_off + N] = table[src[src_rows[s], src_off]] for s < n; arguments as on the CPU.

    Neighbouring threads copy neighbouring numbers of a row.
    """
    N = table.shape[0] // n_tokens
    lane, warp = placed()
    first = cuda.blockIdx.x * TILE
    while first < n:
        s, stop = first + warp, min(first + TILE, n)
        while s < stop:
            token = min(max(int(get(src, (get(src_rows, s), src_off))), 0), n_tokens - 1)
            j = lane
            while j < N:
                put(out, (s, out_off + j), get(table, token * N + j))
                j += BLOCK
            s += WARPS
        cuda.syncthreads()
        first += cuda.gridDim.x * TILE
