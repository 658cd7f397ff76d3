"""The matrix product of one step: a tile of streams by a tile of columns, the weights staged through shared memory.

A block of THREADS threads takes TILE streams and goes through the columns PASS at a time. A warp's lanes are 32
neighbouring columns, which are a block of packed weights; each thread holds the sums of STREAMS streams by GROUPS
columns in registers, from the bias to the last addition. Inputs and weights come to shared memory DEPTH terms of the
sums at a time. Each output is one chain of fused multiply-adds over ascending k, as on the CPU, so neither TILE nor
DEPTH nor the number of blocks can change a bit.

What a kernel here is called with, it takes as the whole grid: block b steps the streams of tiles b, b + gridDim.x, ...,
and no other block touches those streams' rows. So layers may follow each other in one launch.
"""

from __future__ import annotations

import numpy as np
from numba import float32

from streamrnn._cuda import block_function, cuda
from streamrnn.kernels.product import COLUMN_0
from streamrnn.kernels.tile import BLOCK, Operand

from .numerics import fma

__all__ = [
    "BLOCK",
    "COLUMN_0",
    "DEPTH",
    "LAUNCH",
    "PASS",
    "STREAMS",
    "THREADS",
    "TILE",
    "WARPS",
    "Operand",
    "accumulate",
    "nothing",
    "padded",
]

GROUPS = 4
PASS = GROUPS * BLOCK
"""Columns that a block takes at once: GROUPS blocks of packed weights, each loaded by one warp."""

THREADS = PASS
"""Threads of a block: a lane for each column of a block of packed weights, in WARPS warps."""

WARPS = THREADS // BLOCK

STREAMS = 4
"""Streams whose sums a thread holds."""

TILE = WARPS * STREAMS
"""Streams that a block steps together."""

SUMS = STREAMS * GROUPS
"""Sums that a thread holds in registers."""

DEPTH = 16
"""Terms of the sums whose inputs and weights stand in shared memory at once."""

LAUNCH = (THREADS, 3)
"""Threads of a block, and how many blocks a multiprocessor must have registers for: with four, sums spill to memory."""

_ZERO = np.float32(0.0)
_NONE = np.int64(0)


@block_function
def padded(columns):
    """Columns, rounded up to whole blocks of packed weights."""
    return -(-columns // BLOCK) * BLOCK


@block_function
def _add(acc, W, K, src, rows, off, group, blocks, n, first, ws, xs):
    """acc += W x, K terms, for STREAMS streams and a column of each of GROUPS blocks of weights from `group` on."""
    t = cuda.threadIdx.x
    lane, warp = t % BLOCK, t // BLOCK
    # What is not loaded, of streams and columns that are not there, goes into sums that nobody writes down.
    for k0 in range(0, K, DEPTH):
        depth = min(DEPTH, K - k0)
        # Another thread may still be reading what is about to be overwritten.
        cuda.syncthreads()
        if group + warp < blocks:
            panel = ((group + warp) * K + k0) * BLOCK + lane
            for k in range(depth):
                ws[warp, k, lane] = W[panel + k * BLOCK]
        k = t % DEPTH
        if k < depth:
            for s in range(t // DEPTH, n, THREADS // DEPTH):
                xs[s, k] = src[rows[first + s], off + k0 + k]
        cuda.syncthreads()
        for k in range(depth):
            for g in range(GROUPS):
                w = ws[g, k, lane]
                for s in range(STREAMS):
                    acc[s * GROUPS + g] = fma(w, xs[warp * STREAMS + s, k], acc[s * GROUPS + g])


@block_function
def accumulate(z, col, n, columns, start, a, b, first):
    """z[s, col + j] = start[j] + (row j of a.W) a.x[first + s] + (row j of b.W) b.x[first + s] for s < n <= TILE.

    Arguments as on the CPU, except that `start` is the bias itself, float32 (>= columns,), or empty: then sums start from
    z at the same columns. Both are of one type, so all callers in a launch share one place in shared memory. Called by
    all threads of a block, each of which reads of z and writes to it its own elements; others may read them behind the
    next barrier.
    """
    ws = cuda.shared.array((GROUPS, DEPTH, BLOCK), float32)
    xs = cuda.shared.array((TILE, DEPTH), float32)
    acc = cuda.local.array(SUMS, float32)
    t = cuda.threadIdx.x
    lane, warp = t % BLOCK, t // BLOCK
    blocks = padded(columns) // BLOCK
    for group in range(0, blocks, GROUPS):
        for s in range(STREAMS):
            row = warp * STREAMS + s
            for g in range(GROUPS):
                j = (group + g) * BLOCK + lane
                acc[s * GROUPS + g] = _ZERO
                if j < columns and row < n:
                    acc[s * GROUPS + g] = start[j] if start.shape[0] > 0 else z[row, col + j]
        _add(acc, a.W, a.K, a.src, a.rows, a.off, group, blocks, n, first, ws, xs)
        _add(acc, b.W, b.K, b.src, b.rows, b.off, group, blocks, n, first, ws, xs)
        for s in range(STREAMS):
            row = warp * STREAMS + s
            for g in range(GROUPS):
                j = (group + g) * BLOCK + lane
                if j < columns and row < n:
                    z[row, col + j] = acc[s * GROUPS + g]


@block_function
def nothing(a):
    """An operand of the same type that adds nothing."""
    return Operand(a.W, _NONE, a.src, a.rows, a.off)
