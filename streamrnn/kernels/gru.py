"""One step of the GRU for a tile of streams, with the reset gate after the product.

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)        z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
    n = tanh(W_in x + b_in + r (W_hn h + b_hn))       h' = (1 - z) n + z h

K. Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014, doi 10.3115/v1/D14-1179, in the
form and gate order (r, z, n) of PyTorch's documentation.
"""

from __future__ import annotations

import numpy as np

from streamrnn._jit import fused, kernel

from .memory import load16, load_some, store16, store_some
from .numerics import sigmoid32, sigmoid_denominator, tanh_fraction
from .product import COLUMN_0, STREAMS, Operand, accumulate, bias_row, nothing, padded
from .vector import LANES, first16, fma

__all__ = ["gru", "unit"]

_ONE = np.float32(1.0)


@kernel
def unit(x, z, h):
    """(1 - z) tanh(x) + z h. With tanh = p / q and z = 1 / s it is (p (s - 1) + h q) / (q s): one division."""
    p, q = tanh_fraction(x)
    s = sigmoid_denominator(z)
    return fma(p, s - _ONE, h * q) / (q * s)


@fused
def gru(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, n):
    """Advance h = state[rows[s], h : h + H] in place.

    Arguments as in `rnn`. The four pre-activations of a stream stand in z as [n_x | r | z | n_h], so that the input
    feeds the first three blocks and the hidden state the last three, each in one product: W_ih has the 3H columns
    n, r, z; W_hh has r, z, n; b (4H,) is [b_in | b_ir + b_hr | b_iz + b_hz | b_hn].
    """
    H = b.shape[0] // 4
    whole = H - H % LANES
    some = first16(H - whole)
    bias = bias_row(b)
    ih = Operand(W_ih, W_ih.shape[0] // padded(3 * H), src, src_rows, src_off)
    hh = Operand(W_hh, H, state, rows, h)
    for first in range(0, n, STREAMS):
        m = min(STREAMS, n - first)
        accumulate(z, COLUMN_0, m, 3 * H, bias, ih, nothing(ih), first)
        for s in range(m):
            zs = z[s]
            for j in range(3 * H, 4 * H):
                zs[j] = b[j]
        accumulate(z, H, m, 3 * H, z, hh, nothing(hh), first)
        # What goes into n of all streams, then h of all, as in `lstm`.
        for s in range(m):
            zs = z[s]
            for j in range(0, whole, LANES):
                store16(zs, j, fma(sigmoid32(load16(zs, H + j)), load16(zs, 3 * H + j), load16(zs, j)))
            if whole < H:
                j = whole
                n_x = fma(sigmoid32(load16(zs, H + j)), load16(zs, 3 * H + j), load16(zs, j))
                store_some(zs, j, some, n_x)
        for s in range(m):
            zs = z[s]
            hs = state[rows[first + s], h : h + H]
            for j in range(0, whole, LANES):
                store16(hs, j, unit(load16(zs, j), load16(zs, 2 * H + j), load16(hs, j)))
            if whole < H:
                j = whole
                old = load_some(hs, j, some, np.float32(0.0))
                store_some(hs, j, some, unit(load16(zs, j), load16(zs, 2 * H + j), old))
