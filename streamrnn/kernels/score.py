"""The detector: is this sample unlike what its stream has shown so far, and is that news?

Each channel has three signals: its value, its slow level (an exponential average) and its smoothed forecast residual.
Each signal has an envelope [lo, hi] of what was seen so far. A signal outside scores

    max(e - allowance, 0) / (margin * (1 + (youth / n)^1.5) * max(hi - lo, floor))

with e the distance to the envelope. Records are common early in a stream's life, so the margin shrinks as n grows. The
allowance and the floor come from the channel's quantum, the smallest step it was ever seen to take: an integer step of
a whole-numbered signal is not news, however long it stood still. What never moved has shown no step, and its first one
may be the fault itself; so the quantum is at most a guess from the values' digits for each change seen (quantum.py): 98
to 97 is one step, 98 to 80 is eighteen, and 0 to 1, as of a switch, is one. The envelope then grows to hold the sample,
but at most by a multiple of its width, and it forgets slowly: one wild sample cannot make a detector blind for life.

Where samples carry real time and the model looks at the clock, the level is also held against an envelope of what it
was at the same hour on other days, from the fourth day on: high noon at midnight is news, though noon was as high.
The last component counts how long a channel has been missing, against its longest gap so far. The score is the largest
of all channels and components. The flag rises when the score reaches the threshold. It stays while the signal that
raised it is outside the envelope of that moment, and then until the score was low for a hold time; nothing raises it
a second time meanwhile, so that one episode is one alarm. An episode ends at the latest after a set time, because a
lasting change is the new normal.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from streamrnn._jit import kernel
from streamrnn.kernels.clock import REAL_TIME
from streamrnn.kernels.quantum import guess

__all__ = ["COMPONENTS", "SETTINGS", "init", "score", "size"]

COMPONENTS = ("envelope", "level", "residual", "daily", "missing")
"""What can raise a flag; a cause is channel * 8 + index here."""

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

(
    _THRESHOLD,
    _RELEASE,
    _HOLD,
    _LONGEST,
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

_BY_DAILY, _BY_MISSING = 3, 4

# A stream's row: its episode, the strongest signal of this sample, _CHANNEL slots for each channel, and _DAY more for
# each where the model knows the time of day.
_UP, _QUIET, _AGE, _CAUSE, _BOUND, _SIDE, _BEST, _BEST_CAUSE, _BEST_BOUND, _BEST_SIDE, _HEAD = range(11)

# A channel's slots. Its signals are value, level and residual, each with its present size and its envelope's edges.
_SEEN, _QUANTUM, _GUESS, _CHANGES, _GAP, _LONGEST_GAP, _VALUE_AT = range(7)
_SIGNAL = 3
_LEVEL_AT, _RESIDUAL_AT, _CHANNEL = (_VALUE_AT + _SIGNAL * k for k in (1, 2, 3))

# A channel's day: the hour of its first sample, the set of hours of the day it was seen in, an envelope for each.
_SINCE, _HOURS, _HOUR_AT, _DAY = 0, 1, 2, 50

HOUR = 3600 * 10**9
"""ns"""

_ALLOWANCE = 2.0  # steps of a quantum outside the envelope that are never news
_FLOOR = 4.0  # an envelope counts as at least this many quanta wide
_SLOW_FLOOR = 0.8  # the same for an averaged signal, whose steps are parts of a quantum
_SLOW_WIDTH = 0.2  # and while young as this part of the value's envelope: few averages were seen yet
_RESOLUTION = 1e-6  # of float32, relative to the value
_LEAD = 3.0  # an average that made news is on its way further: its envelope grows by this many times the excess
_DAILY_WIDTH = 0.3  # an hour's envelope counts as at least this part of the value's
_DAYS = 72.0  # hours before the time of day is judged by
_TINY = 1e-30
_MAX = 1e6


def size(n_channels: int, daily: bool) -> int:
    """float64 slots of a stream's row, with or without the envelopes for the time of day."""
    return _HEAD + (_CHANNEL + (_DAY if daily else 0)) * n_channels


@kernel
def init(row):
    """A stream that has seen nothing: row float64 (size,)."""
    row[:] = 0.0
    row[_CAUSE] = -1.0


@kernel
def _quantum(row, c):
    """The smallest step of the channel at row[c], at most a guess for each change: few may all have been large."""
    return min(row[c + _QUANTUM], row[c + _GUESS] * row[c + _CHANGES])


