"""Sixteen lanes and one: every operation must round a lane as it rounds a scalar; tiles must agree with each other."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn._jit import kernel
from streamrnn.kernels.numerics import exp32, sigmoid32, tanh32
from streamrnn.kernels.product import STREAMS, accumulate, pack, padded
from streamrnn.kernels.vector import LANES, fma32, least, load16, most, select_less, size_of, store16


@kernel
def _all(a, b, c):
    return fma32(a, b, c) - least(a, b) * most(b, c) + select_less(a, c, -a, b / size_of(c))


@kernel
def _vectors(a, b, c, out):
    for j in range(0, a.size, LANES):
        x = load16(a, j)
        store16(out, j, _all(x, load16(b, j), load16(c, j)) + tanh32(x) * sigmoid32(x) + exp32(x) * np.float32(3.0))


@kernel
def _scalars(a, b, c, out):
    for j in range(a.size):
        x = a[j]
        out[j] = _all(x, b[j], c[j]) + tanh32(x) * sigmoid32(x) + exp32(x) * np.float32(3.0)


def test_a_lane_rounds_as_a_scalar_does():
    rng = np.random.default_rng(1)
    a, b, c = (rng.normal(scale=s, size=64 * LANES).astype(np.float32) for s in (4, 1, 30))
    a[:8] = [0.0, -0.0, 1e-40, -1e-40, 3e38, -3e38, 0.5, -0.5]
    with np.errstate(all="ignore"):
        lanes, scalars = np.empty_like(a), np.empty_like(a)
        _vectors(a, b, c, lanes)
        _scalars(a, b, c, scalars)
    assert lanes.tobytes() == scalars.tobytes()


@pytest.mark.parametrize("K", [1, 5, 64])
@pytest.mark.parametrize("columns", [1, 16, 32, 33, 128, 130, 260])
def test_any_number_of_streams_gives_the_sums_of_one(K, columns):
    rng = np.random.default_rng(2)
    n = 2 * STREAMS + STREAMS // 3 + 1
    W = rng.normal(size=(K, columns)).astype(np.float32)
    src = rng.normal(size=(3 * n, K + 7)).astype(np.float32)
    rows = rng.permutation(3 * n)[:n].astype(np.int64)
    start = rng.normal(size=(n, padded(columns) + 5)).astype(np.float32)
    z = start.copy()
    accumulate(z, 3, n, src, rows, 0, 4, pack(W), K)
    truth = start[:, 3 : 3 + columns].astype(np.float64) + src[rows, 4 : 4 + K].astype(np.float64) @ W
    assert np.abs(z[:, 3 : 3 + columns] - truth).max() < 1e-4
    # What is not a column keeps its value.
    assert np.array_equal(z[:, :3], start[:, :3])
    assert np.array_equal(z[:, 3 + columns :], start[:, 3 + columns :])
    for s in range(n):
        alone = start[s : s + 1].copy()
        accumulate(alone, 3, 1, src, rows, s, 4, pack(W), K)
        assert alone[0].tobytes() == z[s].tobytes()


def test_packed_weights_hold_every_weight_once():
    W = np.arange(1, 1 + 3 * 40, dtype=np.float32).reshape(3, 40)
    packed = pack(W)
    assert packed.size == 3 * 64
    assert sorted(packed[packed > 0].tolist()) == W.ravel().tolist()
    assert packed[: 3 * 32].reshape(3, 32).tolist() == W[:, :32].tolist()
