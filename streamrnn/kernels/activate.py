"""Activations of a row in place: what follows a dense layer, and the gates of cells that are not of the plain form."""

from __future__ import annotations

import numpy as np

from streamrnn._jit import apart, inlined, kernel

from .memory import load_some, store_some
from .numerics import LIMIT, bounded, exp32, sigmoid32, tanh32
from .vector import LANES, first16, least, most

__all__ = ["LINEAR", "RELU", "SIGMOID", "SOFTMAX", "TANH", "activate", "clip", "softmax"]

LINEAR, RELU, TANH, SIGMOID, SOFTMAX = range(5)

_ZERO = np.float32(0.0)


@kernel
def softmax(y, at, n):
    """Turn the logits y[at : at + n] of a row float32 into probabilities in place; the largest is subtracted first."""
    top = y[at]
    for j in range(at + 1, at + n):
        top = max(top, y[j])
    total = np.float32(0.0)
    for j in range(at, at + n):
        e = exp32(y[j] - top)
        y[j] = e
        total += e
    for j in range(at, at + n):
        y[j] = y[j] / total


@inlined
def clip(row, at, n, limit):
    """Bound row[at : at + n] by ±limit, a float32 above 0."""
    for j in range(at, at + n):
        row[j] = least(most(row[j], -limit), limit)


@kernel
def activate(row, at, n, kind):
    """row[at : at + n] = act(row[at : at + n]) of a row float32, `kind` one of the names above.

    What has no bound of its own is clamped at numerics.LIMIT, as everything that a later layer reads.
    """
    apart()
    if kind == TANH:
        for j in range(at, at + n, LANES):
            some = first16(at + n - j)
            store_some(row, j, some, tanh32(load_some(row, j, some, _ZERO)))
    elif kind == SIGMOID:
        for j in range(at, at + n, LANES):
            some = first16(at + n - j)
            store_some(row, j, some, sigmoid32(load_some(row, j, some, _ZERO)))
    elif kind == SOFTMAX:
        softmax(row, at, n)
    else:
        low = np.float32(0.0) if kind == RELU else -LIMIT
        for j in range(at, at + n):
            row[j] = most(bounded(row[j]), low)
