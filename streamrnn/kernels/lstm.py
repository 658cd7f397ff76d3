"""One step of the LSTM for a tile of streams.

    i = sigmoid(W_ii x + W_hi h + b_i)    f = sigmoid(W_if x + W_hf h + b_f)
    g = tanh(W_ig x + W_hg h + b_g)       o = sigmoid(W_io x + W_ho h + b_o)
    c' = f c + i g                        h' = o tanh(c')

S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997), doi
10.1162/neco.1997.9.8.1735, with the forget gate of Gers et al. (2000); gates in PyTorch's order i, f, g, o.
"""

from __future__ import annotations

import numpy as np

from streamrnn._jit import fused, kernel

from .memory import load16, load_some, store16, store_some
from .numerics import sigmoid_denominator, tanh_fraction
from .product import COLUMN_0, STREAMS, Operand, accumulate, bias_row, padded
from .vector import LANES, first16

__all__ = ["cell", "gated", "lstm"]


@kernel
def gated(gate, x):
    """sigmoid(gate) tanh(x), with one division."""
    p, q = tanh_fraction(x)
    return p / (q * sigmoid_denominator(gate))


@kernel
def cell(i, f, g, c):
    """sigmoid(f) c + sigmoid(i) tanh(g)."""
    return c / sigmoid_denominator(f) + gated(i, g)


@fused
def lstm(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, n):
    """Advance h = state[rows[s], h : h + H] and c = state[rows[s], h + H : h + 2H] in place.

    Arguments as in `rnn`, with 4H columns of weights and biases.
    """
    H = b.shape[0] // 4
    whole = H - H % LANES
    some, zero = first16(H - whole), np.float32(0.0)
    bias = bias_row(b)
    ih = Operand(W_ih, W_ih.shape[0] // padded(4 * H), src, src_rows, src_off)
    hh = Operand(W_hh, H, state, rows, h)
    for first in range(0, n, STREAMS):
        m = min(STREAMS, n - first)
        accumulate(z, COLUMN_0, m, 4 * H, bias, ih, hh, first)
        # c of all streams, then h of all: a chain of dependent operations each, of which a CPU then overlaps several.
        for s in range(m):
            zs = z[s]
            cs = state[rows[first + s], h + H : h + 2 * H]
            for j in range(0, whole, LANES):
                store16(cs, j, cell(load16(zs, j), load16(zs, H + j), load16(zs, 2 * H + j), load16(cs, j)))
            if whole < H:
                j = whole
                c = load_some(cs, j, some, zero)
                store_some(cs, j, some, cell(load16(zs, j), load16(zs, H + j), load16(zs, 2 * H + j), c))
        for s in range(m):
            zs = z[s]
            hs = state[rows[first + s], h : h + H]
            cs = state[rows[first + s], h + H : h + 2 * H]
            for j in range(0, whole, LANES):
                store16(hs, j, gated(load16(zs, 3 * H + j), load16(cs, j)))
            if whole < H:
                j = whole
                store_some(hs, j, some, gated(load16(zs, 3 * H + j), load_some(cs, j, some, zero)))
