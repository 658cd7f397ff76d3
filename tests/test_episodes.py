"""What is one alarm and what is the next: episodes, their ends, wild samples and lasting changes."""

from __future__ import annotations

import numpy as np
import pytest
from judged import Judged, calm, noise

from streamrnn.kernels.score import SETTINGS


def test_one_episode_is_one_alarm():
    X = calm(2000)
    X[1500:1540] += 40.0
    judged = Judged(X)
    assert judged.raised == [1500]
    assert judged.why(1500) == (0, "envelope")
    # It lasts as long as the value is out, and then for the hold time.
    (end,) = judged.cleared
    assert end >= 1540 + SETTINGS["hold"] - 1
    assert judged.flag[1500:end].all()
    assert (judged.cause[1500:end] == judged.cause[1500]).all()
    assert not judged.flag[end:].any()
    assert (judged.cause[judged.flag == 0] == -1).all()


def test_a_lasting_change_ends_as_the_new_normal():
    X = calm(3000)
    X[1500:] += 30.0
    judged = Judged(X)
    assert judged.raised == [1500]
    assert judged.cleared == [1500 + int(SETTINGS["longest"])]


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("length", [10, 60, 119, 121, 200, 400, 1000])
def test_one_episode_is_one_alarm_however_long_it_lasts(length, noisy):
    """Nor is its end an alarm, though a model that learned the new level is as wrong there as at the start."""
    X = noise(5000, 1, 3) if noisy else calm(5000)
    X[2000 : 2000 + length] -= 17.0
    # The forecast is the level of the samples before.
    Y = np.convolve(X[:, 0], np.ones(20) / 20)[: len(X)]
    judged = Judged(X, np.roll(Y, 1), level=0.0)
    assert [i for i in judged.raised if i >= 1000] == [2000]
    assert judged.why(2000) == (0, "envelope")


def test_what_comes_home_may_go_on_to_the_other_side():
    X = calm(5000)
    X[2000:2400] -= 17.0
    X[2400:2410] += 17.0
    assert Judged(X).raised == [2000, 2400]


def test_a_fault_after_the_return_is_an_alarm():
    X = calm(5000)
    X[2000:2400] -= 17.0
    X[2440:2450] -= 80.0
    assert Judged(X).raised == [2000, 2440]


def test_another_channel_may_raise_a_flag_while_one_is_on_its_way_home():
    X = calm(5000, 2)
    X[2000:2400, 0] -= 17.0
    X[2401:2410, 1] -= 17.0
    judged = Judged(X)
    assert judged.raised == [2000, 2401]
    assert judged.why(2401) == (1, "envelope")


def test_a_fall_within_a_fault_is_an_alarm():
    X = calm(5000)
    X[2000:2400] -= 17.0
    X[2200:2400] -= 17.0
    assert Judged(X).raised == [2000, 2200]


def test_what_lasted_longer_than_all_before_is_home():
    """From then on, going back is as much of an event as going was."""
    X = noise(5000)
    X[1000:2900] -= 17.0
    Y = np.convolve(X[:, 0], np.ones(20) / 20)[: len(X)]
    assert [i for i in Judged(X, np.roll(Y, 1)).raised if i >= 1000] == [1000, 2900]


@pytest.mark.parametrize(("apart", "alarms"), [(10, 1), (60, 2)])
def test_refractory_time(apart, alarms):
    X = calm(3000)
    X[1500] = 30.0
    X[1500 + apart] = 300.0
    assert len(Judged(X).raised) == alarms


@pytest.mark.parametrize(("height", "kept"), [(-12.0, False), (-80.0, True)])
def test_hysteresis(height, kept):
    X = calm(1000)
    X[900] = 30.0
    top = float(Judged(X).score[900])
    settings = {"threshold": 0.99 * top, "release": 0.5, "hold": 5.0, "longest": 500.0}
    judged = Judged(X, **settings)
    assert judged.raised == [900]
    (end,) = judged.cleared
    # What alone would raise no flag (on the other side) keeps one up, if it scores more than release of the threshold.
    X[end - 1] = height
    again = Judged(X, **settings)
    assert again.raised == [900]
    assert (again.score[end - 1] > 0.5 * 0.99 * top) == kept
    assert (again.cleared[0] > end) == kept


WILD = [1e3, 1e6, 1e8, 1e9, 1e12, 1e20, 3e38]


@pytest.mark.parametrize("wild", WILD)
def test_one_wild_sample_does_not_blind_it(wild):
    X = calm(4000)
    X[1000] = wild
    X[3000] = 100.0
    assert Judged(X).raised == [1000, 3000]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("wild", WILD)
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_one_wild_sample_does_not_deafen_noise(wild, side, seed):
    """Nor its level and residual: afterwards their envelopes are as wide as the noise is, not as the sample was."""
    X = noise(5000, 1, seed)
    X[1000] = side * wild
    X[4000:4060] -= side * 17.0
    Y = np.zeros_like(X)
    Y[1001] = X[1000]  # a model that forecasts "the same again"
    judged = Judged(X, Y)
    assert 1000 in judged.raised
    assert 4000 in judged.raised
    envelopes = judged.row[-9:].reshape(3, 3)[:, 1:]
    assert np.abs(envelopes).max() < 200.0


@pytest.mark.parametrize("wild", WILD)
@pytest.mark.parametrize("still", [97.0, 0.0, 0.001, -60_000.0])
def test_one_wild_sample_does_not_deafen_what_stood_still(still, wild):
    X = np.full(2000, still)
    X[500] = wild
    X[1500:] = still - 100.0 - abs(still) / 3
    assert Judged(X).raised == [500, 1500]


@pytest.mark.parametrize("scale", [1e3, 1e9, 1e30])
def test_a_lasting_change_of_any_size_is_followed(scale):
    """Within a hundred samples the new level is in the envelope, however far it was."""
    X = calm(4000)
    X[1000:] += scale
    judged = Judged(X)
    assert judged.raised == [1000]
    assert judged.score[1100:].max() < 0.5
    level = judged.row[-6:][0]
    assert level == pytest.approx(scale, rel=1e-3)
