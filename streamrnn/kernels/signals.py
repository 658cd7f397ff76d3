"""What one sample does to the signals of its channels: their sizes, their envelopes, and the news that they make.

The rules are in `score`. Nearly every sample of nearly every stream leaves nothing: it lies inside its envelopes. Such
samples take a short way, four or eight channels at a time; whatever is new, missing or outside takes the long one,
channel by channel. Where a channel may take either, both do the same arithmetic in the same order, so their bits agree.
`least` and `most` stand here for min and max, for which a GPU has instructions that tell zeros by their signs.
"""

from __future__ import annotations

import math
from types import MappingProxyType

import numpy as np

from streamrnn._jit import fused

from .across import widen_as
from .memory import load_some, store_some
from .quantum import guess
from .vector import LANES64, bits, first16, least, less, most, select, size_of

__all__ = [
    "AGE",
    "BEST",
    "BEST_BOUND",
    "BEST_CAUSE",
    "BEST_SIDE",
    "BOUND",
    "BY_DAILY",
    "BY_MISSING",
    "CAUSE",
    "CAUSES",
    "CHANNEL",
    "DAY",
    "GAP",
    "HEAD",
    "HOLD",
    "LEVEL_AT",
    "LONGEST",
    "LONGEST_GAP",
    "QUIET",
    "RANGES",
    "RELEASE",
    "SETTINGS",
    "SIDE",
    "SIGNAL",
    "THRESHOLD",
    "UP",
    "VALUE_AT",
    "absent",
    "calm",
    "daily",
    "seen",
]

SETTINGS = MappingProxyType(
    {
        "threshold": 1.0,  # the score that raises the flag
        "release": 0.5,  # the share of the threshold under which a score counts as quiet
        "hold": 20.0,  # quiet samples before the flag clears
        "longest": 120.0,  # samples after which an episode ends in any case
        "warmup": 30.0,  # samples to fill the value's envelope; the level's takes two times that, the residual's three
        "youth": 700.0,  # samples after which margins are twice their final width
        "envelope": 0.02,  # margin of the value, in widths of its envelope
        "level": 0.01,  # margin of the level
        "residual": 0.04,  # margin of the smoothed residual
        "daily": 1.0,  # margin of the level at this time of day
        "level_rate": 0.04,  # weight of a new sample in the level
        "residual_rate": 0.3,  # weight of a new sample in the smoothed residual
        "growth": 3.0,  # the envelope's largest growth by one sample, in widths
        "forget": 1e-6,  # share of its width that an envelope loses a sample
        "missing": 10.0,  # samples a channel must be missing, and twice its longest gap, to be news
    }
)
"""Settings and defaults, in the order in which `params` holds them. Times are in samples of the stream."""

_MAX = 1e6
"""The highest score."""

_LONG = 1e9
"""Samples that no stream will see."""

RANGES = MappingProxyType(
    {
        # At 0 a flag would stand with no cause; above the highest score none would ever be raised.
        "threshold": (1e-6, _MAX),
        "release": (0.0, 1.0),
        "hold": (1.0, _LONG),
        "longest": (1.0, _LONG),
        "warmup": (1.0, _LONG),
        "youth": (0.0, _LONG),
        # A margin of 0 switches its component off, and so does a `missing` of 0.
        "envelope": (0.0, _MAX),
        "level": (0.0, _MAX),
        "residual": (0.0, _MAX),
        "daily": (0.0, _MAX),
        "level_rate": (0.0, 1.0),
        "residual_rate": (0.0, 1.0),
        "growth": (0.0, _MAX),
        "forget": (0.0, 0.1),
        "missing": (0.0, _LONG),
    }
)
"""The least and the most that each setting may be: within these every score is finite and every flag has a cause."""

(
    THRESHOLD,
    RELEASE,
    HOLD,
    LONGEST,
    _WARMUP,
    _YOUTH,
    _ENVELOPE,
    _LEVEL,
    _RESIDUAL,
    _DAILY,
    _LEVEL_RATE,
    _RESIDUAL_RATE,
    _GROWTH,
    _FORGET,
    _MISSING,
) = range(len(SETTINGS))

# A cause is channel * CAUSES + what made the news: a signal, or one of these.
CAUSES = 8
BY_DAILY, BY_MISSING = 3, 4

# A stream's row: its episode, the strongest signal of this sample, CHANNEL rows of one slot a channel, and DAY slots
# more for each channel where the model knows the time of day.
UP, QUIET, AGE, CAUSE, BOUND, SIDE, BEST, BEST_CAUSE, BEST_BOUND, BEST_SIDE = range(10)
HEAD = 16

