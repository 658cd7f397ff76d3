"""The simulated ward and market: the same for the same seed, plausible, and broken where they say."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from streamrnn.simulate import Fault, Feed, market, ward
from streamrnn.simulate.processes import average, lag, ornstein_uhlenbeck, ramp


def channel(feed: Feed, stream: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The times (s from the feed's first sample) and values of one channel of one stream."""
    mine = feed.stream == feed.streams.index(stream)
    return (feed.t[mine] - feed.t[0]) / 1e9, feed.x[mine, feed.channels.index(name)]


def window(feed: Feed, fault: Fault) -> tuple[float, float]:
    return (fault.start_ns - feed.t[0]) / 1e9, (fault.end_ns - feed.t[0]) / 1e9


@pytest.fixture(scope="module")
def shift() -> Feed:
    """An hour and a half of a ward: enough for every kind of fault, several times."""
    return ward(beds=12, seconds=5400, seed=3)


@pytest.mark.parametrize("make", [ward, market])
def test_the_seed_says_everything(make):
    first, again, other = (
        make(4, seconds=900, seed=5),
        make(4, seconds=900, seed=5),
        make(4, seconds=900, seed=6),
    )
    np.testing.assert_array_equal(first.x, again.x)
    np.testing.assert_array_equal(first.t, again.t)
    assert first.faults == again.faults
    assert not np.array_equal(first.x, other.x, equal_nan=True)


@pytest.mark.parametrize("make", [ward, market])
def test_time_never_goes_back_and_rows_say_the_same_as_the_arrays(make):
    feed = make(3, seconds=400, seed=0)
    assert (np.diff(feed.t) >= 0).all()
    rows = list(feed.rows())
    assert len(rows) == len(feed) == feed.x.shape[0]
    t, stream, x = rows[17]
    assert t == feed.t[17]
    assert stream == feed.streams[feed.stream[17]]
    np.testing.assert_array_equal(np.float32(x), feed.x[17])


def test_a_ward_is_a_sample_a_second_for_every_bed():
    feed = ward(beds=5, seconds=120, seed=0)
    for bed in feed.streams:
        seconds, _ = channel(feed, bed, "hr")
        assert len(seconds) == 120
        np.testing.assert_allclose(np.diff(seconds), 1.0, atol=1e-6)


def test_readings_are_whole_numbers_in_the_ranges_of_resting_adults():
    feed = ward(beds=12, seconds=600, seed=0, calm=1e9)
    assert feed.faults == ()
    shown = feed.x[~np.isnan(feed.x)]
    np.testing.assert_array_equal(shown, np.rint(shown))
    for name, low, high in (("hr", 45, 120), ("spo2", 92, 100), ("resp", 6, 28), ("abp", 50, 120)):
        values = feed.x[:, feed.channels.index(name)]
        assert low <= np.nanmin(values) <= np.nanmax(values) <= high, name
    assert 0 < np.isnan(feed.x).mean() < 0.003


def test_heart_rate_falls_when_pressure_rises():
    """The baroreflex, over many quiet patients: slow changes of the two go against each other."""
    feed = ward(beds=40, seconds=1200, seed=1, calm=1e9)
    together = []
    for bed in feed.streams:
        hr, abp = (np.nan_to_num(channel(feed, bed, name)[1], nan=80.0) for name in ("hr", "abp"))
        together.append(np.corrcoef(hr, abp)[0, 1])
    assert np.mean(together) < -0.2


def test_faults_are_where_the_ward_says(shift):
    kinds = {fault.kind for fault in shift.faults}
    assert kinds == {"desaturation", "tachycardia", "lead-off", "drift"}
    for fault in shift.faults:
        start, end = window(shift, fault)
        assert 300.0 <= start < end <= 5340.0
        seconds, values = channel(shift, fault.stream, fault.channels[0])
        before = np.nanmedian(values[(seconds > start - 60.0) & (seconds < start)])
        during = values[(seconds >= start) & (seconds < end)]
        late = during[len(during) // 2 :]
        if fault.kind == "desaturation":
            assert np.nanmedian(late) < before - 5.0
        elif fault.kind == "tachycardia":
            assert np.nanmedian(late) > before + 30.0
        elif fault.kind == "drift":
            assert abs(np.nanmedian(during[-20:]) - before) > 8.0
        elif fault.channels == ("abp",):
            assert np.nanmax(during) < 5.0
        else:
            assert np.isnan(late).all()
            assert np.isnan(channel(shift, fault.stream, "resp")[1][(seconds > end - 5) & (seconds < end)]).all()


def test_faults_of_one_bed_keep_apart(shift):
    for bed in shift.streams:
        mine = sorted(window(shift, fault) for fault in shift.faults if fault.stream == bed)
        for (_, end), (start, _) in itertools.pairwise(mine):
            assert end + 180.0 < start


def test_a_feed_too_short_for_a_fault_has_none():
    assert ward(beds=4, seconds=350, seed=0).faults == ()


def test_a_market_keeps_bid_below_ask_and_to_the_tick():
    feed = market(symbols=3, seconds=1200, seed=2)
    bid, ask = feed.x[:, 0].astype(np.float64), feed.x[:, 1].astype(np.float64)
    assert (ask > bid).all()
    np.testing.assert_allclose(bid * 100, np.rint(bid * 100), atol=0.01)
    assert (feed.x[:, 2:] >= 1).all()
    assert {fault.kind for fault in market(symbols=8, seconds=1800, seed=0).faults} == {
        "crash",
        "wide-spread",
        "bad-print",
        "thin-book",
    }


def test_an_ornstein_uhlenbeck_process_has_the_spread_and_memory_it_was_asked_for():
    x = ornstein_uhlenbeck(np.random.default_rng(0), 200_000, 1.0, 20.0, 3.0)
    assert abs(x.mean()) < 0.3
    assert x.std() == pytest.approx(3.0, rel=0.05)
    assert np.corrcoef(x[:-20], x[20:])[0, 1] == pytest.approx(math.exp(-1.0), abs=0.05)


def test_filters():
    step = np.concatenate([np.zeros(5), np.ones(40)])
    assert lag(step, 1.0, 10.0)[4] == 0.0
    assert lag(step, 1.0, 10.0)[14] == pytest.approx(1.0 - math.exp(-1.0))
    np.testing.assert_allclose(average(np.arange(6.0), 3), [0.0, 0.5, 1.0, 2.0, 3.0, 4.0])
    shape = ramp(np.arange(100.0), 10.0, 60.0, 5.0, 10.0)
    assert shape[:11].max() == 0.0
    assert shape[60] == pytest.approx(1.0, abs=1e-4)
    assert shape[70] == pytest.approx(math.exp(-1.0), abs=1e-3)
