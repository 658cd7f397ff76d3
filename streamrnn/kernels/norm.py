"""Layer normalisation of one step: over the features of a sample, so it knows nothing of other samples or streams.

    y = (x - m) / sqrt(v + epsilon) * weight + bias        m, v the mean and variance of x

J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer normalization" (2016), arXiv:1607.06450.
"""

from __future__ import annotations

import numpy as np

from streamrnn._jit import apart, inlined, kernel

from .across import total, widen_high, widen_low
from .memory import load16
from .numerics import bounded
from .vector import LANES, fma

__all__ = ["layer_norm"]

_ZERO = np.float64(0.0)


@inlined
def _moments(x, at, n):
    """(mean, variance) of x[at : at + n] float32, in float64.

    With d = x - x[at], the variance is (sum d^2 - (sum d)^2 / n) / n, whose subtraction loses at most log2 n bits:
    x[at] is within sqrt(n) deviations of the mean. Eight sums over every eighth element meet in the order of `total`,
    and what is left over follows one by one: the order depends on n alone.
    """
    whole = at + n - n % LANES
    shift = np.float64(x[at])
    sum_d, sum_dd = _ZERO, _ZERO
    if whole > at:
        v = load16(x, at)
        low, high = widen_low(v) - shift, widen_high(v) - shift
        d, dd = low + high, fma(low, low, high * high)
        for j in range(at + LANES, whole, LANES):
            v = load16(x, j)
            low, high = widen_low(v) - shift, widen_high(v) - shift
            d = d + (low + high)
            dd = fma(low, low, fma(high, high, dd))
        sum_d, sum_dd = total(d), total(dd)
    for j in range(whole, at + n):
        e = np.float64(x[j]) - shift
        sum_d += e
        sum_dd = fma(e, e, sum_dd)
    size = np.float64(n)
    mean = sum_d / size
    return shift + mean, max((sum_dd - sum_d * mean) / size, _ZERO)


@kernel
def layer_norm(src, src_rows, src_off, out, out_off, weight, bias, epsilon, n):
    """out[s, out_off : out_off + N] = norm(src[src_rows[s], src_off : src_off + N]) for s < n.

    src, out float32 with two dimensions; weight, bias float32 (N,); epsilon a number. Mean and variance are taken in
    float64: their sums must not lose what a value far from 0 has in its last digits.
    """
    apart()
    N = weight.shape[0]
    for s in range(n):
        x = src[src_rows[s]]
        mean, variance = _moments(x, src_off, N)
        scale = 1.0 / np.sqrt(variance + np.float64(epsilon))
        for j in range(N):
            u = np.float32((np.float64(x[src_off + j]) - mean) * scale)
            out[s, out_off + j] = bounded(fma(u, weight[j], bias[j]))
