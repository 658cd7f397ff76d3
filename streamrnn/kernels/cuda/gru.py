"""One step of the GRU for all streams of a grid: the twin of `kernels.gru`, whose formula it shares."""

from __future__ import annotations

from streamrnn._cuda import block_function, cuda

from .access import get, put, rows_from
from .numerics import fma, sigmoid32, unit
from .product import BLOCK, COLUMN_0, TILE, WARPS, Operand, accumulate, nothing, padded, placed

__all__ = ["gru"]


@block_function
def gru(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, n):
    """Advance h = state[rows[s], h : h + H] in place; arguments as in `rnn`, b and W_ih in the CPU's order.

    Pre-activations stand in z as [n_x | r | z | n_h], the input's product in the first three blocks and the hidden
    state's in the last three. The second product starts from what other threads wrote, behind a barrier.
    """
    H = b.shape[0] // 4
    lane, warp = placed()
    own = rows_from(z, cuda.blockIdx.x * TILE)
    ih = Operand(W_ih, W_ih.shape[0] // padded(3 * H), src, src_rows, src_off)
    hh = Operand(W_hh, H, state, rows, h)
    first = cuda.blockIdx.x * TILE
    while first < n:
        m = min(TILE, n - first)
        accumulate(own, COLUMN_0, m, 3 * H, b, ih, nothing(ih), first)
        s = warp
        while s < m:
            j = lane
            while j < H:
                put(own, (s, 3 * H + j), get(b, 3 * H + j))
                j += BLOCK
            s += WARPS
        cuda.syncthreads()
        accumulate(own, H, m, 3 * H, b[:0], hh, nothing(hh), first)
        cuda.syncthreads()
        s = warp
        while s < m:
            row = get(rows, first + s)
            j = lane
            while j < H:
                n_x = fma(sigmoid32(get(own, (s, H + j))), get(own, (s, 3 * H + j)), get(own, (s, j)))
                put(state, (row, h + j), unit(n_x, get(own, (s, 2 * H + j)), get(state, (row, h + j))))
                j += BLOCK
            s += WARPS
        cuda.syncthreads()
        first += cuda.gridDim.x * TILE
