"""One step of the GRU for all streams of a grid: the twin of `kernels.gru`, whose formula it shares."""

from __future__ import annotations

from streamrnn._cuda import block_function, cuda

from .numerics import fma, sigmoid32, unit
from .product import COLUMN_0, THREADS, TILE, Operand, accumulate, nothing, padded

__all__ = ["gru"]


@block_function
def gru(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, n):
    """Advance h = state[rows[s], h : h + H] in place; arguments as in `rnn`, b and W_ih in the CPU's order.

    Pre-activations stand in z as [n_x | r | z | n_h], the input's product in the first three blocks and the hidden
    state's in the last three. The second product starts from what other threads wrote, behind a barrier.
    """
    H = b.shape[0] // 4
    own = z[cuda.blockIdx.x * TILE : (cuda.blockIdx.x + 1) * TILE]
    ih = Operand(W_ih, W_ih.shape[0] // padded(3 * H), src, src_rows, src_off)
    hh = Operand(W_hh, H, state, rows, h)
    for first in range(cuda.blockIdx.x * TILE, n, cuda.gridDim.x * TILE):
        m = min(TILE, n - first)
        accumulate(own, COLUMN_0, m, 3 * H, b, ih, nothing(ih), first)
        for i in range(cuda.threadIdx.x, m * H, THREADS):
            own[i // H, 3 * H + i % H] = b[3 * H + i % H]
        cuda.syncthreads()
        accumulate(own, H, m, 3 * H, b[:0], hh, nothing(hh), first)
        cuda.syncthreads()
        for i in range(cuda.threadIdx.x, m * H, THREADS):
            s, j = i // H, i % H
            row = rows[first + s]
            n_x = fma(sigmoid32(own[s, H + j]), own[s, 3 * H + j], own[s, j])
            state[row, h + j] = unit(n_x, own[s, 2 * H + j], state[row, h + j])
        cuda.syncthreads()
