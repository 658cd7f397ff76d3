"""A standard deviation or two quantiles for each channel of a forecast: the twin of `kernels.spread`."""

from __future__ import annotations

import numpy as np

from streamrnn._cuda import block_function, cuda
from streamrnn.kernels.spread import GAUSSIAN

from .access import get, put
from .numerics import bounded, fma, squareplus
from .product import THREADS, TILE

__all__ = ["spread"]


@block_function
def _scaled(value, weights, at, n, k, scaled):
    """A number of channel k in its units, where it has a mean at `at` and a scale n behind it."""
    return fma(bounded(value), get(weights, at + n + k), get(weights, at + k)) if scaled else value


@block_function
def spread(y, rows, n, kind, scaled, weights, at, streams):
    """Turn m, a and b of n channels in y[rows[s]] into a forecast and its spread, in place, for s < streams.

    Arguments as on the CPU, with the array and the rows of the streams in the place of one row. A thread has a channel
    of a stream, whose two or three numbers no other touches.
    """
    first = cuda.blockIdx.x * TILE
    while first < streams:
        # As few channels as a forecast has would leave most of a warp's lanes without one: streams side by side.
        i, stop = np.int64(cuda.threadIdx.x), min(TILE, streams - first) * n
        while i < stop:
            row, k = get(rows, first + i // n), i % n
            m = bounded(get(y, (row, k))) if scaled else get(y, (row, k))
            below = squareplus(bounded(get(y, (row, n + k))))
            put(y, (row, k), _scaled(m, weights, at, n, k, scaled))
            if kind == GAUSSIAN:
                put(y, (row, n + k), below * get(weights, at + n + k) if scaled else below)
            else:
                above = squareplus(bounded(get(y, (row, 2 * n + k))))
                put(y, (row, n + k), _scaled(m - below, weights, at, n, k, scaled))
                put(y, (row, 2 * n + k), _scaled(m + above, weights, at, n, k, scaled))
            i += THREADS
        cuda.syncthreads()
        first += cuda.gridDim.x * TILE
