"""One step of the GRU for a tile of streams, with the reset gate after the product.

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)        z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
    n = tanh(W_in x + b_in + r (W_hn h + b_hn))       h' = (1 - z) n + z h

K. Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014, doi 10.3115/v1/D14-1179, in the
form and gate order (r, z, n) of PyTorch's documentation.
"""

from __future__ import annotations

from streamrnn._jit import kernel

from .numerics import fma32, sigmoid32, tanh32
from .product import accumulate, fill

__all__ = ["gru"]


@kernel
def gru(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, n):
    """Advance h = state[rows[s], h : h + H] in place.

    Arguments as in `rnn`. The four pre-activations of a stream stand in z as [n_x | r | z | n_h], so that the input
    feeds the first three blocks and the hidden state the last three, each in one product: W_ih float32 (n_in, 3H) has
    columns n, r, z; W_hh (H, 3H) has columns r, z, n; b (4H,) is [b_in | b_ir + b_hr | b_iz + b_hz | b_hn].
    """
    fill(z, n, b)
    H = b.shape[0] // 4
    accumulate(z, 0, n, src, src_rows, src_off, W_ih)
    accumulate(z, H, n, state, rows, h, W_hh)
    for s in range(n):
        zx = z[s, :H]
        zr = z[s, H : 2 * H]
        zz = z[s, 2 * H : 3 * H]
        zh = z[s, 3 * H : 4 * H]
        hs = state[rows[s], h : h + H]
        for j in range(H):
            new = tanh32(fma32(sigmoid32(zr[j]), zh[j], zx[j]))
            # (1 - z) n + z h = n + z (h - n)
            hs[j] = fma32(sigmoid32(zz[j]), hs[j] - new, new)
