"""The matrix product of one step, in an order that depends on shapes alone.

Every output is one chain of fused multiply-adds over ascending inputs. Vector lanes hold different outputs, never
parts of one sum, so neither the vector width nor the number of streams in a tile can change a bit.
"""

from __future__ import annotations

from streamrnn._jit import kernel

from .numerics import fma32

__all__ = ["accumulate", "fill"]


@kernel
def fill(z, n, b):
    """Start the first `n` rows of z at the bias: z[s, :m] = b. z float32 (tile, >= m), b float32 (m,)."""
    m = b.shape[0]
    for s in range(n):
        row = z[s]
        for j in range(m):
            row[j] = b[j]


@kernel
def accumulate(z, col, n, src, rows, off, W):
    """z[s, col + j] = fma(W[k, j], src[rows[s], off + k], z[s, col + j]) for k ascending, s < n.

    z float32 (tile, columns), src float32 (any, any), rows int64 (tile,), W float32 (K, m) packed by input, so that a
    row of W meets one input and m outputs. Four inputs are taken at a time, which keeps z in registers between
    them; the order of the additions stays k = 0, 1, 2, ...
    """
    K, m = W.shape
    whole = K - K % 4
    for k in range(0, whole, 4):
        w0 = W[k]
        w1 = W[k + 1]
        w2 = W[k + 2]
        w3 = W[k + 3]
        for s in range(n):
            x = src[rows[s]]
            x0 = x[off + k]
            x1 = x[off + k + 1]
            x2 = x[off + k + 2]
            x3 = x[off + k + 3]
            zs = z[s, col : col + m]
            for j in range(m):
                zs[j] = fma32(w3[j], x3, fma32(w2[j], x2, fma32(w1[j], x1, fma32(w0[j], x0, zs[j]))))
    for k in range(whole, K):
        wk = W[k]
        for s in range(n):
            xk = src[rows[s], off + k]
            zs = z[s, col : col + m]
            for j in range(m):
                zs[j] = fma32(wk[j], xk, zs[j])