@kernel
def _seen(row, c, value, residual, signals, cause, params):
    """A sample of the channel at row[c]: update its `signals` signals and score those that are warm.

    Signal k gets k times the warm-up to settle, and one more to fill its envelope.
    """
    n = row[c + _SEEN] + 1.0
    row[c + _SEEN] = n
    step = abs(value - row[c + _VALUE_AT])
    if step > 0.0 and n > 1.0:
        if row[c + _CHANGES] == 0.0:
            row[c + _GUESS] = guess(row[c + _VALUE_AT], value)
            row[c + _QUANTUM] = step
        elif step < row[c + _QUANTUM]:
            row[c + _QUANTUM] = step
        row[c + _CHANGES] += 1.0
    row[c + _VALUE_AT] = value
    row[c + _LEVEL_AT] += max(params[_LEVEL_RATE], 1.0 / n) * (value - row[c + _LEVEL_AT])
    row[c + _RESIDUAL_AT] += params[_RESIDUAL_RATE] * (residual - row[c + _RESIDUAL_AT])
    warmup = params[_WARMUP]
    for k in range(signals):
        at = c + _VALUE_AT + _SIGNAL * k
        signal = row[at]
        low = row[at + 1]
        high = row[at + 2]
        if n > (k + 1) * warmup:
            fade = params[_FORGET] * (high - low)
            row[at + 1] = low + fade
            row[at + 2] = high - fade
            if signal > high or signal < low:
                _outside(row, c, k, low, high, cause + k, params)
        elif n > k * warmup + 1.0:
            row[at + 1] = min(low, signal)
            row[at + 2] = max(high, signal)
        else:
            row[at + 1] = signal
            row[at + 2] = signal


@kernel
def _outside(row, c, k, low, high, cause, params):
    """Score signal `k` of the channel at row[c], which left its envelope [low, high]; let that grow to hold it."""
    at = c + _VALUE_AT + _SIGNAL * k
    signal = row[at]
    quantum = _quantum(row, c)
    allowance = _ALLOWANCE * quantum * (1.0 if k == 0 else params[_LEVEL_RATE + k - 1])
    young = params[_YOUTH] / row[c + _SEEN]
    floor = _FLOOR * quantum
    if k > 0:
        spread = row[c + _VALUE_AT + 2] - row[c + _VALUE_AT + 1]
        floor = max(_SLOW_FLOOR * quantum, _SLOW_WIDTH * min(1.0, young) * spread)
    width = max(high - low, floor, _RESOLUTION * abs(row[c + _VALUE_AT]) + _TINY)
    side = 1.0 if signal > high else -1.0
    e = max(signal - high, low - signal)
    margin = params[_ENVELOPE + k]
    grown = e
    if e > allowance and margin > 0.0:
        strength = (e - allowance) / (margin * (1.0 + young * np.sqrt(young)) * width)
        # Half way back to the envelope counts as over.
        _news(row, cause, strength, signal - side * 0.5 * e, side)
        if k > 0 and strength >= params[_THRESHOLD]:
            grown = _LEAD * e
    row[at + (2 if signal > high else 1)] += side * min(grown, params[_GROWTH] * width)


@kernel
def _daily(row, c, d, hours, cause, params):
    """Score the level of the channel at row[c] against what it was at this hour on other days, kept at row[d]."""
    level = row[c + _LEVEL_AT]
    at = d + _HOUR_AT + 2 * (hours % 24)
    bit = 1 << (hours % 24)
    known = int(row[d + _HOURS])
    if known == 0:
        row[d + _SINCE] = hours
    if known & bit == 0:
        row[d + _HOURS] = known | bit
        row[at] = level
        row[at + 1] = level
    low = row[at]
    high = row[at + 1]
    e = max(level - high, low - level)
    if e > 0.0:
        floor = max(_FLOOR * _quantum(row, c), _DAILY_WIDTH * (row[c + _VALUE_AT + 2] - row[c + _VALUE_AT + 1]))
        width = max(high - low, floor, _RESOLUTION * abs(level) + _TINY)
        side = 1.0 if level > high else -1.0
        grown = e
        if hours - row[d + _SINCE] >= _DAYS and params[_DAILY] > 0.0:
            strength = e / (params[_DAILY] * width)
            _news(row, cause, strength, level - side * 0.5 * e, side)
            if strength >= params[_THRESHOLD]:
                grown = _LEAD * e
        row[at + (1 if level > high else 0)] += side * min(grown, params[_GROWTH] * width)


