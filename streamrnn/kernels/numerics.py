"""Functions shared by every kernel, for a float32 or for sixteen of them (`vector.Vec16`): tanh, sigmoid, exp.

They use only `+ - * / sqrt fma`, which IEEE 754 rounds alike on every machine, so their bits do not depend on a
mathematics library, a vector width or a compiler's mood. `tests/test_numerics.py` measures the errors stated here.
"""

from __future__ import annotations

import numpy as np

from streamrnn._jit import kernel

from .vector import fma, least, most, scaled, select_less, size_of, with_sign

__all__ = [
    "EXP_CLAMP",
    "LIMIT",
    "TANH_CLAMP",
    "bounded",
    "exp32",
    "fma",
    "sigmoid32",
    "sigmoid_denominator",
    "tanh32",
    "tanh_fraction",
]

LIMIT = np.float32(1e12)
"""Inputs and rectified units are clamped to ±LIMIT: no product of them with a legal weight (model.weights) can
overflow float32, so an infinity or NaN cannot arise inside a network."""


_ONE = np.float32(1.0)
_TWO = np.float32(2.0)


EXP_CLAMP = np.float32(86.0)
"""exp32 clamps its argument to ±EXP_CLAMP, well inside the normal numbers of float32."""

_LOG2E = np.float32(1.4426950408889634)
_LN2_HIGH = np.float32(0.693359375)  # ten bits, so that n * _LN2_HIGH is exact
_LN2_LOW = np.float32(-2.1219444005469057e-04)
_ROUND = np.float32(12582912.0)  # 1.5 * 2^23: adding it rounds to an integer, which stands in the lowest bits
_E2, _E3, _E4, _E5, _E6 = (
    np.float32(c) for c in (0.499999934, 0.1666652009, 0.04166839776, 0.008368781304, 0.001381423828)
)


@kernel
def _exp_within(x):
    """exp of a float32 that is within ±EXP_CLAMP."""
    t = fma(x, _LOG2E, _ROUND)
    n = t - _ROUND
    r = fma(n, -_LN2_LOW, fma(n, -_LN2_HIGH, x))
    p = fma(fma(fma(fma(_E6, r, _E5), r, _E4), r, _E3), r, _E2)
    return scaled(fma(r * r, p, r) + _ONE, t)


@kernel
def exp32(x):
    """exp of a float32 within ±86 (clamped beyond), at most 1 ulp from the truth.

    x = n ln 2 + r with |r| <= ln 2 / 2 (Cody and Waite's two-part ln 2), exp(r) by a minimax polynomial, and 2^n
    added to its exponent.
    """
    return _exp_within(least(most(x, -EXP_CLAMP), EXP_CLAMP))


SIGMOID_CLAMP = np.float32(50.0)
"""sigmoid(-50) = 2e-22 is as small as a gate gets; its denominator times tanh's stays far from overflow."""


@kernel
def sigmoid_denominator(x):
    """q with sigmoid(x) = 1 / q, and q - 1 = exp(-x); x is clamped to ±SIGMOID_CLAMP."""
    return _ONE + _exp_within(-least(most(x, -SIGMOID_CLAMP), SIGMOID_CLAMP))


@kernel
def sigmoid32(x):
    """1 / (1 + exp(-x)) for a finite float32; absolute error at most 1.5e-7, always in (0, 1]."""
    return _ONE / sigmoid_denominator(x)


TANH_CLAMP = np.float32(9.02)
"""tanh(x) rounds to 1 in float32 from 9.011 on."""

TANH_SMALL = np.float32(0.5)

# tanh(x) = x + x^3 T(x^2) for |x| <= TANH_SMALL
_T0, _T1, _T2, _T3 = (np.float32(c) for c in (-0.3333314358, 0.1332586985, -0.05304478189, 0.01723983378))


@kernel
def tanh_fraction(x):
    """p, q with tanh(x) = p / q, so that a product of gates needs one division; |p| < q < 1.4e8.

    With E = exp(2|x|): p = ±(E - 1) and q = E + 1 from TANH_SMALL on, where the subtraction does not cancel; below, p
    is an odd polynomial times q. Both are computed and one is selected, as vectors do.
    """
    a = least(size_of(x), TANH_CLAMP)
    e = _exp_within(a + a)
    q = e + _ONE
    s = x * x
    small = fma(x * s, fma(fma(fma(_T3, s, _T2), s, _T1), s, _T0), x)
    large = e - _ONE
    return select_less(a, TANH_SMALL, small * q, with_sign(large, x)), q


@kernel
def tanh32(x):
    """tanh of a finite float32, at most 4 ulp from the truth; odd, and never beyond ±1."""
    p, q = tanh_fraction(x)
    return p / q


@kernel
def bounded(x):
    """x clamped to ±LIMIT."""
    return least(most(x, -LIMIT), LIMIT)
