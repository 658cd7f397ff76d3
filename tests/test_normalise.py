"""The causal normaliser against its oracle, and with what a stream should never send."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference_adaptive import normalise

from streamrnn._jit import kernel
from streamrnn.kernels.clock import DAY, REAL_TIME, day_phase
from streamrnn.kernels.normalise import CLIP, HORIZON, REACH, SETTLED, STATS, denormalise, init, observe

FLOAT32_MAX = float(np.finfo(np.float32).max)


@kernel
def _observe_all(X, missing, stats, U):
    for i in range(X.shape[0]):
        observe(X[i], missing[i], stats, U[i])


def run(X, missing=None):
    X = np.ascontiguousarray(X, np.float32)
    missing = np.zeros(X.shape, np.uint8) if missing is None else np.ascontiguousarray(missing, np.uint8)
    stats, U = np.ones((X.shape[1], STATS)), np.empty_like(X)
    init(stats)
    _observe_all(X, missing, stats, U)
    return stats, U


def back(un, stats):
    y = np.empty(len(un), np.float32)
    denormalise(np.asarray(un, np.float32), stats, y)
    return y


def test_against_the_oracle():
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(6000, 3)) * (1.0, 2.0, 500.0) + (0.0, 97.0, 60_000.0)).astype(np.float32)
    X[3000:, 0] += 40.0
    X[::500, 1] = 1e6
    missing = rng.random(X.shape) < 0.1
    stats, U = run(X, missing)
    mean, deviation, u = normalise(X, missing, HORIZON, CLIP, REACH, SETTLED)
    np.testing.assert_allclose(U, u, atol=1e-5)
    np.testing.assert_allclose(stats[:, 1], mean[-1], rtol=1e-9)
    np.testing.assert_allclose(np.sqrt(stats[:, 2]), deviation[-1], rtol=1e-9)


def test_a_steady_signal_has_mean_0_and_deviation_1():
    _, U = run(np.random.default_rng(1).normal(37.0, 0.2, (20_000, 1)))
    assert abs(U[2000:].mean()) < 0.1
    assert U[2000:].std() == pytest.approx(1.0, abs=0.05)


def test_the_way_back():
    stats, _ = run(np.random.default_rng(2).normal(60_000.0, 3.0, (500, 1)))
    assert back([0.0], stats)[0] == pytest.approx(60_000.0, abs=1.0)
    assert back([1.0], stats)[0] - back([0.0], stats)[0] == pytest.approx(3.0, abs=0.4)


@pytest.mark.parametrize("last", [-1e6, -3.0, 0.0, 3.0, 1e6])
def test_the_same_again_means_the_last_value_even_where_it_was_clipped(last):
    stats, U = run(np.append(np.random.default_rng(4).normal(size=500), last)[:, None])
    assert back(U[-1], stats)[0] == pytest.approx(last, rel=1e-6, abs=1e-6)


def test_a_missing_channel_changes_nothing():
    stats, _ = run([[1.0, 5.0], [2.0, 6.0], [3.0, 9.0]])
    before = stats.copy()
    u = np.empty(2, np.float32)
    observe(np.array([100.0, 8.0], np.float32), np.array([1, 0], np.uint8), stats, u)
    np.testing.assert_array_equal(stats[0, :3], before[0, :3])
    assert stats[1, 0] == before[1, 0] + 1
    assert u[0] == CLIP


def test_a_channel_that_was_never_seen_is_0_both_ways():
    stats, U = run([[7.0]], [[1]])
    assert U[0, 0] == 0.0
    assert back([3.0], stats)[0] == pytest.approx(0.0, abs=1e-20)


def test_constant_input_then_a_step():
    X = np.concatenate([np.full(5000, 97.0), np.full(5000, 1e6), np.full(20_000, 97.0)])[:, None]
    stats, U = run(X)
    assert not U[:5000].any()
    assert abs(U[9_999, 0]) < 1.0  # the new level has become normal
    assert stats[0, 1] == pytest.approx(97.0, abs=1e6 * np.exp(-9.5))


def test_one_wild_sample_does_not_blind_it():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(4000, 1))
    X[2000] = 1e6
    stats, _ = run(X)
    assert np.sqrt(stats[0, 2]) < 2.0


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=60))
def test_always_finite_and_clipped(values):
    stats, U = run(np.array(values, np.float32)[:, None])
    assert np.isfinite(stats).all()
    assert (np.abs(U) <= CLIP).all()
    for un in (-CLIP, 0.0, CLIP, FLOAT32_MAX, -FLOAT32_MAX):
        assert np.isfinite(back([un], stats)).all()


@given(st.integers(REAL_TIME, 2**62))
def test_time_of_day(t):
    out = np.empty(2, np.float32)
    day_phase(t, out)
    angle = 2 * np.pi * (t % DAY) / DAY
    np.testing.assert_allclose(out, [np.sin(angle), np.cos(angle)], atol=2e-7)


@pytest.mark.parametrize("t", [-(2**63), -1, 0, 1_000_000, REAL_TIME - 1])
def test_a_time_that_is_none(t):
    out = np.ones(2, np.float32)
    day_phase(t, out)
    assert not out.any()