# A channel's slots, rows of `chan`. STRIDE is its usual step, an average. LEFT is 0, or the sample with which the value
# left home, about the envelope that it had then, at HOME; negative where it left below. BACK counts the samples back.
# Its signals are value, level and residual, each with its envelope behind it.
SEEN, QUANTUM, GUESS, CHANGES, GAP, LONGEST_GAP, STRIDE, LEFT, BACK, HOME, VALUE_AT = (*range(10), 11)
SIGNAL = 3
LEVEL_AT, RESIDUAL_AT, CHANNEL = (VALUE_AT + SIGNAL * k for k in (1, 2, 3))

# A channel's day: the hour of its first sample, the set of hours of the day it was seen in, an envelope for each.
_SINCE, _HOURS, _HOUR_AT, DAY = 0, 1, 2, 50

_ALLOWANCE = 2.0  # steps of a quantum outside the envelope that are never news
_FLOOR = 4.0  # an envelope counts as at least this many quanta wide
_SLOW_FLOOR = 0.8  # the same for an averaged signal, whose steps are parts of a quantum
_SLOW_WIDTH = 0.2  # and while young as this part of the value's envelope: few averages were seen yet
_RESOLUTION = 1e-6  # of float32, relative to the value
_LEAD = 3.0  # an average that made news is on its way further: its envelope grows by this many times the excess
_STEPS = (0.6, 0.0, 1.0)  # usual steps, as far as they move the signal, by which that must be outside to be news
_LEVEL_STEPS = 1.25  # usual steps, as far as they move the level, by which that is outside without being news
_DAILY_WIDTH = 0.3  # an hour's envelope counts as at least this part of the value's
_DAYS = 72.0  # hours before the time of day is judged by
_TINY = 1e-30


@fused
def calm(here, chan, j, x, forecast, signals, params):
    """Take a sample of the channels from j on where it is no news; returns which those are, bit k for channel j + k.

    `here` is the mask of those that there are, up to four or eight; chan float64 (CHANNEL, n) is the row's slots; x and
    forecast float32 (n,), the latter read where there are 3 signals. A channel is taken where all its signals are warm
    and inside their envelopes, it is neither in a gap nor on its way home, and this is neither its first move nor its
    smallest. The others are left as they were. Arithmetic as in `seen`.
    """
    some = first16(min(x.size - j, LANES64))
    value = widen_as(load_some(x, j, some, np.float32(0.0)), here)
    n = load_some(chan[SEEN], j, here, 0.0) + 1.0
    changes = load_some(chan[CHANGES], j, here, 0.0)
    quantum = load_some(chan[QUANTUM], j, here, 0.0)
    step = size_of(value - load_some(chan[VALUE_AT], j, here, 0.0))
    moved = less(0.0, step)
    # From 1 / LEVEL_RATE samples on the level's rate is that and no longer 1 / n.
    fit = here & less(signals * params[_WARMUP], n) & less(1.0, n * params[_LEVEL_RATE])
    fit = fit & ~(moved & (less(changes, 1.0) | less(step, quantum))) & ~less(0.0, load_some(chan[GAP], j, here, 0.0))
    left = size_of(load_some(chan[LEFT], j, here, 0.0))
    if bits(less(0.0, left)) != 0:
        # A channel that left home and is still away needs nothing; see `_comes_home`.
        away = less(value, load_some(chan[HOME], j, here, 0.0)) | less(load_some(chan[HOME + 1], j, here, 0.0), value)
        fit = fit & ~(less(0.0, left) & (~away | less(left + left, n)))
    stride = load_some(chan[STRIDE], j, here, 0.0)
    stride = stride + (step - stride) * params[_LEVEL_RATE]
    level = load_some(chan[LEVEL_AT], j, here, 0.0)
    level = level + (value - level) * params[_LEVEL_RATE]
    error = value - value
    if signals == SIGNAL:
        error = value - widen_as(load_some(forecast, j, some, np.float32(0.0)), here)
    residual = load_some(chan[RESIDUAL_AT], j, here, 0.0)
    residual = residual + (error - residual) * params[_RESIDUAL_RATE]
    low0 = load_some(chan[VALUE_AT + 1], j, here, 0.0)
    high0 = load_some(chan[VALUE_AT + 2], j, here, 0.0)
    low1 = load_some(chan[LEVEL_AT + 1], j, here, 0.0)
    high1 = load_some(chan[LEVEL_AT + 2], j, here, 0.0)
    low2 = load_some(chan[RESIDUAL_AT + 1], j, here, 0.0)
    high2 = load_some(chan[RESIDUAL_AT + 2], j, here, 0.0)
    # The long way lets a step and an error count for at least so much.
    width = high0 - low0
    fit = fit & ~(less(width, step) | less(width * params[_GROWTH] + width, size_of(error)))
    out = less(value, low0) | less(high0, value) | less(level, low1) | less(high1, level)
    fit = fit & ~(out | less(residual, low2) | less(high2, residual))
    store_some(chan[SEEN], j, fit, n)
    store_some(chan[CHANGES], j, fit, select(moved, changes + 1.0, changes))
    store_some(chan[STRIDE], j, fit, stride)
    fade0 = (high0 - low0) * params[_FORGET]
    fade1 = (high1 - low1) * params[_FORGET]
    fade2 = (high2 - low2) * params[_FORGET]
    store_some(chan[VALUE_AT], j, fit, value)
    store_some(chan[VALUE_AT + 1], j, fit, low0 + fade0)
    store_some(chan[VALUE_AT + 2], j, fit, high0 - fade0)
    store_some(chan[LEVEL_AT], j, fit, level)
    store_some(chan[LEVEL_AT + 1], j, fit, low1 + fade1)
    store_some(chan[LEVEL_AT + 2], j, fit, high1 - fade1)
    store_some(chan[RESIDUAL_AT], j, fit, residual)
    store_some(chan[RESIDUAL_AT + 1], j, fit, low2 + fade2)
    store_some(chan[RESIDUAL_AT + 2], j, fit, high2 - fade2)
    return bits(fit)


