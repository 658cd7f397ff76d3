"""The linear readout y = W h + b of a tile of streams, and the softmax of a classifier."""

from __future__ import annotations

import numpy as np

from streamrnn._jit import kernel

from .numerics import exp32
from .product import accumulate, fill

__all__ = ["linear", "softmax"]


@kernel
def linear(state, rows, h, W, b, y, y_rows, z, n):
    """y[y_rows[s]] = W h + b with h = state[rows[s], h : h + H]; W float32 (H, n_out), b (n_out,), z scratch."""
    fill(z, n, b)
    accumulate(z, 0, n, state, rows, h, W)
    m = b.shape[0]
    for s in range(n):
        for j in range(m):
            y[y_rows[s], j] = z[s, j]


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