@kernel
def _absent(row, c, cause, params):
    """A sample without the channel at row[c]: news while its gap is new, silence once it has been an episode."""
    gap = row[c + _GAP] + 1.0
    row[c + _GAP] = gap
    limit = max(params[_MISSING], 2.0 * row[c + _LONGEST_GAP])
    if row[c + _SEEN] >= params[_WARMUP] and params[_MISSING] > 0.0 and gap <= limit + params[_LONGEST]:
        _news(row, cause, gap / limit, 0.0, 1.0)


@kernel
def _news(row, cause, strength, bound, side):
    """Keep the strongest signal of this sample."""
    if strength > row[_BEST]:
        row[_BEST] = min(strength, _MAX)
        row[_BEST_CAUSE] = cause
        row[_BEST_BOUND] = bound
        row[_BEST_SIDE] = side


@kernel
def _lasts(row):
    """Whether the signal that raised the flag is still out: beyond its bound, or missing."""
    cause = int(row[_CAUSE])
    c = _HEAD + _CHANNEL * (cause >> 3)
    k = cause & 7
    at = c + _VALUE_AT + _SIGNAL * k
    if k == _BY_DAILY:
        at = c + _LEVEL_AT
    elif k == _BY_MISSING:
        at = c + _GAP
    # A gap has side and bound 1 and 0: it lasts as long as it counts.
    return row[_SIDE] * (row[at] - row[_BOUND]) > 0.0


@kernel
def _decide(row, params):
    """Advance the episode by this sample; returns the edge: 1 raised, -1 cleared, 0 neither."""
    edge = 0
    best = row[_BEST]
    if row[_UP] == 0.0:
        if best >= params[_THRESHOLD]:
            row[_UP] = 1.0
            row[_QUIET] = 0.0
            row[_AGE] = 0.0
            row[_CAUSE] = row[_BEST_CAUSE]
            row[_BOUND] = row[_BEST_BOUND]
            row[_SIDE] = row[_BEST_SIDE]
            edge = 1
    else:
        row[_AGE] += 1.0
        calm = best < params[_RELEASE] * params[_THRESHOLD] and not _lasts(row)
        row[_QUIET] = row[_QUIET] + 1.0 if calm else 0.0
        if row[_QUIET] >= params[_HOLD] or row[_AGE] >= params[_LONGEST]:
            row[_UP] = 0.0
            row[_CAUSE] = -1.0
            edge = -1
    return edge


@kernel
def score(x, missing, forecast, has_forecast, t, row, params, i, score, flag, edge, cause):
    """Judge one sample of one stream and write row `i` of the results.

    x float32 (n,), finite; missing uint8 (n,), a set channel has no value; forecast float32 (n,), the previous
    forecast of this sample in its units, read only where has_forecast; t int64, ns since the epoch, no time of day
    before 2000-01-01; row float64 (size(n, daily),); params float64, the values of SETTINGS. Writes score[i] float32,
    finite and at least 0; flag[i] uint8; edge[i] int8, 1 raised, -1 cleared, 0 neither; cause[i] int32, channel * 8 +
    component, -1 where there is no flag.
    """
    row[_BEST] = 0.0
    days = _HEAD + _CHANNEL * x.size
    daily = t >= REAL_TIME and row.size > days
    hours = t // HOUR
    for j in range(x.size):
        c = _HEAD + _CHANNEL * j
        if missing[j] != 0:
            _absent(row, c, 8 * j + _BY_MISSING, params)
        else:
            if row[c + _GAP] > 0.0:
                row[c + _LONGEST_GAP] = max(row[c + _LONGEST_GAP], row[c + _GAP])
                row[c + _GAP] = 0.0
            value = np.float64(x[j])
            if has_forecast:
                _seen(row, c, value, value - np.float64(forecast[j]), 3, 8 * j, params)
            else:
                _seen(row, c, value, 0.0, 2, 8 * j, params)
            if daily:
                _daily(row, c, days + _DAY * j, hours, 8 * j + _BY_DAILY, params)
    edge[i] = _decide(row, params)
    score[i] = row[_BEST]
    flag[i] = row[_UP] != 0.0
    cause[i] = int(row[_CAUSE])
