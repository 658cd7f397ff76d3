"""Causal normalisation of all streams of a tile, and the way back to units: the twin of `kernels.normalise`.

Channels are independent of each other, so each belongs to a thread, which calls the CPU's function with that alone.
"""

from __future__ import annotations

from streamrnn._cuda import block_function, cuda
from streamrnn.kernels import normalise
from streamrnn.kernels.normalise import STATS

from .memory import matrix
from .product import THREADS
from .rows import shared_rows

__all__ = ["denormalise", "observe"]

_observe = shared_rows(normalise.observe, lambda *args: args[2:])
_denormalise = shared_rows(normalise.denormalise, lambda *args: args[2:])


@block_function
def observe(x, missing, adapt, rows, stats, u, n, first, m):
    """u[s, :n] = the n channels of x[s] normalised, once learned from, for the m streams from `first` on.

    x float32, missing and u as on the CPU, but a row for each stream; stats (n, STATS) stand at adapt[rows[s], stats:].
    """
    for i in range(cuda.threadIdx.x, m * n, THREADS):
        s, j = first + i // n, i % n
        own = matrix(adapt[rows[s]], stats + STATS * j, 1, STATS)
        _observe(x[s][j : j + 1], missing[s][j : j + 1], own, u[s][j : j + 1])


@block_function
def denormalise(adapt, rows, stats, y, n, first, m):
    """y[s, :n], normalised forecasts of the m streams from `first` on, in the channels' own units, in place."""
    for i in range(cuda.threadIdx.x, m * n, THREADS):
        s, j = first + i // n, i % n
        own = matrix(adapt[rows[s]], stats + STATS * j, 1, STATS)
        _denormalise(y[s][j : j + 1], own, y[s][j : j + 1])
