"""One step of every form of cell that has no kernel of its own, for a tile of streams.

An LSTM with a projection (H. Sak et al., "Long short-term memory recurrent neural network architectures for large
scale acoustic modeling", Interspeech 2014):

    h' = W_hr (o tanh(c'))

a GRU that applies the reset gate before the product, which is the form of K. Cho et al. (EMNLP 2014, doi
10.3115/v1/D14-1179), ONNX's default and Keras' reset_after=False:

    n = tanh(W_in x + W_hn (r h) + b_n)

and any of lstm, gru and the Elman network with other activations, or with bounds on the pre-activations of gates and
candidate (ONNX's clip, as ONNX Runtime has it: what goes into an LSTM's output activation is not bounded).
They share this kernel, which decides at run time, because each kernel costs a second of the first start; the plain
forms are in lstm.py, gru.py and rnn.py.
"""

from __future__ import annotations

import numpy as np

from streamrnn._jit import apart, inlined, kernel

from .activate import activate, clip
from .numerics import bounded
from .product import STREAMS, Operand, accumulate, bias_row, nothing, padded
from .vector import fma

__all__ = ["ELMAN", "GRU_AFTER", "GRU_BEFORE", "LSTM", "form", "tail"]

ELMAN, LSTM, GRU_AFTER, GRU_BEFORE = range(4)

# Typed: for a literal, Numba would compile what is called once more.
_ZERO = np.int64(0)
_ONE = np.float32(1.0)


@kernel
def _product(z, col, n, columns, start, a, b, first):
    """`accumulate`, once for all products of a form."""
    apart()
    accumulate(z, col, n, columns, start, a, b, first)


@inlined
def tail(H):
    """First column of z behind all pre-activations: H numbers there are read by the second product."""
    # No product of one block of 4H columns from column H on reaches further.
    return H + padded(4 * H)


@inlined
def _lstm(z, c, at, H, gate, act, out, limit):
    """c' in place and o act(c') at z[at:], from the pre-activations i, f, g, o."""
    clip(z, _ZERO, 4 * H, limit)
    activate(z, _ZERO, 2 * H, gate)
    activate(z, 2 * H, H, act)
    activate(z, 3 * H, H, gate)
    for j in range(H):
        cj = bounded(fma(z[H + j], c[j], z[j] * z[2 * H + j]))
        c[j] = cj
        z[at + j] = cj
    activate(z, at, H, out)
    for j in range(H):
        z[at + j] = bounded(z[3 * H + j] * z[at + j])


@inlined
def _gru(z, h, at, H, gate, limit, before):
    """The gates, and what they do to the candidate before or after its product; z = [n_x | r | z | n_h]."""
    clip(z, H, 2 * H, limit)
    activate(z, H, 2 * H, gate)
    if before:
        for j in range(H):
            z[at + j] = bounded(z[H + j] * h[j])
    else:
        for j in range(H):
            z[j] = fma(z[H + j], z[3 * H + j], z[j])


@kernel
def form(family, src, src_rows, src_off, n_in, state, rows, h, P, W_ih, W_hh, W_2, b, gate, act, out, limit, z, own, n):
    """Advance h = state[rows[s], h : h + P], and of an LSTM c in the H numbers behind it, in place.

    Arguments as in `rnn`, and: `family` ELMAN, LSTM, GRU_AFTER or GRU_BEFORE; `n_in` and `P`, the numbers that W_ih and
    W_hh are multiplied with; b float32 (H,) of an Elman network, else (4H,), a GRU's as in `gru`; W_hh of GRU_BEFORE
    has the columns r, z alone, and W_2 is its W_hn, or an LSTM's projection, or empty; `gate`, `act` and `out`, codes
    of `activate` for the gates, the candidate and the LSTM's output; `limit`, float32, which bounds the
    pre-activations; own int64, 0 to STREAMS - 1. z is wide enough for `tail` and H more.
    """
    apart()
    H = b.shape[0] if family == ELMAN else b.shape[0] // 4
    at = tail(H)
    gru = family in (GRU_AFTER, GRU_BEFORE)
    bias = bias_row(b)
    ih = Operand(W_ih, n_in, src, src_rows, src_off)
    hh = Operand(W_hh, P, state, rows, h)
    second = Operand(W_2, H, z, own, at)
    for first in range(0, n, STREAMS):
        m = min(np.int64(STREAMS), n - first)
        if gru:
            _product(z, _ZERO, m, 3 * H, bias, ih, nothing(ih), first)
            for s in range(m):
                for j in range(3 * H, 4 * H):
                    z[s, j] = b[j]
            _product(z, H, m, 2 * H if family == GRU_BEFORE else 3 * H, z, hh, nothing(hh), first)
        else:
            _product(z, _ZERO, m, b.shape[0], bias, ih, hh, first)
        for s in range(m):
            zs = z[s]
            if family == LSTM:
                cs = state[rows[first + s], h + P : h + P + H]
                _lstm(zs, cs, at, H, gate, act, out, limit)
                zs[:P] = np.float32(0.0)
            elif gru:
                _gru(zs, state[rows[first + s], h : h + H], at, H, gate, limit, family == GRU_BEFORE)
        if W_2.shape[0] > 0:
            _product(z, _ZERO, m, P if family == LSTM else H, z, second, nothing(second), _ZERO)
        # What is new stands in z from here on.
        new = at if family == LSTM and W_2.shape[0] == 0 else 0
        for s in range(m):
            zs = z[s]
            hs = state[rows[first + s], h : h + P]
            if family != LSTM:
                clip(zs, _ZERO, H, limit)
                activate(zs, _ZERO, H, act)
            if gru:
                for j in range(H):
                    zs[j] = fma(zs[2 * H + j], hs[j], (_ONE - zs[2 * H + j]) * zs[j])
            for j in range(P):
                hs[j] = bounded(zs[new + j])
