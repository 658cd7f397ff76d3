"""The linear readout y = W h + b of a tile of streams, and the softmax of a classifier."""

from __future__ import annotations

import numpy as np

from streamrnn._jit import kernel

from .numerics import exp32
from .product import COLUMN_0, STREAMS, Operand, accumulate, bias_row, nothing, padded

__all__ = ["linear", "softmax"]


@kernel
def linear(state, rows, h, W, b, y, y_rows, z, n):
    """y[y_rows[s]] = W h + b for s < n, h = state[rows[s], h : h + H]; b (n_out,) and z as in `rnn`, W packed."""
    n_out = b.shape[0]
    bias = bias_row(b)
    Wh = Operand(W, W.shape[0] // padded(n_out), state, rows, h)
    for first in range(0, n, STREAMS):
        m = min(STREAMS, n - first)
        accumulate(z, COLUMN_0, m, n_out, bias, Wh, nothing(Wh), first)
        for s in range(m):
            for j in range(n_out):
                y[y_rows[first + s], j] = z[s, j]


@kernel
def softmax(y):
    """Turn one row of logits float32 (n,) into probabilities in place; the largest is subtracted first."""
    top = y[0]
    for j in range(1, y.shape[0]):
        top = max(top, y[j])
    total = np.float32(0.0)
    for j in range(y.shape[0]):
        e = exp32(y[j] - top)
        y[j] = e
        total += e
    for j in range(y.shape[0]):
        y[j] = y[j] / total
