"""The linear map y = W h + b of a tile of streams: the readout, and the product of a dense layer."""

from __future__ import annotations

from streamrnn._jit import apart, kernel

from .product import COLUMN_0, STREAMS, Operand, accumulate, bias_row, nothing, padded

__all__ = ["linear"]


@kernel
def linear(state, rows, h, W, b, y, y_rows, y_off, z, n):
    """y[y_rows[s], y_off:] = W h + b for s < n, h = state[rows[s], h : h + H]; b (n_out,), z as in `rnn`, W packed."""
    apart()
    n_out = b.shape[0]
    bias = bias_row(b)
    Wh = Operand(W, W.shape[0] // padded(n_out), state, rows, h)
    for first in range(0, n, STREAMS):
        m = min(STREAMS, n - first)
        accumulate(z, COLUMN_0, m, n_out, bias, Wh, nothing(Wh), first)
        for s in range(m):
            for j in range(n_out):
                y[y_rows[first + s], y_off + j] = z[s, j]
