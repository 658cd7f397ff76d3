"""Activations in place, for all streams of a grid: the twins of `kernels.activate`, and what they do to one number.

Argument order as on the CPU, with the array and the rows of the streams in the place of one row, and their number last.
"""

from __future__ import annotations

import numpy as np
from numba import float32

from streamrnn._cuda import block_function, cuda
from streamrnn.kernels.activate import RELU, SIGMOID, SOFTMAX, TANH

from .access import get, put
from .numerics import LIMIT, bounded, exp32, least, most, sigmoid32, tanh32
from .product import BLOCK, THREADS, TILE, WARPS, placed

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

    The sum is one chain of additions, as on the CPU, by one thread a stream; all else is spread over the block. In what
    order the largest logit is looked for cannot be seen: zeros of both signs are as good as each other.
    """
    tops = cuda.shared.array((TILE, _SHARES), float32)
    totals = cuda.shared.array(TILE, float32)
    t = cuda.threadIdx.x
    lane, warp = placed()
    first = cuda.blockIdx.x * TILE
    while first < n:
        m = min(TILE, n - first)
        s, share = t // _SHARES, t % _SHARES
        if s < m:
            row = get(rows, first + s)
            # A share that would be empty looks at the first logit.
            top = get(y, (row, at))
            j = share
            while j < width:
                top = most(top, get(y, (row, at + j)))
                j += _SHARES
            tops[s, share] = top
        cuda.syncthreads()
        s = warp
        while s < m:
            row = get(rows, first + s)
            top = tops[s, 0]
            for k in range(1, _SHARES):
                top = most(top, tops[s, k])
            j = lane
            while j < width:
                put(y, (row, at + j), exp32(get(y, (row, at + j)) - top))
                j += BLOCK
            s += WARPS
        cuda.syncthreads()
        if t < m:
            row = get(rows, first + t)
            total = _ZERO
            for j in range(width):
                total += get(y, (row, at + j))
            totals[t] = total
        cuda.syncthreads()
        s = warp
        while s < m:
            row = get(rows, first + s)
            j = lane
            while j < width:
                put(y, (row, at + j), get(y, (row, at + j)) / totals[s])
                j += BLOCK
            s += WARPS
        # The next tile's numbers go to the same places; and a layer that follows may read y.
        cuda.syncthreads()
        first += cuda.gridDim.x * TILE


@block_function
def activate(y, rows, at, width, kind, n):
    """y[rows[s], at : at + width] = act(y[rows[s], at : at + width]) of n streams, as on the CPU."""
    if kind == SOFTMAX:
        softmax(y, rows, at, width, n)
        return
    lane, warp = placed()
    first = cuda.blockIdx.x * TILE
    while first < n:
        s, stop = first + warp, min(first + TILE, n)
        while s < stop:
            row = get(rows, s)
            j = lane
            while j < width:
                put(y, (row, at + j), activated(get(y, (row, at + j)), kind))
                j += BLOCK
            s += WARPS
        cuda.syncthreads()
        first += cuda.gridDim.x * TILE
