"""Activations of a row in place: what follows a dense layer, and the gates of cells that are not of the plain form."""

from __future__ import annotations

import numpy as np

from streamrnn._jit import apart, kernel

from .memory import load16, store16
from .numerics import LIMIT, bounded, exp32, sigmoid32, tanh32
from .vector import LANES, least, most

__all__ = ["LINEAR", "RELU", "SIGMOID", "SOFTMAX", "TANH", "activate", "clip", "softmax"]

LINEAR, RELU, TANH, SIGMOID, SOFTMAX = range(5)


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


@kernel
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
    whole = at + n - n % LANES
    if kind == TANH:
        for j in range(at, whole, LANES):
            store16(row, j, tanh32(load16(row, j)))
        for j in range(whole, at + n):
            row[j] = tanh32(row[j])
    elif kind == SIGMOID:
        for j in range(at, whole, LANES):
            store16(row, j, sigmoid32(load16(row, j)))
        for j in range(whole, at + n):
            row[j] = sigmoid32(row[j])
    elif kind == SOFTMAX:
        softmax(row, at, n)
    else:
        low = np.float32(0.0) if kind == RELU else -LIMIT
        for j in range(at, at + n):
            row[j] = most(bounded(row[j]), low)
