"""One step of the Elman network, and of the leaky reservoir, for a tile of streams.

    h_t = act(W_ih x_t + W_hh h_{t-1} + b)

J. L. Elman, "Finding structure in time", Cognitive Science 14 (1990), doi 10.1207/s15516709cog1402_1, with PyTorch's
parameter names. All kernels here take the same arguments:

    src, src_rows, src_off   the layer's input: x of stream s is src[src_rows[s], src_off : src_off + n_in]
    state, rows, h           float32 (slots, width): h of stream s is state[rows[s], h : h + H], updated in place
    W_ih, W_hh, b            float32 (n_in, H), (H, H), (H,), packed by input; b is the sum of both biases
    z                        float32 (tile, >= H), scratch
    n                        how many streams of the tile are in use; their rows differ from each other
"""

from __future__ import annotations

import numpy as np

from streamrnn._jit import kernel

from .numerics import LIMIT, fma32, tanh32
from .product import accumulate, fill

__all__ = ["relu", "reservoir", "tanh"]


@kernel
def _preactivation(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, n):
    fill(z, n, b)
    accumulate(z, 0, n, src, src_rows, src_off, W_ih)
    accumulate(z, 0, n, state, rows, h, W_hh)


@kernel
def tanh(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, n):
    """Elman step with tanh."""
    _preactivation(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, n)
    H = b.shape[0]
    for s in range(n):
        zs = z[s, :H]
        hs = state[rows[s], h : h + H]
        for j in range(H):
            hs[j] = tanh32(zs[j])


@kernel
def relu(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, n):
    """Elman step with max(0, z), clamped at numerics.LIMIT: an unstable network saturates, it never overflows."""
    _preactivation(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, n)
    H = b.shape[0]
    zero = np.float32(0.0)
    for s in range(n):
        zs = z[s, :H]
        hs = state[rows[s], h : h + H]
        for j in range(H):
            hs[j] = min(max(zs[j], zero), LIMIT)


@kernel
def reservoir(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, leak, z, n):
    """Leaky integrator: h_t = h_{t-1} + a (tanh(...) - h_{t-1}), a float32 (H,) in (0, 1], one rate for each unit.

    H. Jaeger et al., "Optimization and applications of echo state networks with leaky-integrator neurons", Neural
    Networks 20 (2007), doi 10.1016/j.neunet.2007.04.016. A unit's time constant is about 1 / a samples.
    """
    _preactivation(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, n)
    H = b.shape[0]
    for s in range(n):
        zs = z[s, :H]
        hs = state[rows[s], h : h + H]
        for j in range(H):
            hs[j] = fma32(leak[j], tanh32(zs[j]) - hs[j], hs[j])