@fused
def seen(row, chan, j, value, error, signals, params):
    """A sample of channel j and its forecast's error: update its `signals` signals and score those that are warm.

    Signal k gets k times the warm-up to settle, and one more to fill its envelope. A value that makes news outside its
    envelope leaves home.
    """
    if chan[GAP, j] > 0.0:
        chan[LONGEST_GAP, j] = most(chan[GAP, j], chan[LONGEST_GAP, j])
        chan[GAP, j] = 0.0
    n = chan[SEEN, j] + 1.0
    chan[SEEN, j] = n
    step = abs(value - chan[VALUE_AT, j])
    if step > 0.0 and n > 1.0:
        if chan[CHANGES, j] == 0.0:
            chan[GUESS, j] = guess(chan[VALUE_AT, j], value)
            chan[QUANTUM, j] = step
        elif step < chan[QUANTUM, j]:
            chan[QUANTUM, j] = step
        chan[CHANGES, j] += 1.0
    chan[VALUE_AT, j] = value
    warmup = params[_WARMUP]
    quantum = _quantum(chan, j)
    low = chan[VALUE_AT + 1, j]
    high = chan[VALUE_AT + 2, j]
    # Float32 resolves no finer than this; the envelope tells the scale, which a wild sample does not.
    resolution = _RESOLUTION * most(abs(high), abs(low)) + _TINY
    width = most(resolution, most(_FLOOR * quantum, high - low))
    # In the averages a sample counts for no more than its envelope grows to: see `_outside`.
    counts = value
    if n > warmup:
        reach = params[_GROWTH] * width
        counts = least(high + reach, most(low - reach, value))
        reach += high - low
        error = least(reach, most(-reach, error))
    rate = most(1.0 / n, params[_LEVEL_RATE])
    if n > 1.0:
        chan[STRIDE, j] += rate * (least(width, step) - chan[STRIDE, j])
    chan[LEVEL_AT, j] += rate * (counts - chan[LEVEL_AT, j])
    chan[RESIDUAL_AT, j] += params[_RESIDUAL_RATE] * (error - chan[RESIDUAL_AT, j])
    silent = _comes_home(chan, j, n, value, params) and row[UP] == 0.0
    strongest = 0.0
    for k in range(signals):
        at = VALUE_AT + SIGNAL * k
        signal = chan[at, j]
        lo = chan[at + 1, j]
        hi = chan[at + 2, j]
        if n > (k + 1) * warmup:
            fade = params[_FORGET] * (hi - lo)
            chan[at + 1, j] = lo + fade
            chan[at + 2, j] = hi - fade
            if signal > hi or signal < lo:
                strength = _outside(row, chan, j, k, lo, hi, quantum, resolution, silent, params)
                strongest = most(strength, strongest)
        elif n > k * warmup + 1.0:
            chan[at + 1, j] = least(signal, lo)
            chan[at + 2, j] = most(signal, hi)
        else:
            chan[at + 1, j] = signal
            chan[at + 2, j] = signal
    if strongest >= params[THRESHOLD] and chan[LEFT, j] == 0.0 and (value < low or value > high):
        # Half way back counts as home, and on the other side what is never news.
        chan[LEFT, j] = n if value > high else -n
        chan[BACK, j] = 0.0
        chan[HOME, j] = low - most(_ALLOWANCE * quantum, 0.5 * (low - value))
        chan[HOME + 1, j] = high + most(_ALLOWANCE * quantum, 0.5 * (value - high))


