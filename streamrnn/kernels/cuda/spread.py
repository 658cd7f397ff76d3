"""A standard deviation or two quantiles for each channel of a forecast: the twin of `kernels.spread`."""

from __future__ import annotations

from streamrnn._cuda import block_function, cuda
from streamrnn.kernels.spread import GAUSSIAN

from .numerics import bounded, fma, squareplus
from .product import THREADS, TILE

__all__ = ["spread"]


@block_function
def _scaled(value, weights, at, n, k, scaled):
    """A number of channel k in its units, where it has a mean at `at` and a scale n behind it."""
    return fma(bounded(value), weights[at + n + k], weights[at + k]) if scaled else value


@block_function
def spread(y, rows, n, kind, scaled, weights, at, streams):
    """Turn m, a and b of n channels in y[rows[s]] into a forecast and its spread, in place, for s < streams.

    Arguments as on the CPU, with the array and the rows of the streams in the place of one row. A thread has a channel
    of a stream, whose two or three numbers no other touches.
    """
    for first in range(cuda.blockIdx.x * TILE, streams, cuda.gridDim.x * TILE):
        for i in range(cuda.threadIdx.x, min(TILE, streams - first) * n, THREADS):
            row, k = rows[first + i // n], i % n
            m = bounded(y[row, k]) if scaled else y[row, k]
            below = squareplus(bounded(y[row, n + k]))
            y[row, k] = _scaled(m, weights, at, n, k, scaled)
            if kind == GAUSSIAN:
                y[row, n + k] = below * weights[at + n + k] if scaled else below
            else:
                above = squareplus(bounded(y[row, 2 * n + k]))
                y[row, n + k] = _scaled(m - below, weights, at, n, k, scaled)
                y[row, 2 * n + k] = _scaled(m + above, weights, at, n, k, scaled)
        cuda.syncthreads()
