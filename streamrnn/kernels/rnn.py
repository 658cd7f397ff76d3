"""One step of the Elman network, and of the leaky reservoir, for a tile of streams.

    h_t = act(W_ih x_t + W_hh h_{t-1} + b)

J. L. Elman, "Finding structure in time", Cognitive Science 14 (1990), doi 10.1207/s15516709cog1402_1, with PyTorch's
parameter names. All kernels here take the same arguments:

    src, src_rows, src_off   the layer's input: x of stream s is src[src_rows[s], src_off : src_off + n_in]
    state, rows, h           float32 (slots, width): h of stream s is state[rows[s], h : h + H], updated in place
    W_ih, W_hh, b            packed weights (product.pack) of n_in and of H inputs; b float32 (H,), both biases summed
    z                        float32 (STREAMS, columns), scratch with room for whole blocks of columns
    n                        how many streams there are; their rows differ from each other
"""

from __future__ import annotations

import numpy as np

from streamrnn._jit import kernel

from .memory import load16, store16
from .numerics import LIMIT, tanh32
from .product import STREAMS, accumulate, fill, padded
from .vector import LANES, fma, least, most

__all__ = ["relu", "reservoir", "tanh"]


@kernel
def _preactivation(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, first, m):
    """z = b + W_ih x + W_hh h of the m streams from `first` on."""
    H = b.shape[0]
    fill(z, m, b)
    accumulate(z, 0, m, src, src_rows, first, src_off, W_ih, W_ih.shape[0] // padded(H))
    accumulate(z, 0, m, state, rows, first, h, W_hh, H)


@kernel
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
            for j in range(whole, H):
                hs[j] = tanh32(zs[j])


@kernel
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


@kernel
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
            for j in range(whole, H):
                hs[j] = fma(leak[j], tanh32(zs[j]) - hs[j], hs[j])
