"""The detector on a channel that stood still: which first step is news, and which is how such a channel moves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from judged import Judged
from reference_adaptive import guess as oracle

from streamrnn.kernels.quantum import guess

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def steps(*parts):
    """Each part is (value, samples)."""
    return np.concatenate([np.full(n, value) for value, n in parts])


@pytest.mark.parametrize("n", [40, 99, 300, 5000])
@pytest.mark.parametrize(
    ("still", "then"),
    [
        (98, 80), (98, 60), (72, 40), (72, 130), (100, 0), (36.6, 39.9), (7.35, 6.9),
        (60_000, 66_000), (60_000, 54_000), (1e-3, 1.1e-3), (1e-3, 0.9e-3), (1.23e-3, 1.35e-3), (0.001, 0.002),
        (6e9, 6.6e9), (3e30, 3.3e30), (1e-12, 1.1e-12), (0, 57), (0, 0.371), (0, 4096), (-40, 25),
    ],
)  # fmt: skip
def test_a_large_step_is_news_at_once(still, then, n):
    judged = Judged(steps((still, n), (then, 30)))
    assert judged.raised == [n]
    assert judged.why(n) == (0, "envelope")


@pytest.mark.parametrize("n", [40, 99, 300, 5000])
@pytest.mark.parametrize(
    ("still", "then"),
    [
        (98, 97), (98, 99), (98, 96), (100, 98), (10, 11), (5, 4), (36.6, 36.7), (36.6, 36.4), (7.35, 7.36),
        (60_000, 60_000.1), (60_000, 60_010), (1.0852, 1.0853), (1.23e-3, 1.24e-3), (5.0, 5.000001),
        (0, 1), (1, 0), (0, 2), (-1, 1), (0, 0.1), (0, 0.01), (0, 1e-7),
    ],
)  # fmt: skip
def test_a_small_step_is_not_news(still, then, n):
    assert Judged(steps((still, n), (then, 200), (still, 200))).raised == []


def test_both_channels_of_a_bed_and_the_one_that_fell_is_named():
    X = np.column_stack([np.full(130, 72.0), steps((98, 99), (80, 31))])
    judged = Judged(X)
    assert judged.raised == [99]
    assert judged.why(99) == (1, "envelope")


@pytest.mark.parametrize("moves", [[97], [97, 98], [99, 98, 97], [96, 98]])
def test_a_channel_that_moved_a_few_times(moves):
    X = steps((98, 100), *((v, 60) for v in moves), (80, 30))
    assert Judged(X).raised == [len(X) - 30]


def test_repeated_faults_do_not_become_the_unit_of_measure():
    """Steps of 18 are all that was ever seen, and yet 30 points lower is news."""
    X = steps((98, 300), (80, 200), (98, 200), (80, 200), (50, 30))
    raised = Judged(X).raised
    assert raised[0] == 300
    assert raised[-1] == len(X) - 30


def test_a_coarse_quantum_is_learned_in_time():
    """A channel in steps of 20: after as many changes as that, the next step up is no news."""
    X = np.repeat(np.random.default_rng(0).choice([100.0, 120.0], 200), 5)
    assert Judged(np.concatenate([X, steps((140, 30))])).raised == []
    assert Judged(steps((100, 400), (120, 30))).raised == [400]


def test_a_switch_is_not_news_however_often():
    rng = np.random.default_rng(1)
    X = np.repeat(rng.integers(0, 2, 40), rng.integers(50, 300, 40)).astype(float)
    X[:100] = 0.0
    assert Judged(X).raised == []


@settings(max_examples=100)
@given(st.integers(50, 300), st.integers(-2, 2), st.sampled_from([1.0, 10.0]), st.integers(35, 400))
@example(98, -1, 1.0, 99)
def test_two_of_the_last_digit_are_never_news(level, step, per, n):
    assert Judged(steps((level / per, n), ((level + step) / per, 40))).raised == []


@settings(max_examples=100)
@given(
    st.floats(-8, 8),
    st.floats(1.25, 4.0),
    st.booleans(),
    st.integers(35, 400),
    st.sampled_from([1.0, -1.0]),
)
def test_a_step_by_a_quarter_is_news_at_any_scale(magnitude, ratio, down, n, sign):
    """Whatever its sign and direction, of a value that is more than a few decimal steps."""
    still = sign * np.float32(10.0**magnitude * 1.2345678)
    then = still / np.float32(ratio) if down else still * np.float32(ratio)
    assume(oracle(float(still), float(then)) < 0.006 * max(abs(still), abs(then)))
    assert Judged(steps((still, n), (then, 30))).raised == [n]


@settings(max_examples=300)
@given(
    st.one_of(FINITE, st.integers(-500, 500).map(lambda k: k / 10)),
    st.one_of(FINITE, st.integers(-500, 500).map(lambda k: k / 100)),
)
@example(98.0, 80.0)
@example(36.6, 36.7)
@example(0.0, 1e-7)
@example(3.4e38, -3.4e38)
def test_guess(before, value):
    before, value = float(np.float32(before)), float(np.float32(value))
    assume(before != value)
    found = guess(before, value)
    assert found == pytest.approx(oracle(before, value), rel=1e-12, abs=0.0)
    assert 0.0 < found < math.inf


@pytest.mark.parametrize(
    ("before", "value", "expected"),
    [
        (98, 80, 1.0), (100, 90, 1.0), (36.6, 37.1, 0.183), (3.6, 3.7, 0.1), (1.23, 1.5, 0.01),
        (0, 0.5, 0.1), (0, 1e-5, 0.01), (60_000, 66_000, 300.0), (0.001, 0.0011, 5e-6),
    ],
)  # fmt: skip
def test_guesses(before, value, expected):
    assert guess(float(np.float32(before)), float(np.float32(value))) == pytest.approx(expected, rel=1e-6)
