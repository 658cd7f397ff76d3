"""Sixteen lanes and one: every operation must round a lane as it rounds a scalar; tiles must agree with each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn._jit import kernel
from streamrnn.kernels.across import total, totals, widen_as, widen_high, widen_low
from streamrnn.kernels.memory import clear_rows, load8, load16, load_some, store8, store16, store_some
from streamrnn.kernels.numerics import exp32, sigmoid32, tanh32
from streamrnn.kernels.product import STREAMS, Operand, accumulate, bias_row, pack, padded, padded_bias
from streamrnn.kernels.vector import (
    LANES,
    bits,
    first4,
    first8,
    first16,
    fma,
    least,
    less,
    most,
    only8,
    select,
    select_less,
    size_of,
)


@kernel
def _all(a, b, c):
    return fma(a, b, c) - least(a, b) * most(b, c) + select_less(a, c, -a, b / size_of(c))


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
    n, few = 2 * STREAMS + STREAMS // 3 + 1, 2
    V, W = (rng.normal(size=(k, columns)).astype(np.float32) for k in (few, K))
    src = rng.normal(size=(3 * n, K + 7)).astype(np.float32)
    rows = rng.permutation(3 * n)[:n].astype(np.int64)
    a, b = Operand(pack(V), few, src, np.arange(n), 1), Operand(pack(W), K, src, rows, 4)
    start = rng.normal(size=(n, padded(columns) + 5)).astype(np.float32)
    z = start.copy()
    accumulate(z, 3, n, columns, z, a, b, 0)
    added = src[:n, 1 : 1 + few].astype(np.float64) @ V + src[rows, 4 : 4 + K].astype(np.float64) @ W
    assert np.abs(z[:, 3 : 3 + columns] - start[:, 3 : 3 + columns] - added).max() < 1e-4
    # What is not a column keeps its value.
    assert np.array_equal(z[:, :3], start[:, :3])
    assert np.array_equal(z[:, 3 + columns :], start[:, 3 + columns :])
    for s in range(n):
        alone = np.concatenate([start[s : s + 1]] * 2)
        accumulate(alone, 3, 1, columns, alone, a, b, s)
        assert alone[0].tobytes() == z[s].tobytes()


@kernel
def _from_bias(z, n, columns, bias, a, b, first):
    accumulate(z, 0, n, columns, bias_row(bias), a, b, first)


@pytest.mark.parametrize("columns", [5, 64, 100])
def test_a_bias_starts_every_stream(columns):
    rng = np.random.default_rng(3)
    n, K = STREAMS + 1, 9
    bias, W = rng.normal(size=columns).astype(np.float32), rng.normal(size=(K, columns)).astype(np.float32)
    x = rng.normal(size=(n, K)).astype(np.float32)
    product, nothing = Operand(pack(W), K, x, np.arange(n), 0), Operand(pack(W), 0, x, np.arange(n), 0)
    z, truth = (np.full((n, padded(columns)), v, np.float32) for v in (7, 0))
    truth[:, :columns] = bias
    accumulate(truth, 0, n, columns, truth, nothing, product, 0)
    _from_bias(z, n, columns, padded_bias(bias), product, nothing, 0)
    assert z[:, :columns].tobytes() == truth[:, :columns].tobytes()


def test_packed_weights_hold_every_weight_once():
    W = np.arange(1, 1 + 3 * 40, dtype=np.float32).reshape(3, 40)
    packed = pack(W)
    assert packed.size == 3 * 64
    assert sorted(packed[packed > 0].tolist()) == W.ravel().tolist()
    assert packed[: 3 * 32].reshape(3, 32).tolist() == W[:, :32].tolist()


@kernel
def _masked(a, b, n, out):
    """Per lane: a where a < b and among the first n, else -1; returns the masks as integers."""
    x, y = load8(a, 0), load8(b, 0)
    chosen = less(x, y) & first8(n)
    store8(out, 0, select(chosen, x, -1.0))
    return bits(chosen), bits(~less(x, y) | only8(n)), total(x)


@given(st.lists(st.floats(-1e6, 1e6), min_size=16, max_size=16), st.integers(0, 8))
def test_masks_choose_lanes(values, n):
    a, b, out = np.array(values[:8]), np.array(values[8:]), np.empty(8)
    both, either, summed = _masked(a, b, n, out)
    chosen = (a < b) & (np.arange(8) < n)
    assert both == sum(1 << k for k in range(8) if chosen[k])
    assert either == sum(1 << k for k in range(8) if not a[k] < b[k] or k == n)
    assert out.tolist() == np.where(chosen, a, -1.0).tolist()
    assert summed == ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]))


@kernel
def _totals(rows, out):
    v = totals(
        load8(rows[0], 0),
        load8(rows[1], 0),
        load8(rows[2], 0),
        load8(rows[3], 0),
        load8(rows[4], 0),
        load8(rows[5], 0),
        load8(rows[6], 0),
        load8(rows[7], 0),
    )
    store8(out, 0, v)
    for k in range(8):
        out[8 + k] = total(load8(rows[k], 0))


def test_eight_totals_at_once_have_the_bits_of_one():
    rows, out = np.random.default_rng(3).normal(scale=1e3, size=(8, 8)), np.empty(16)
    _totals(rows, out)
    assert out[:8].tobytes() == out[8:].tobytes()
    assert out[:8] == pytest.approx(rows.sum(axis=1))


@kernel
def _some(row, at, n, out32, row64, out64):
    mask = first16(n)
    store_some(out32, at, mask, load_some(row, at, mask, np.float32(9.0)) + np.float32(1.0))
    w = load8(row64, 0)
    store8(out64, 0, load_some(row64, 0, first8(n), w + w))


@pytest.mark.parametrize("n", [0, 1, 5, 8, 16])
def test_only_the_lanes_of_a_mask_touch_memory(n):
    row, row64 = np.arange(40, dtype=np.float32), np.arange(8.0)
    out32, out64 = np.full(40, -1, np.float32), np.empty(8)
    _some(row, 20, n, out32, row64, out64)
    assert out32[20 : 20 + n].tolist() == (row[20 : 20 + n] + 1).tolist()
    assert (np.delete(out32, slice(20, 20 + n)) == -1).all()
    assert out64.tolist() == [k if k < n else 2 * k for k in range(8)]


@kernel
def _wide(row, out):
    store8(out, 0, widen_low(load16(row, 0)))
    store8(out, 8, widen_high(load16(row, 0)))


def test_widening_keeps_values_and_places():
    row, out = np.random.default_rng(4).normal(size=16).astype(np.float32), np.empty(16)
    _wide(row, out)
    assert out.tolist() == row.tolist()


@kernel
def _half(x, row, n, out):
    """Per lane of a Vec4: row + x where there is a channel, if that is above 0."""
    here = first4(n)
    added = load_some(row, 0, here, 0.0) + widen_as(load_some(x, 0, first16(n), np.float32(0.0)), here)
    above = here & less(0.0, added)
    store_some(out, 0, above, added)
    return bits(above)


@given(st.lists(st.floats(-100, 100, width=32), min_size=8, max_size=8), st.integers(0, 4))
def test_four_lanes_are_as_eight(values, n):
    x, row, out = np.array(values[:4], np.float32), np.array(values[4:]), np.full(5, -1.0)
    above = (np.arange(4) < n) & (row + x > 0)
    assert _half(x[:n].copy(), row[:n].copy(), n, out) == sum(1 << k for k in range(4) if above[k])
    assert out.tolist() == [*np.where(above, row + x, -1.0).tolist(), -1.0]


@pytest.mark.parametrize(("start", "stop"), [(0, 4), (1, 3), (2, 2)])
def test_rows_are_cleared_and_no_more(start, stop):
    rows = np.arange(1, 13, dtype=np.uint8).reshape(4, 3)
    left = rows.copy()
    left[start:stop] = 0
    kernel(lambda array, a, b: clear_rows(array, a, b))(rows, start, stop)  # noqa: PLW0108  (it is inlined into callers)
    assert rows.tolist() == left.tolist()
