"""The scalar functions against float64, over every size of argument; the bounds are those of docs/design.md."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn._jit import kernel
from streamrnn.kernels.activate import softmax
from streamrnn.kernels.numerics import EXP_CLAMP, LIMIT, bounded, exp32, fma, sigmoid32, tanh32


@kernel
def _map_tanh(x, y):
    for i in range(x.size):
        y[i] = tanh32(x[i])


@kernel
def _map_sigmoid(x, y):
    for i in range(x.size):
        y[i] = sigmoid32(x[i])


@kernel
def _map_exp(x, y):
    for i in range(x.size):
        y[i] = exp32(x[i])


@kernel
def _fma(a, b, c):
    return fma(a, b, c)


def apply(f, x):
    y = np.empty_like(x)
    f(x, y)
    return y


def every(low, high, step):
    """Every step-th float32 in [low, high], both signs."""
    bits = np.arange(np.float32(low).view(np.int32), np.float32(high).view(np.int32), step, dtype=np.int32)
    x = bits.view(np.float32)
    return np.concatenate([x, -x])


def ulps(y, truth):
    return np.abs(y - truth) / np.spacing(np.abs(truth).astype(np.float32)).astype(np.float64)


def test_tanh_is_within_four_ulp():
    x = every(1e-30, 100.0, 97)
    y = apply(_map_tanh, x)
    assert ulps(y, np.tanh(x.astype(np.float64))).max() <= 4
    assert np.abs(y).max() == 1


def test_tanh_is_odd_and_keeps_zero():
    x = every(1e-40, 1e30, 1009)
    assert np.array_equal(apply(_map_tanh, x), -apply(_map_tanh, -x))
    zeros = np.array([0.0, -0.0], np.float32)
    assert np.array_equal(apply(_map_tanh, zeros), zeros)


def test_sigmoid_is_within_its_absolute_error():
    x = every(1e-30, 200.0, 97)
    y = apply(_map_sigmoid, x)
    with np.errstate(over="ignore"):
        truth = 1 / (1 + np.exp(-x.astype(np.float64)))
    assert np.abs(y - truth).max() <= 1.5e-7
    assert y.min() >= 0
    assert y.max() == 1


def test_exp_is_within_one_ulp():
    x = every(1e-20, EXP_CLAMP, 97)
    assert ulps(apply(_map_exp, x), np.exp(x.astype(np.float64))).max() <= 1


@pytest.mark.parametrize("function", [_map_tanh, _map_sigmoid, _map_exp])
def test_extreme_arguments_stay_finite(function):
    huge = np.array([3.4e38, -3.4e38, LIMIT, -LIMIT, 1e-45, -1e-45], np.float32)
    assert np.isfinite(apply(function, huge)).all()


def test_fma_rounds_once():
    a = np.float32(1 + 2**-12)
    # a * a = 1 + 2^-11 + 2^-24: the product alone would lose its last bit.
    assert _fma(a, a, np.float32(-1 - 2**-11)) == np.float32(2**-24)
    b = 1 + 2.0**-30
    assert _fma(b, b, -1 - 2.0**-29) == 2.0**-60


def test_bounded():
    assert bounded(np.float32(3e38)) == LIMIT
    assert bounded(np.float32(-3e38)) == -LIMIT
    assert bounded(np.float32(1.5)) == np.float32(1.5)


def test_softmax_sums_to_one_and_ranks_as_the_logits():
    logits = np.array([1e12, -1e12, 3.0, 2.0], np.float32)
    softmax(logits, 0, logits.size)
    assert np.allclose(logits, [1, 0, 0, 0], rtol=0, atol=1e-30)
    y = np.array([0.3, -1.2, 4.0, 0.0], np.float32)
    truth = np.exp(y.astype(float)) / np.exp(y.astype(float)).sum()
    softmax(y, 0, y.size)
    assert np.abs(y - truth).max() < 1e-6
