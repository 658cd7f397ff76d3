"""The matrix product of one step: a tile of streams by a tile of columns, the weights staged through shared memory.

A block of THREADS threads takes TILE streams and goes through the columns PASS at a time. A warp's lanes are 32
neighbouring columns, which are a block of packed weights; each thread holds the sums of STREAMS streams by GROUPS
columns in registers, from the bias to the last addition. Inputs and weights come to shared memory DEPTH terms of the
sums at a time. Each output is one chain of fused multiply-adds over ascending k, as on the CPU, so neither TILE nor
DEPTH nor the number of blocks can change a bit.

What a kernel here is called with, it takes as the whole grid: block b steps the streams of tiles b, b + gridDim.x, ...,
and no other block touches those streams' rows. So layers may follow each other in one launch.

Loops whose length is not a constant are written with `while`: Numba's `range` carries the number of rounds that remain
beside the index, and divides to know it, which costs registers where they decide how many warps there can be.
"""

from __future__ import annotations

import numpy as np
from numba import float32

from streamrnn._cuda import block_function, cuda
from streamrnn.kernels.product import COLUMN_0
from streamrnn.kernels.tile import BLOCK, Operand

from .access import get, put
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
    "placed",
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

_LOADED = THREADS // DEPTH
"""Streams whose inputs are loaded to shared memory at once."""

_BLOCK_BITS, _DEPTH_BITS = BLOCK.bit_length() - 1, DEPTH.bit_length() - 1
assert (BLOCK, DEPTH) == (1 << _BLOCK_BITS, 1 << _DEPTH_BITS)

_ZERO = np.float32(0.0)
_NONE = np.int64(0)


@block_function
def placed():
    """This thread's lane and warp."""
    # By bits: for all that the compiler knows the number may be negative, and then Python's % and // are long.
    return cuda.threadIdx.x & BLOCK - 1, cuda.threadIdx.x >> _BLOCK_BITS


@block_function
def padded(columns):
    """Columns, rounded up to whole blocks of packed weights."""
    return columns + BLOCK - 1 & -BLOCK


@block_function
def _add(acc, x, group, blocks, n, first, ws, xs):
    """acc += W x of operand x, for STREAMS streams and a column of each of GROUPS blocks of weights from `group` on."""
    lane, warp = placed()
    term, stream = cuda.threadIdx.x & DEPTH - 1, cuda.threadIdx.x >> _DEPTH_BITS
    # What is not loaded, of streams and columns that are not there, goes into sums that nobody writes down.
    k0 = _NONE
    while k0 < x.K:
        depth = min(DEPTH, x.K - k0)
        # Another thread may still be reading what is about to be overwritten.
        cuda.syncthreads()
        if group + warp < blocks:
            panel = ((group + warp) * x.K + k0) * BLOCK + lane
            k = _NONE
            while k < depth:
                put(ws, (warp, k, lane), get(x.W, panel + k * BLOCK))
                k += 1
        if term < depth:
            for i in range(TILE // _LOADED):
                s = stream + i * _LOADED
                if s < n:
                    put(xs, (s, term), get(x.src, (get(x.rows, first + s), x.off + k0 + term)))
        cuda.syncthreads()
        k = _NONE
        while k < depth:
            for g in range(GROUPS):
                w = get(ws, (g, k, lane))
                for s in range(STREAMS):
                    acc[s * GROUPS + g] = fma(w, get(xs, (warp * STREAMS + s, k)), acc[s * GROUPS + g])
            k += 1
        k0 += DEPTH


@block_function
def accumulate(z, col, n, columns, start, a, b, first):
    """z[s, col + j] = start[j] + (row j of a.W) a.x[first + s] + (row j of b.W) b.x[first + s] for s < n <= TILE.

    Arguments as on the CPU, except that `start` is the bias itself, float32 (>= columns,), or empty: then sums start
    from z at the same columns. Both are of one type, so all callers in a launch share one place in shared memory. It is
    called by all threads of a block, each of which reads of z and writes to it its own elements; others may read them
    behind the next barrier.
    """
    ws = cuda.shared.array((GROUPS, DEPTH, BLOCK), float32)
    xs = cuda.shared.array((TILE, DEPTH), float32)
    acc = cuda.local.array(SUMS, float32)
    lane, warp = placed()
    blocks = columns + BLOCK - 1 >> _BLOCK_BITS
    operands = 2 if b.K > 0 else 1
    group = _NONE
    while group < blocks:
        for s in range(STREAMS):
            row = warp * STREAMS + s
            for g in range(GROUPS):
                j = (group + g) * BLOCK + lane
                acc[s * GROUPS + g] = _ZERO
                if j < columns and row < n:
                    acc[s * GROUPS + g] = get(start, j) if start.shape[0] > 0 else get(z, (row, col + j))
        which = _NONE
        while which < operands:
            _add(acc, b if which > 0 else a, group, blocks, n, first, ws, xs)
            which += 1
        for s in range(STREAMS):
            row = warp * STREAMS + s
            for g in range(GROUPS):
                j = (group + g) * BLOCK + lane
                if j < columns and row < n:
                    put(z, (row, col + j), acc[s * GROUPS + g])
        group += GROUPS


@block_function
def nothing(a):
    """An operand of the same type that adds nothing."""
    return Operand(a.W, _NONE, a.src, a.rows, a.off)
