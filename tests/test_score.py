"""The detector: against its oracle, and what it must and must not raise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged import Judged, calm, noise, score_all
from reference_adaptive import Detector

from streamrnn.kernels.score import HOUR, SETTINGS, init, size

MONDAY = 1_704_067_200 * 10**9


def vitals(n, seed=0):
    """Whole numbers that wander slowly: a heart rate and a saturation."""
    rng = np.random.default_rng(seed)
    walk = np.zeros((n, 2))
    for i in range(1, n):
        walk[i] = 0.95 * walk[i - 1] + rng.normal(size=2) * (0.6, 0.15)
    return np.rint(walk + np.array([75.0, 97.0]))


@pytest.mark.parametrize("with_time", [True, False])
@pytest.mark.parametrize("with_forecast", [True, False])
@pytest.mark.parametrize("kind", ["noise", "whole", "wild", "constant"])
def test_scores_of_the_oracle(kind, with_forecast, with_time):
    rng = np.random.default_rng(len(kind))
    X = noise(1500, 3, seed=1)
    if kind == "whole":
        X = np.rint(3 * X + 60)
    elif kind == "wild":
        X = X * np.exp(3 * rng.normal(size=X.shape)) * (1.0, 1e6, 1e-6)
    elif kind == "constant":
        X = np.repeat(rng.integers(0, 3, (15, 3)), 100, axis=0) * 1.0
    X[rng.random(X.shape) < 0.05] = np.nan
    X[700:760, 1] = np.nan
    Y = 0.5 * np.roll(np.nan_to_num(X), 1, axis=0) if with_forecast else None
    T = MONDAY + np.arange(1500) * (HOUR // 8) if with_time else None
    ours, oracle = Judged(X, Y, T), Detector(3, SETTINGS)
    X = X.astype(np.float32)
    Y = None if Y is None else Y.astype(np.float32)
    expected = [
        oracle.step(x, np.isnan(x), None if Y is None else Y[i], None if T is None else T[i], i and ours.flag[i - 1])
        for i, x in enumerate(X)
    ]
    np.testing.assert_allclose(ours.score, [s for s, _ in expected], rtol=2e-5, atol=1e-6)
    assert (ours.score > 0).any()
    for i in ours.raised:
        assert ours.cause[i] == expected[i][1]


def test_nothing_to_compare_with_scores_0():
    judged = Judged(noise(200))
    assert not judged.score[: int(SETTINGS["warmup"])].any()
    assert judged.raised == []


@pytest.mark.parametrize("seed", range(5))
def test_records_of_noise_become_rare(seed):
    """A stream of noise breaks its records 2 ln n times; few of them may be news, and ever fewer."""
    raised = Judged(noise(40_000, 1, seed)).raised
    assert len(raised) <= 5
    assert sum(i >= 20_000 for i in raised) <= 2
    assert len(Judged(noise(40_000, 1, seed), threshold=4.0).raised) <= 1


def test_young_noise_raises_few_flags():
    """With a forecast, thirty streams of it, a thousand samples each: less than one flag a stream."""
    X = [noise(1000, 1, seed) + 97.0 for seed in range(30)]
    raised = [len(Judged(x, np.full_like(x, 97.0)).raised) for x in X]
    assert np.mean(raised) < 0.8
    assert max(raised) <= 3


@pytest.mark.parametrize("seed", range(5))
def test_a_calm_signal_is_not_news(seed):
    assert Judged(calm(20_000, 3, seed)).raised == []


@pytest.mark.parametrize("seed", range(5))
def test_whole_numbers_that_wander_are_not_news(seed):
    assert len(Judged(vitals(1200, seed)).raised) <= 1


def test_an_integer_step_after_standing_still_is_not_news():
    X = np.full(400, 97.0)
    X[200:] = 98.0
    X[300] = 96.0
    assert Judged(X).raised == []


@pytest.mark.parametrize("still", [97.0, 60_000.0, -3.5, 0.25])
def test_a_collapse_after_standing_still_is_news(still):
    X = np.full(300, still)
    X[250:] = 0.0
    judged = Judged(X)
    assert judged.raised == [250]
    assert judged.why(250) == (0, "envelope")


@pytest.mark.parametrize("seed", range(5))
def test_a_desaturation_is_flagged_within_seconds(seed):
    X = vitals(720, seed)
    X[600:, 1] -= np.minimum(np.arange(120) * 0.5, 14.0)
    judged = Judged(np.rint(X))
    first = judged.raised[-1]
    assert 600 <= first < 625
    assert judged.why(first)[0] == 1


@pytest.mark.parametrize("n", [40, 80, 300])
def test_a_lead_that_reads_zero_is_flagged_at_once(n):
    X = vitals(n + 20)
    X[n:, 0] = 0.0
    judged = Judged(X)
    assert judged.raised == [n]
    assert judged.why(n) == (0, "envelope")


def test_the_threshold_is_a_setting():
    X = calm(2000)
    X[1500] = 8.0
    height = float(Judged(X).score[1500])
    assert Judged(X, threshold=height * 0.99).raised == [1500]
    assert 1500 not in Judged(X, threshold=height * 1.01).raised


def test_a_slow_drift_is_seen_in_the_level():
    X = calm(3000)
    X[2000:, 0] += np.rint(0.02 * np.arange(1000))
    judged = Judged(X, envelope=0.0)
    assert judged.raised
    assert 2000 <= judged.raised[0] < 2400
    assert judged.why(judged.raised[0]) == (0, "level")


def test_what_is_high_at_noon_is_news_at_midnight():
    T = MONDAY + np.arange(8 * 24 * 12) * (HOUR // 12)
    noon = np.abs(T // HOUR % 24 - 12) < 4
    X = calm(len(T))[:, 0] + np.where(noon, 80.0, 40.0)
    first = Judged(X, T=T).raised  # the first noon is news as it comes
    assert len(first) == 1
    assert first[0] < 12 * 12
    start = 6 * 24 * 12
    X[start : start + 24] = 80.0
    judged = Judged(X, T=T)
    assert judged.raised[:1] == first
    (alarm,) = judged.raised[1:]
    assert start < alarm < start + 24
    assert judged.why(alarm) == (0, "daily")
    # Without the time, or in the first days, it is like any noon.
    assert Judged(X).raised == first
    assert Judged(X, T=T - MONDAY).raised == first
    late = slice(start - 2 * 24 * 12, None)
    assert all(i < 12 * 12 for i in Judged(X[late], T=T[late]).raised)


def test_a_wrong_forecast_is_seen_in_the_residual():
    X = np.sin(np.arange(3000) / 20.0)
    Y = X.copy()
    X[2000:2300] *= -1.0
    judged = Judged(X, Y)
    assert judged.raised
    assert 2000 <= judged.raised[0] < 2020
    assert judged.why(judged.raised[0]) == (0, "residual")
    # Without a forecast there is nothing to see.
    assert Judged(X).raised == []


def test_a_channel_that_goes_missing():
    X = calm(1000, 2)
    X[500:700, 1] = np.nan
    judged = Judged(X)
    assert judged.raised == [500 + int(SETTINGS["missing"]) - 1]
    assert judged.why(judged.raised[0]) == (1, "missing")
    # A gap of the same length is not news again.
    X[800:950, 1] = np.nan
    assert len(Judged(X).raised) == 1


def test_a_gap_for_ever_is_one_alarm():
    X = calm(5000, 2)
    X[500:, 1] = np.nan
    judged = Judged(X)
    assert len(judged.raised) == 1
    assert len(judged.cleared) == 1
    assert not judged.score[2000:].any()


def test_short_gaps_and_a_channel_that_never_came():
    X = calm(2000, 2)
    X[::7, 0] = np.nan
    X[:, 1] = np.nan
    judged = Judged(X)
    assert judged.raised == []
    assert not judged.score[1000::7].any()


def test_another_channel_does_not_hide_a_fault():
    X = calm(1000, 3)
    X[600:, 2] += 50.0
    judged = Judged(X)
    assert judged.raised == [600]
    assert judged.why(600) == (2, "envelope")


def test_prices():
    rng = np.random.default_rng(2)
    X = np.rint((60_000 + np.cumsum(rng.normal(size=5000)) * 0.3) * 10) / 10
    assert len(Judged(X).raised) <= 6
    X[4000] *= 1.1
    assert 4000 in Judged(X).raised


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(*[st.one_of(st.floats(width=32, allow_infinity=False), st.sampled_from([0.0, 3e38, -3e38]))] * 2),
        min_size=1,
        max_size=150,
    ),
    st.booleans(),
)
def test_whatever_comes(samples, with_forecast):
    X = np.array(samples, np.float32)
    Y = np.roll(np.nan_to_num(-X), 1, axis=0) if with_forecast else None
    judged = Judged(X, Y, T=MONDAY + np.arange(len(X)) * HOUR)
    assert np.isfinite(judged.score).all()
    assert (judged.score >= 0).all()
    assert np.isfinite(judged.row).all()
    # Edges and flag tell the same story, and raised and cleared take turns.
    flag = judged.flag.astype(int)
    np.testing.assert_array_equal(np.diff(np.concatenate([[0], flag])), judged.edge)
    np.testing.assert_array_equal(judged.cause >= 0, flag == 1)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 299))
def test_the_future_changes_nothing(seed, cut):
    X = calm(300, 2, seed) * np.random.default_rng(seed).choice([1.0, 30.0], (300, 1), p=[0.97, 0.03])
    whole, part = Judged(X), Judged(X[: cut + 1])
    for name in ("score", "flag", "edge", "cause"):
        np.testing.assert_array_equal(getattr(whole, name)[: cut + 1], getattr(part, name))


@pytest.mark.parametrize("daily", [True, False])
@pytest.mark.parametrize("channels", [1, 2, 7])
def test_the_row_is_as_long_as_it_says(channels, daily):
    n = size(channels, daily)
    guard = np.full(n + 8, 7.0)
    init(guard[:n])
    X = noise(300, channels).astype(np.float32)
    missing = np.zeros(X.shape, np.uint8)
    missing[100:150, -1] = 1
    T = MONDAY + np.arange(300) * HOUR
    out = np.zeros(300, np.float32), np.zeros(300, np.uint8), np.zeros(300, np.int8), np.zeros(300, np.int32)
    score_all(False, X, missing, X, 0, T, guard[:n], np.array(list(SETTINGS.values())), *out)
    assert (guard[n:] == 7.0).all()
    assert not daily or guard[n - 1] != 0.0


@pytest.mark.parametrize("channels", [1, 4, 7, 8, 9, 17])
@pytest.mark.parametrize("forecasts", [False, True])
def test_the_short_way_has_the_bits_of_the_long_one(channels, forecasts):
    """Quiet stretches with gaps, outliers and channels that stand still, so that both ways are taken side by side."""
    rng = np.random.default_rng(channels)
    X = rng.normal(size=(1500, channels)).cumsum(axis=0) * 0.03 + rng.normal(size=(1500, channels))
    X[:, ::3] = np.round(X[:, ::3])
    X[:700, ::5] = 4.0
    X[rng.random(X.shape) < 0.002] = 50.0
    X[900:1100, 1::3] += 40.0  # leaves home and comes back while no flag stands
    X[rng.random(X.shape) < 0.01 / channels] = np.nan
    Y = rng.normal(size=X.shape) * 0.1 + np.nan_to_num(X) if forecasts else None
    short, long = Judged(X, Y), Judged(X, Y, long_way=True)
    for name in ("row", "score", "flag", "edge", "cause"):
        assert getattr(short, name).tobytes() == getattr(long, name).tobytes(), name
    assert short.flag.any() and (short.score == 0).any()
