"""How sure a forecast is: a standard deviation, or two quantiles, from what a network says of each channel.

    squareplus(a) = (a + sqrt(a^2 + 4)) / 2

is positive and, like softplus, close to a for large a and to 0 for small; it takes only operations that round alike
everywhere (J. T. Barron, "Squareplus: A softplus-like algebraic rectifier" (2021), arXiv:2112.11687). For a < 0 it is
computed as 2 / (sqrt(a^2 + 4) - a), its equal, which does not cancel.
"""

from __future__ import annotations

import math

import numpy as np

from streamrnn._jit import apart, inlined, kernel

from .numerics import bounded, fma

__all__ = ["GAUSSIAN", "NONE", "QUANTILE", "spread", "squareplus"]

NONE, GAUSSIAN, QUANTILE = range(3)

_HALF, _TWO, _FOUR = np.float32(0.5), np.float32(2.0), np.float32(4.0)


@kernel
def squareplus(a):
    """(a + sqrt(a^2 + 4)) / 2 of a float32 within ±numerics.LIMIT: at least 1e-12, relative error below 3e-7."""
    root = math.sqrt(fma(a, a, _FOUR))
    if a < np.float32(0.0):
        return _TWO / (root - a)
    return (a + root) * _HALF


@inlined
def _scaled(value, weights, at, n, k, scaled):
    """A number of channel k in its units, where it has a mean at `at` and a scale n behind it."""
    return fma(bounded(value), weights[at + n + k], weights[at + k]) if scaled else value


@kernel
def spread(y, n, kind, scaled, weights, at):
    """Turn the network's m, a and b of n channels into a forecast and its spread, in the channels' units, in place.

    y float32 (2 n,) or (3 n,) holds all m, then all a, and all b where `kind` is QUANTILE. GAUSSIAN makes of them mean
    and standard deviation squareplus(a); QUANTILE median, m - squareplus(a) and m + squareplus(b). Where `scaled`,
    weights float32 has the channels' means at `at` and their scales behind them; else units are the network's own.
    """
    apart()
    for k in range(n):
        m = bounded(y[k]) if scaled else y[k]
        below = squareplus(bounded(y[n + k]))
        y[k] = _scaled(m, weights, at, n, k, scaled)
        if kind == GAUSSIAN:
            y[n + k] = below * weights[at + n + k] if scaled else below
        else:
            above = squareplus(bounded(y[2 * n + k]))
            y[n + k] = _scaled(m - below, weights, at, n, k, scaled)
            y[2 * n + k] = _scaled(m + above, weights, at, n, k, scaled)
