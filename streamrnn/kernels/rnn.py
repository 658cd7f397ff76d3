"""One step of the Elman network, and of the leaky reservoir, for a tile of streams.

    h_t = act(W_ih x_t + W_hh h_{t-1} + b)

J. L. Elman, "Finding structure in time", Cognitive Science 14 (1990), doi 10.1207/s15516709cog1402_1, with PyTorch's
parameter names. All kernels here take the same arguments:

    src, src_rows, src_off   the layer's input: x of stream s is src[src_rows[s], src_off : src_off + n_in]
    state, rows, h           float32 (slots, width): h of stream s is state[rows[s], h : h + H], updated in place
    W_ih, W_hh, b            packed weights (product.pack) of n_in and of H inputs; b float32 (H,), both biases summed,
                             with readable memory behind it up to whole blocks (product.padded_bias)
    z                        float32 (STREAMS, columns), scratch with room for whole blocks of columns and a vector more
    n                        how many streams there are; their rows differ from each other
"""

from __future__ import annotations

import numpy as np

from streamrnn._jit import fused, kernel

from .memory import load16, load_some, store16, store_some
from .numerics import LIMIT, tanh32
from .product import COLUMN_0, STREAMS, Operand, accumulate, bias_row, padded
from .vector import LANES, first16, fma, least, most

__all__ = ["relu", "reservoir", "tanh"]


@kernel
def _preactivation(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, first, m):
    """z = b + W_ih x + W_hh h of the m streams from `first` on."""
    H = b.shape[0]
    ih = Operand(W_ih, W_ih.shape[0] // padded(H), src, src_rows, src_off)
    accumulate(z, COLUMN_0, m, H, bias_row(b), ih, Operand(W_hh, H, state, rows, h), first)


@fused
def tanh(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, n):
    """Elman step with tanh."""
    H = b.shape[0]
    whole = H - H % LANES
    for first in range(0, n, STREAMS):
        m = min(STREAMS, n - first)
        _preactivation(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, first, m)
        for s in range(m):
            zs = z[s]
            hs = state[rows[first + s], h : h + H]
            for j in range(0, whole, LANES):
                store16(hs, j, tanh32(load16(zs, j)))
            if whole < H:
                store_some(hs, whole, first16(H - whole), tanh32(load16(zs, whole)))


@fused
def relu(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, n):
    """Elman step with max(0, z), clamped at numerics.LIMIT: an unstable network saturates, it never overflows."""
    H = b.shape[0]
    zero = np.float32(0.0)
    for first in range(0, n, STREAMS):
        m = min(STREAMS, n - first)
        _preactivation(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, first, m)
        for s in range(m):
            zs = z[s]
            hs = state[rows[first + s], h : h + H]
            for j in range(H):
                hs[j] = least(most(zs[j], zero), LIMIT)


@fused
def reservoir(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, leak, z, n):
    """Leaky integrator: h_t = h_{t-1} + a (tanh(...) - h_{t-1}), a float32 (H,) in (0, 1], one rate for each unit.

    H. Jaeger et al., "Optimization and applications of echo state networks with leaky-integrator neurons", Neural
    Networks 20 (2007), doi 10.1016/j.neunet.2007.04.016. A unit's time constant is about 1 / a samples.
    """
    H = b.shape[0]
    whole = H - H % LANES
    for first in range(0, n, STREAMS):
        m = min(STREAMS, n - first)
        _preactivation(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, first, m)
        for s in range(m):
            zs = z[s]
            hs = state[rows[first + s], h : h + H]
            for j in range(0, whole, LANES):
                old = load16(hs, j)
                store16(hs, j, fma(load16(leak, j), tanh32(load16(zs, j)) - old, old))
            if whole < H:
                some, zero = first16(H - whole), np.float32(0.0)
                old = load_some(hs, whole, some, zero)
                rate = load_some(leak, whole, some, zero)
                store_some(hs, whole, some, fma(rate, tanh32(load16(zs, whole)) - old, old))
