"""Activations in place, for all streams of a grid: the twins of `kernels.activate`, and what they do to one number.

Argument order as on the CPU, with the array and the rows of the streams in the place of one row, and their number last.
"""

from __future__ import annotations

import numpy as np
from numba import float32

from streamrnn._cuda import block_function, cuda
from streamrnn.kernels.activate import RELU, SIGMOID, SOFTMAX, TANH

from .numerics import LIMIT, bounded, exp32, least, most, sigmoid32, tanh32
from .product import BLOCK, THREADS, TILE, WARPS

__all__ = ["activate", "activated", "clipped", "softmax"]

_ZERO = np.float32(0.0)
_LOW = -LIMIT

_SHARES = THREADS // TILE
"""Threads that look for the largest logit of one stream."""


@block_function
def activated(x, kind):
    """act(x) of a float32, `kind` any of kernels.activate but SOFTMAX."""
    if kind == TANH:
        return tanh32(x)
    if kind == SIGMOID:
        return sigmoid32(x)
    return most(bounded(x), _ZERO if kind == RELU else _LOW)


@block_function
def clipped(x, limit):
    """x bounded by ±limit, a float32 above 0."""
    return least(most(x, -limit), limit)


@block_function
def softmax(y, rows, at, width, n):
    """Turn the logits y[rows[s], at : at + width] of n streams into probabilities in place.

    The sum is one chain of additions, as on the CPU, by one thread a stream; all else is spread over the block. Which of
    several threads finds the largest logit cannot be seen: it is one number, and zeros of both signs give the same
    differences' exponentials.
    """
    tops = cuda.shared.array((TILE, _SHARES), float32)
    totals = cuda.shared.array(TILE, float32)
    t = cuda.threadIdx.x
    lane, warp = t % BLOCK, t // BLOCK
    for first in range(cuda.blockIdx.x * TILE, n, cuda.gridDim.x * TILE):
        m = min(TILE, n - first)
        s, share = t // _SHARES, t % _SHARES
        if s < m:
            # A share that would be empty looks at the first logit.
            top = y[rows[first + s], at]
            for j in range(at + share, at + width, _SHARES):
                top = most(top, y[rows[first + s], j])
            tops[s, share] = top
        cuda.syncthreads()
        for s in range(warp, m, WARPS):
            row = rows[first + s]
            top = tops[s, 0]
            for k in range(1, _SHARES):
                top = most(top, tops[s, k])
            for j in range(at + lane, at + width, BLOCK):
                y[row, j] = exp32(y[row, j] - top)
        cuda.syncthreads()
        if t < m:
            row = rows[first + t]
            total = _ZERO
            for j in range(at, at + width):
                total += y[row, j]
            totals[t] = total
        cuda.syncthreads()
        for s in range(warp, m, WARPS):
            row = rows[first + s]
            for j in range(at + lane, at + width, BLOCK):
                y[row, j] = y[row, j] / totals[s]
        # The next tile's numbers go to the same places; and a layer that follows may read y.
        cuda.syncthreads()


@block_function
def activate(y, rows, at, width, kind, n):
    """y[rows[s], at : at + width] = act(y[rows[s], at : at + width]) of n streams, as on the CPU."""
    if kind == SOFTMAX:
        softmax(y, rows, at, width, n)
        return
    t = cuda.threadIdx.x
    lane, warp = t % BLOCK, t // BLOCK
    for first in range(cuda.blockIdx.x * TILE, n, cuda.gridDim.x * TILE):
        for s in range(warp, min(TILE, n - first), WARPS):
            row = rows[first + s]
            for j in range(at + lane, at + width, BLOCK):
                y[row, j] = activated(y[row, j], kind)
        cuda.syncthreads()
