"""Layer normalisation of one step for all streams of a grid: the twin of `kernels.norm`.

One thread takes a stream's mean and variance, in float64 as on the CPU, since their order of additions is a chain; then
all threads of the block make the outputs.
"""

from __future__ import annotations

import math

import numpy as np
from numba import float64

from streamrnn._cuda import block_function, cuda
from streamrnn.kernels.vector import LANES, LANES64

from .access import get, put
from .across import total
from .numerics import bounded, fma, fma64
from .product import BLOCK, TILE, WARPS, placed

__all__ = ["layer_norm"]

_ZERO = np.float64(0.0)
_ONE = np.float64(1.0)


@block_function
def _moments(src, row, at, n, result, s):
    """result[s] = (mean, variance) of src[row, at : at + n] float32; sums as the CPU's sixteen lanes have them."""
    d, dd = cuda.local.array(LANES64, float64), cuda.local.array(LANES64, float64)
    whole = at + n - n % LANES
    shift = np.float64(get(src, (row, at)))
    sum_d, sum_dd = _ZERO, _ZERO
    if whole > at:
        for k in range(LANES64):
            low, high = (
                np.float64(get(src, (row, at + k))) - shift,
                np.float64(get(src, (row, at + LANES64 + k))) - shift,
            )
            d[k] = low + high
            dd[k] = fma64(low, low, high * high)
        j = at + LANES
        while j < whole:
            for k in range(LANES64):
                low, high = (
                    np.float64(get(src, (row, j + k))) - shift,
                    np.float64(get(src, (row, j + LANES64 + k))) - shift,
                )
                d[k] = d[k] + (low + high)
                dd[k] = fma64(low, low, fma64(high, high, dd[k]))
            j += LANES
        sum_d, sum_dd = total(d), total(dd)
    j = whole
    while j < at + n:
        e = np.float64(get(src, (row, j))) - shift
        sum_d += e
        sum_dd = fma64(e, e, sum_dd)
        j += 1
    size = np.float64(n)
    mean = sum_d / size
    result[s, 0] = shift + mean
    result[s, 1] = max((sum_dd - sum_d * mean) / size, _ZERO)


@block_function
def layer_norm(src, src_rows, src_off, out, out_off, weight, bias, epsilon, n):
    """out[s, out_off : out_off + N] = norm(src[src_rows[s], src_off : src_off + N]) for s < n, as on the CPU."""
    moments = cuda.shared.array((TILE, 2), float64)
    N = weight.shape[0]
    t = cuda.threadIdx.x
    lane, warp = placed()
    first = cuda.blockIdx.x * TILE
    while first < n:
        m = min(TILE, n - first)
        if t < m:
            _moments(src, get(src_rows, first + t), src_off, N, moments, t)
        cuda.syncthreads()
        s = warp
        while s < m:
            row = get(src_rows, first + s)
            scale = _ONE / np.float64(math.sqrt(moments[s, 1] + np.float64(epsilon)))
            j = lane
            while j < N:
                u = np.float32((np.float64(get(src, (row, src_off + j))) - moments[s, 0]) * scale)
                put(out, (first + s, out_off + j), bounded(fma(u, get(weight, j), get(bias, j))))
                j += BLOCK
            s += WARPS
        # The next tile's moments go to the same place; and a layer that follows may read `out`.
        cuda.syncthreads()
        first += cuda.gridDim.x * TILE
