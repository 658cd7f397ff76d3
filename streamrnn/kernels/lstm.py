"""One step of the LSTM for a tile of streams.

    i = sigmoid(W_ii x + W_hi h + b_i)    f = sigmoid(W_if x + W_hf h + b_f)
    g = tanh(W_ig x + W_hg h + b_g)       o = sigmoid(W_io x + W_ho h + b_o)
    c' = f c + i g                        h' = o tanh(c')

S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997), doi
10.1162/neco.1997.9.8.1735, with the forget gate of Gers et al. (2000); gates in PyTorch's order i, f, g, o.
"""

from __future__ import annotations

from streamrnn._jit import kernel

from .numerics import fma32, sigmoid32, tanh32
from .product import accumulate, fill

__all__ = ["lstm"]


@kernel
def lstm(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, n):
    """Advance h = state[rows[s], h : h + H] and c = state[rows[s], h + H : h + 2H] in place.

    Arguments as in `rnn`, with W_ih float32 (n_in, 4H), W_hh (H, 4H), b (4H,), z (tile, >= 4H).
    """
    fill(z, n, b)
    accumulate(z, 0, n, src, src_rows, src_off, W_ih)
    accumulate(z, 0, n, state, rows, h, W_hh)
    H = b.shape[0] // 4
    for s in range(n):
        zi = z[s, :H]
        zf = z[s, H : 2 * H]
        zg = z[s, 2 * H : 3 * H]
        zo = z[s, 3 * H : 4 * H]
        hs = state[rows[s], h : h + H]
        cs = state[rows[s], h + H : h + 2 * H]
        for j in range(H):
            c = fma32(sigmoid32(zf[j]), cs[j], sigmoid32(zi[j]) * tanh32(zg[j]))
            cs[j] = c
            hs[j] = sigmoid32(zo[j]) * tanh32(c)
