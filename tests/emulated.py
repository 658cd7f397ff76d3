"""Cells in NumPy, one IEEE 754 float32 operation at a time, with an exact fused multiply-add.

What compiled kernels are to compute, without a compiler that could fuse, reorder or approximate: NumPy's `+ - * /` of
float32 arrays are each rounded once, and `fma` is rounded once by construction.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn.kernels import numerics as n

Floats = npt.NDArray[np.float32]

_ONE = np.float32(1.0)


def fma(a: Floats, b: Floats, c: Floats) -> Floats:
    """a b + c with one rounding, of float32.

    The product is exact in float64. The sum is rounded to odd: where it is not exact, to the neighbour with an odd last
    bit, from which rounding to float32 is right (S. Boldo and G. Melquiond, "Emulation of a FMA and correctly rounded
    sums", IEEE Transactions on Computers 57 (2008), doi 10.1109/TC.2007.70819). What the sum lost is Knuth's two-sum.
    """
    p, c = np.broadcast_arrays(np.float64(a) * np.float64(b), np.float64(c))
    s = p + c
    back = s - p
    lost = (p - (s - back)) + (c - back)
    even = s.view(np.int64) & 1 == 0
    toward = np.where(lost > 0, np.inf, -np.inf)
    return np.where((lost != 0) & even, np.nextafter(s, toward), s).astype(np.float32)


def least(x: Floats, y: Floats) -> Floats:
    return np.where(x < y, x, y)


def most(x: Floats, y: Floats) -> Floats:
    return np.where(y < x, x, y)


def _exp_within(x: Floats) -> Floats:
    t = fma(x, n._LOG2E, n._ROUND)
    k = t - n._ROUND
    r = fma(k, -n._LN2_LOW, fma(k, -n._LN2_HIGH, x))
    p = fma(fma(fma(fma(n._E6, r, n._E5), r, n._E4), r, n._E3), r, n._E2)
    m = fma(r * r, p, r) + _ONE
    return (m.view(np.int32) + (t.view(np.int32) << 23)).view(np.float32)


def exp32(x: Floats) -> Floats:
    return _exp_within(least(most(x, -n.EXP_CLAMP), n.EXP_CLAMP))


def sigmoid_denominator(x: Floats) -> Floats:
    return _ONE + _exp_within(-least(most(x, -n.SIGMOID_CLAMP), n.SIGMOID_CLAMP))


def sigmoid32(x: Floats) -> Floats:
    return _ONE / sigmoid_denominator(x)


def tanh_fraction(x: Floats) -> tuple[Floats, Floats]:
    a = least(np.abs(x), n.TANH_CLAMP)
    e = _exp_within(a + a)
    q = e + _ONE
    s = x * x
    small = fma(x * s, fma(fma(fma(n._T3, s, n._T2), s, n._T1), s, n._T0), x)
    return np.where(a < n.TANH_SMALL, small * q, np.copysign(e - _ONE, x)), q


def tanh32(x: Floats) -> Floats:
    p, q = tanh_fraction(x)
    return p / q


def gated(gate: Floats, x: Floats) -> Floats:
    p, q = tanh_fraction(x)
    return p / (q * sigmoid_denominator(gate))


class Weights(NamedTuple):
    """W_ih (n_in, columns), W_hh (H, columns) and b, in the order of columns that the kernels take."""

    W_ih: Floats
    W_hh: Floats
    b: Floats


def chain(z: Floats, x: Floats, W: Floats) -> Floats:
    """z (streams, columns) + W x, one fused multiply-add after the other over ascending inputs."""
    for k in range(W.shape[0]):
        z = fma(W[k], x[:, k : k + 1], z)
    return z


def rnn_tanh(x: Floats, h: Floats, w: Weights) -> Floats:
    return tanh32(chain(chain(np.tile(w.b, (len(x), 1)), x, w.W_ih), h, w.W_hh))


def lstm(x: Floats, h: Floats, c: Floats, w: Weights) -> tuple[Floats, Floats]:
    i, f, g, o = np.split(chain(chain(np.tile(w.b, (len(x), 1)), x, w.W_ih), h, w.W_hh), 4, axis=1)
    c = c / sigmoid_denominator(f) + gated(i, g)
    return gated(o, c), c


def gru(x: Floats, h: Floats, w: Weights) -> Floats:
    """b is [n_x | r | z | n_h], W_ih has the columns n, r, z and W_hh r, z, n."""
    H = h.shape[1]
    n_x, r, z = np.split(chain(np.tile(w.b[: 3 * H], (len(x), 1)), x, w.W_ih), 3, axis=1)
    start = np.concatenate([r, z, np.tile(w.b[3 * H :], (len(x), 1))], axis=1)
    r, z, n_h = np.split(chain(start, h, w.W_hh), 3, axis=1)
    p, q = tanh_fraction(fma(sigmoid32(r), n_h, n_x))
    s = sigmoid_denominator(z)
    return fma(p, s - _ONE, h * q) / (q * s)