@fused
def _comes_home(chan, j, n, value, params):
    """Whether sample n of channel j is back where it was before it left: the end of an episode, and no news.

    It is home again after a hold time there. It has no home to come back to once it was away for as long as it had been
    known before: what lasts that long is as normal as what was.
    """
    if chan[LEFT, j] == 0.0:
        return False
    if n > 2.0 * abs(chan[LEFT, j]) or chan[BACK, j] >= params[HOLD]:
        chan[LEFT, j] = 0.0
        return False
    if value < chan[HOME, j] or value > chan[HOME + 1, j]:
        return False
    chan[BACK, j] += 1.0
    return True


@fused
def _quantum(chan, j):
    """The smallest step of the channel, at most a guess for each change: few may all have been large."""
    return least(chan[GUESS, j] * chan[CHANGES, j], chan[QUANTUM, j])


@fused
def _outside(row, chan, j, k, low, high, quantum, resolution, silent, params):
    """Score signal `k` of channel j, which left its envelope [low, high], and let that grow to hold it.

    `quantum` and `resolution` are the channel's. Returns the strength, which is no news where it is to be `silent`.
    """
    at = VALUE_AT + SIGNAL * k
    signal = chan[at, j]
    part = 1.0 if k == 0 else params[_LEVEL_RATE + k - 1]
    allowance = _ALLOWANCE * quantum
    side = 1.0 if signal > high else -1.0
    # Where it went when it left home it has been since then only.
    known = chan[SEEN, j] - (abs(chan[LEFT, j]) if side * chan[LEFT, j] > 0.0 else 0.0)
    young = params[_YOUTH] / known
    floor = _FLOOR * quantum
    if k == 1:
        allowance = most(_LEVEL_STEPS * chan[STRIDE, j], allowance)
    allowance *= part
    if k > 0:
        spread = chan[VALUE_AT + 2, j] - chan[VALUE_AT + 1, j]
        floor = most(_SLOW_WIDTH * least(young, 1.0) * spread, _SLOW_FLOOR * quantum)
    width = most(resolution, most(floor, high - low))
    e = most(low - signal, signal - high)
    margin = params[_ENVELOPE + k]
    strength = 0.0
    grown = e
    if e > allowance and margin > 0.0:
        news = most(_STEPS[k] * part * chan[STRIDE, j], margin * (1.0 + young * math.sqrt(young)) * width)
        strength = (e - allowance) / news
        if not silent:
            # Half way back to the envelope counts as over.
            _news(row, CAUSES * j + k, strength, signal - side * 0.5 * e, side)
        if k > 0 and strength >= params[THRESHOLD]:
            grown = _LEAD * e
    chan[at + (2 if signal > high else 1), j] += side * least(params[_GROWTH] * width, grown)
    return strength


@fused
def daily(row, day, chan, j, hours, params):
    """Score the level of channel j against what it was at this hour on other days, kept in day float64 (DAY,)."""
    level = chan[LEVEL_AT, j]
    at = _HOUR_AT + 2 * (hours % 24)
    bit = 1 << (hours % 24)
    known = int(day[_HOURS])
    if known == 0:
        day[_SINCE] = hours
    if known & bit == 0:
        day[_HOURS] = known | bit
        day[at] = level
        day[at + 1] = level
    low = day[at]
    high = day[at + 1]
    e = most(low - level, level - high)
    if e > 0.0:
        floor = most(_DAILY_WIDTH * (chan[VALUE_AT + 2, j] - chan[VALUE_AT + 1, j]), _FLOOR * _quantum(chan, j))
        width = most(_RESOLUTION * abs(level) + _TINY, most(floor, high - low))
        side = 1.0 if level > high else -1.0
        grown = e
        if hours - day[_SINCE] >= _DAYS and params[_DAILY] > 0.0:
            strength = e / (params[_DAILY] * width)
            _news(row, CAUSES * j + BY_DAILY, strength, level - side * 0.5 * e, side)
            if strength >= params[THRESHOLD]:
                grown = _LEAD * e
        day[at + (1 if level > high else 0)] += side * least(params[_GROWTH] * width, grown)


@fused
def absent(row, chan, j, params):
    """A sample without channel j: news while its gap is new, silence once it has been an episode."""
    gap = chan[GAP, j] + 1.0
    chan[GAP, j] = gap
    limit = most(2.0 * chan[LONGEST_GAP, j], params[_MISSING])
    if chan[SEEN, j] >= params[_WARMUP] and params[_MISSING] > 0.0 and gap <= limit + params[LONGEST]:
        _news(row, CAUSES * j + BY_MISSING, gap / limit, 0.0, 1.0)


@fused
def _news(row, cause, strength, bound, side):
    """Keep the strongest signal of this sample, of equals the first: so channels may be judged side by side."""
    strength = least(_MAX, strength)
    if strength > row[BEST]:
        row[BEST] = strength
        row[BEST_CAUSE] = cause
        row[BEST_BOUND] = bound
        row[BEST_SIDE] = side
