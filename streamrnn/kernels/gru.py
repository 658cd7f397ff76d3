"""One step of the GRU for a tile of streams, with the reset gate after the product.

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)        z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
    n = tanh(W_in x + b_in + r (W_hn h + b_hn))       h' = (1 - z) n + z h

K. Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014, doi 10.3115/v1/D14-1179, in the
form and gate order (r, z, n) of PyTorch's documentation.
"""

from __future__ import annotations

import numpy as np

from streamrnn._jit import kernel

from .memory import load16, store16
from .numerics import sigmoid32, sigmoid_denominator, tanh_fraction
from .product import STREAMS, accumulate, fill, padded
from .vector import LANES, fma

__all__ = ["gru"]

_ONE = np.float32(1.0)


@kernel
def _unit(x, r, z, n, h):
    """(1 - z) tanh(x + r n) + z h. With tanh = p / q and z = 1 / s it is (p (s - 1) + h q) / (q s): one division."""
    p, q = tanh_fraction(fma(sigmoid32(r), n, x))
    s = sigmoid_denominator(z)
    return fma(p, s - _ONE, h * q) / (q * s)


@kernel
def gru(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, n):
    """Advance h = state[rows[s], h : h + H] in place.

    Arguments as in `rnn`. The four pre-activations of a stream stand in z as [n_x | r | z | n_h], so that the input
    feeds the first three blocks and the hidden state the last three, each in one product: W_ih has the 3H columns
    n, r, z; W_hh has r, z, n; b (4H,) is [b_in | b_ir + b_hr | b_iz + b_hz | b_hn].
    """
    H = b.shape[0] // 4
    whole = H - H % LANES
    for first in range(0, n, STREAMS):
        m = min(STREAMS, n - first)
        fill(z, m, b)
        accumulate(z, 0, m, src, src_rows, first, src_off, W_ih, W_ih.shape[0] // padded(3 * H))
        accumulate(z, H, m, state, rows, first, h, W_hh, H)
        for s in range(m):
            zs = z[s]
            hs = state[rows[first + s], h : h + H]
            for j in range(0, whole, LANES):
                r, update, n_h = load16(zs, H + j), load16(zs, 2 * H + j), load16(zs, 3 * H + j)
                store16(hs, j, _unit(load16(zs, j), r, update, n_h, load16(hs, j)))
            for j in range(whole, H):
                hs[j] = _unit(zs[j], zs[H + j], zs[2 * H + j], zs[3 * H + j], hs[j])
