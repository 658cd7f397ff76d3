"""The row of a table for each token, for all streams of a grid: the twin of `kernels.embed`."""

from __future__ import annotations

from streamrnn._cuda import block_function, cuda

from .product import THREADS, TILE

__all__ = ["embed"]


@block_function
def embed(src, src_rows, src_off, table, n_tokens, out, out_off, n):
    """out[s, out_off : out_off + N] = table[src[src_rows[s], src_off]] for s < n; arguments as on the CPU.

    Neighbouring threads copy neighbouring numbers of a row.
    """
    N = table.shape[0] // n_tokens
    for first in range(cuda.blockIdx.x * TILE, n, cuda.gridDim.x * TILE):
        for i in range(cuda.threadIdx.x, min(TILE, n - first) * N, THREADS):
            s, j = first + i // N, i % N
            token = min(max(int(src[src_rows[s], src_off]), 0), n_tokens - 1)
            out[s, out_off + j] = table[token * N + j]
        cuda.syncthreads()
