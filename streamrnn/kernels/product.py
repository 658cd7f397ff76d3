"""The matrix product of one step, in an order that depends on shapes alone.

Every output is one chain of fused multiply-adds over ascending inputs. Vector lanes hold different outputs, never
parts of one sum, so neither the vector width nor the number of streams in a tile can change a bit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamrnn._jit import fused, inlined, kernel

from .memory import matrix
from .tile import BLOCK, STREAMS, WIDE, Operand, tile_many, tile_one, tile_one_wide, tile_some, tile_two

__all__ = ["COLUMN_0", "STREAMS", "Operand", "accumulate", "bias_row", "nothing", "pack", "padded", "padded_bias"]

_SOME = STREAMS // 3

COLUMN_0 = np.int64(0)
"""The first column of z, typed: for a literal 0, Numba would compile `accumulate` once more."""


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


def padded_bias(b: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A bias (m,), or parts of it in a row, with zeros up to whole blocks: the tile reads whole blocks."""
    wide = np.zeros(padded(b.size), np.float32)
    wide[: b.size] = b
    return wide


@inlined
def bias_row(b):
    """A bias (m,), behind which `padded_bias` put zeros, as the one row that `accumulate` starts every stream from."""
    return matrix(b, 0, 1, b.shape[0])


@fused
def nothing(a):
    """An operand of the same type that adds nothing."""
    return Operand(a.W, np.int64(0), a.src, a.rows, a.off)


@kernel
def accumulate(z, col, n, columns, start, a, b, first):
    """z[s, col + j] = start[s, col + j] + (row j of a.W) a.x[first + s] + (row j of b.W) b.x[first + s] for s < n.

    Each is one chain fma(W[k, j], x[k], sum) over ascending k, of a and then of b. z float32 (>= n, >= col + columns);
    start is z itself or a `bias_row`; a and b are `Operand`s of so many columns, rounded up to whole blocks: z and
    start need room for them, and what is written beyond the last true column means nothing.
    """
    blocks = padded(columns) // BLOCK
    step = 0 if start.shape[0] == 1 else 1
    s = 0
    while s + STREAMS <= n:
        for g in range(blocks):
            tile_many(z, s, col + g * BLOCK, start, step * s, a, b, g, first + s)
        s += STREAMS
    while s + _SOME <= n and _SOME > 1:
        for g in range(blocks):
            tile_some(z, s, col + g * BLOCK, start, step * s, a, b, g, first + s)
        s += _SOME
    while s < n:
        g = 0
        while g + WIDE <= blocks:
            tile_one_wide(z, s, col + g * BLOCK, start, step * s, a, b, g, first + s)
            g += WIDE
        while g + 2 <= blocks:
            tile_two(z, s, col + g * BLOCK, start, step * s, a, b, g, first + s)
            g += 2
        if g < blocks:
            tile_one(z, s, col + g * BLOCK, start, step * s, a, b, g, first + s)
        s += 1
