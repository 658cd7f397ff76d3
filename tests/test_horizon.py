"""Forecasts of later samples, and how sure they are."""

from __future__ import annotations

import numpy as np
import pytest
from judged import Judged
from networks import forecaster, samples
from reference import Network, spread_of, squareplus

from streamrnn import Engine
from streamrnn._jit import kernel
from streamrnn.kernels.numerics import LIMIT
from streamrnn.kernels.spread import squareplus as squareplus32

N = 3
TOLERANCE = 3e-5


@kernel
def _map(x, y):
    for i in range(x.size):
        y[i] = squareplus32(x[i])


def test_squareplus_is_positive_and_within_its_bound():
    x = np.concatenate([s * np.geomspace(1e-30, 1e12, 20_001) for s in (1.0, -1.0)] + [np.linspace(-9, 9, 9001)])
    x = np.concatenate([x, [0.0, -0.0, LIMIT, -LIMIT]]).astype(np.float32)
    y = np.empty_like(x)
    _map(x, y)
    truth = squareplus(x.astype(np.float64))
    assert (y > 0).all()
    assert (np.abs(y - truth) / truth).max() < 3e-7


def oracle_of(model):
    """A function from a sample in its units to all outputs in theirs, in float64."""
    network = Network(model.describe()["layers"], model.arrays)
    mean, scale = (model.arrays.get(f"normaliser.{k}", d) for k, d in (("mean", 0.0), ("scale", 1.0)))
    mean, scale = np.float64(mean), np.float64(scale)

    def step(x):
        raw = network.step((x - mean) / scale)
        return raw * scale + mean if len(raw) == len(x) else spread_of(raw, len(x), mean, scale)

    return step


@pytest.mark.parametrize("normaliser", ["fixed", "none"])
@pytest.mark.parametrize("spread", ["none", "gaussian", "quantile"])
@pytest.mark.parametrize("horizon", [1, 2, 13])
def test_outputs_are_those_of_the_oracle_with_missing_channels_filled_by_the_forecast_made_for_them(
    spread, horizon, normaliser
):
    model = forecaster(spread, N, horizon, normaliser, seed=4)
    x = samples(400, N, seed=5)
    x[np.random.default_rng(1).random(x.shape) < 0.2] = np.nan
    oracle = oracle_of(model)
    mean = model.arrays.get("normaliser.mean", np.zeros(N))
    held, seen, made, truth = np.array(mean, np.float64), np.zeros(N, bool), [], []
    for i, row in enumerate(x):
        forecast = made[i - horizon] if i >= horizon else held
        filled = np.where(np.isnan(row), np.where(seen, forecast, held), row)
        held, seen = np.where(np.isnan(row), held, row), seen | ~np.isnan(row)
        truth.append(oracle(filled))
        made.append(truth[-1][:N])
    y = Engine(model, capacity=1).step_many(["s"] * len(x), x).y
    truth = np.array(truth)
    assert (np.abs(y - truth) / np.maximum(1, np.abs(truth))).max() <= TOLERANCE
    if spread == "gaussian":
        assert (y[:, N:] > 0).all()
    elif spread == "quantile":
        assert (y[:, N : 2 * N] <= y[:, :N]).all()
        assert (y[:, :N] <= y[:, 2 * N :]).all()


@pytest.mark.parametrize("spread", ["none", "quantile"])
@pytest.mark.parametrize("horizon", [1, 5])
def test_the_detector_holds_a_sample_against_the_forecast_made_for_it(spread, horizon):
    model = forecaster(spread, N, horizon, seed=6)
    x = samples(700, N, seed=7)
    x[500:520, 1] += 9.0
    out = Engine(model, capacity=1).step_many(["s"] * len(x), x)
    # The detector by itself, given those forecasts, and none for the first samples.
    forecasts = np.concatenate([np.zeros((horizon, N), np.float32), out.y[:-horizon, :N]])
    judged = Judged(x, forecasts, without=horizon)
    np.testing.assert_array_equal(out.score, judged.score)
    np.testing.assert_array_equal(out.flag, judged.flag.astype(bool))
    assert out.flag.any()
    # It would have said something else of any other forecast.
    other = np.concatenate([np.zeros((horizon + 1, N), np.float32), out.y[: -horizon - 1, :N]])
    assert (Judged(x, other, without=horizon).score != out.score).any()


@pytest.mark.parametrize("cut", [0, 1, 4, 5, 6, 23])
def test_a_state_saved_within_a_horizon_resumes_with_the_same_bits(cut):
    model = forecaster("gaussian", N, 5, seed=6)
    x = samples(60, N, seed=7)
    x[::3, 0] = np.nan
    truth = Engine(model, capacity=1).step_many(["s"] * 60, x)
    first, second = Engine(model, capacity=1), Engine(model, capacity=3)
    if cut:
        first.step_many(["s"] * cut, x[:cut])
        second.step_many(["other"] * 7, x[:7])
        assert first.state("s").arrays["y_prev"].shape == (5, N)
        second.load_state("s", first.state("s"))
    out = second.step_many(["s"] * (60 - cut), x[cut:])
    np.testing.assert_array_equal(out.y, truth.y[cut:])
    np.testing.assert_array_equal(out.score, truth.score[cut:])


def test_reset_and_eviction_forget_the_forecasts_that_wait():
    model = forecaster("none", N, 5, seed=6)
    x = samples(20, N, seed=7)
    x[1, 0] = np.nan
    truth = Engine(model, capacity=1).step_many(["s"] * 20, x)
    engine = Engine(model, capacity=1)
    for begin in ("reset", "sample", "evict", "another"):
        engine.step_many(["s"] * 8, 9 * x[:8][::-1])
        if begin == "reset":
            engine.reset("s")
        elif begin == "evict":
            engine.evict("s")
        elif begin == "another":
            engine.step("t", x[0])
        out = engine.step_many(["s"] * 20, x, reset=[begin == "sample"] + [False] * 19)
        np.testing.assert_array_equal(out.y, truth.y)
        np.testing.assert_array_equal(out.score, truth.score)


def test_the_largest_weights_give_finite_outputs():
    model = forecaster("quantile", N, 2, seed=1)
    arrays = {k: np.full_like(a, 1e12) for k, a in model.arrays.items()}
    worst = type(model)(model.spec, arrays)
    for sign in (1.0, -1.0):
        x = np.full((6, N), sign * 3e38, np.float32)
        out = Engine(worst, capacity=1).step_many(["s"] * 6, x)
        assert np.isfinite(out.y).all()
        assert np.isfinite(out.score).all()
