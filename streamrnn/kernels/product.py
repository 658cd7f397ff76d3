"""The matrix product of one step, in an order that depends on shapes alone.

Every output is one chain of fused multiply-adds over ascending inputs. Vector lanes hold different outputs, never
parts of one sum, so neither the vector width nor the number of streams in a tile can change a bit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamrnn._jit import kernel

from .tile import BLOCK, STREAMS, WIDE, tile_many, tile_one, tile_one_wide, tile_some

__all__ = ["STREAMS", "accumulate", "fill", "pack", "padded"]

_SOME = STREAMS // 3


@kernel
def padded(columns):
    """Columns, rounded up to whole blocks."""
    return -(-columns // BLOCK) * BLOCK


def pack(W: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Weights (K, m) by input, as the kernels take them: float32 (K * padded(m),), block by block of columns.

    A block's rows stand one after the other, so that a product walks through memory in one direction. Columns that
    fill up the last block are zero.
    """
    K, m = W.shape
    wide = np.zeros((K, padded(m)), np.float32)
    wide[:, :m] = W
    return np.ascontiguousarray(wide.reshape(K, -1, BLOCK).transpose(1, 0, 2)).ravel()


@kernel
def fill(z, n, b):
    """Start the first `n` rows of z at the bias: z[s, :m] = b. z float32 (tile, >= m), b float32 (m,)."""
    m = b.shape[0]
    for s in range(n):
        row = z[s]
        for j in range(m):
            row[j] = b[j]


@kernel
def accumulate(z, col, n, src, rows, first, off, W, K):
    """z[s, col + j] = fma(W[k, j], src[rows[first + s], off + k], z[s, col + j]) for k = 0, 1, ..., K - 1 and s < n.

    z float32 (>= n, >= col + columns), src float32 (any, any), rows int64, W float32 (columns * K,) from `pack`, whose
    columns are whole blocks: z needs room for them, and what is beyond the last true column keeps its value.
    """
    blocks = W.shape[0] // (K * BLOCK)
    s = 0
    while s + STREAMS <= n:
        for g in range(blocks):
            tile_many(W, g, K, src, rows, first + s, off, z, s, col + g * BLOCK)
        s += STREAMS
    while s + _SOME <= n and _SOME > 1:
        for g in range(blocks):
            tile_some(W, g, K, src, rows, first + s, off, z, s, col + g * BLOCK)
        s += _SOME
    while s < n:
        g = 0
        while g + WIDE <= blocks:
            tile_one_wide(W, g, K, src, rows, first + s, off, z, s, col + g * BLOCK)
            g += WIDE
        while g < blocks:
            tile_one(W, g, K, src, rows, first + s, off, z, s, col + g * BLOCK)
            g += 1
        s += 1
