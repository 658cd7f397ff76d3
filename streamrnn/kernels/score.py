"""The detector: is this sample unlike what its stream has shown so far, and is that news?

Each channel has three signals: its value, its slow level (an exponential average) and its smoothed forecast residual.
Each signal has an envelope [lo, hi] of what was seen so far. A signal outside scores

    max(e - allowance, 0) / max(margin * (1 + (youth / n)^1.5) * max(hi - lo, floor), steps * stride)

with e the distance to the envelope. Records are common early in a stream's life, so the margin shrinks as n grows; and
noise breaks its records by parts of its usual step: less than `steps` of those, as far as a step moves the signal, is
no news. (For the level they are part of the allowance instead, or a slow drift would never be news.) The allowance and
the floor come from the channel's quantum, the smallest step it was ever seen to take: an integer step of a
whole-numbered signal is not news, however long it stood still. What never moved has shown no step, and its first one
may be the fault itself; so the quantum is at most a guess from the values' digits for each change seen (quantum.py): 98
to 97 is one step, 98 to 80 is eighteen, and 0 to 1, as of a switch, is one. The envelope then grows to hold the sample,
but at most by a multiple of its width, and it forgets slowly. A sample counts in the averages for no more than its
envelope grows to: one wild sample, however large, cannot make a detector blind for life.

Where samples carry real time and the model looks at the clock, the level is also held against an envelope of what it
was at the same hour on other days, from the fourth day on: high noon at midnight is news, though noon was as high.
The last component counts how long a channel has been missing, against its longest gap so far. The score is the largest
of all channels and components. The flag rises when the score reaches the threshold. It stays while the signal that
raised it is outside the envelope of that moment, and then until the score was low for a hold time; nothing raises it
a second time meanwhile, so that one episode is one alarm. A flag clears at the latest after a set time, because a
lasting change is the new normal. Even then the episode's end is no alarm: a value that left its envelope with news and
comes back to where it was is silent for a hold time, unless it was away for as long as it had been known before.
Further out on the side where it went it is young: there, n counts from when it left.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from streamrnn._jit import apart, fused, kernel

from . import signals as _signals
from . import surprise as _surprise
from .clock import REAL_TIME
from .episode import decide
from .memory import matrix
from .signals import (
    BEST,
    BOUND,
    BY_DAILY,
    BY_MISSING,
    CAUSE,
    CAUSES,
    CHANNEL,
    DAY,
    GAP,
    HEAD,
    LEVEL_AT,
    SIDE,
    SIGNAL,
    UP,
    VALUE_AT,
    absent,
    calm,
    daily,
    seen,
)
from .vector import LANES64, first4, first8

__all__ = ["COMPONENTS", "HOUR", "RANGES", "SETTINGS", "init", "lasts", "looks", "nothing_found", "score", "size"]

COMPONENTS = ("envelope", "level", "residual", "daily", "missing", "surprise")
"""What can raise a flag; a cause is channel * 8 + index here. The last is that of tokens, the others of channels."""

SETTINGS = MappingProxyType({**_signals.SETTINGS, **_surprise.SETTINGS})
"""Settings and defaults, in the order in which `params` holds them."""

RANGES = MappingProxyType({**_signals.RANGES, **_surprise.RANGES})
"""The least and the most that each setting may be."""

HOUR = 3600 * 10**9
"""ns"""


def size(n_channels: int, by_day: bool) -> int:
    """float64 slots of a stream's row, with or without the envelopes for the time of day."""
    return HEAD + (CHANNEL + (DAY if by_day else 0)) * n_channels


@kernel
def init(row):
    """A stream that has seen nothing: row float64 (size,)."""
    row[:] = 0.0
    row[CAUSE] = -1.0


@fused
def lasts(row, chan):
    """Whether the signal that raised the flag is still out: beyond its bound, or missing."""
    cause = int(row[CAUSE])
    k = cause % CAUSES
    at = VALUE_AT + SIGNAL * k
    if k == BY_DAILY:
        at = LEVEL_AT
    elif k == BY_MISSING:
        at = GAP
    # A gap has side and bound 1 and 0: it lasts as long as it counts.
    return row[SIDE] * (chan[at, cause // CAUSES] - row[BOUND]) > 0.0


@kernel
def _one_by_one(x, missing, forecast, signals, first, last, settled, row, params):
    """The channels first to last that are not settled."""
    apart()
    chan = matrix(row, HEAD, CHANNEL, x.size)
    for j in range(first, last):
        if (settled >> (j - first)) & 1 == 0:
            if missing[j] != 0:
                absent(row, chan, j, params)
            else:
                value = np.float64(x[j])
                error = value - np.float64(forecast[j]) if signals == SIGNAL else 0.0
                seen(row, chan, j, value, error, signals, params)


def looks(settings):
    """Whether a detector of these SETTINGS can find anything: with every margin 0 it is off."""
    return any(settings[name] > 0.0 for name in COMPONENTS if name in settings)


@fused
def nothing_found(i, score, flag, edge, cause):
    """Row `i` of the results of a sample that is no news."""
    score[i] = 0.0
    flag[i] = 0
    edge[i] = 0
    cause[i] = -1


@fused
def score(x, missing, n_missing, forecast, has_forecast, t, row, params, i, score, flag, edge, cause):
    """Judge one sample of one stream and write row `i` of the results.

    x float32 (n,), finite; missing uint8 (n,), a set channel has no value, and n_missing how many are set; forecast
    float32 (n,), the previous forecast of this sample in its units, read only where has_forecast; t int64, ns since
    the epoch, no time of day before 2000-01-01; row float64 (size(n, by_day),); params float64, the values of SETTINGS.
    Writes score[i] float32, finite and at least 0; flag[i] uint8; edge[i] int8, 1 raised, -1 cleared, 0 neither;
    cause[i] int32, channel * 8 + component, -1 where there is no flag.
    """
    n = x.size
    days = HEAD + CHANNEL * n
    chan = matrix(row, HEAD, CHANNEL, n)
    signals = SIGNAL if has_forecast else SIGNAL - 1
    quiet = True
    for first in range(0, n, LANES64):
        settled = np.int64(0)
        if n_missing == 0:
            if n <= LANES64 // 2:  # all that most models have, at half the price
                settled = calm(first4(n), chan, first, x, forecast, signals, params)
            else:
                settled = calm(first8(n - first), chan, first, x, forecast, signals, params)
        last = min(first + LANES64, n)
        if settled != (1 << (last - first)) - 1:
            quiet = False
            _one_by_one(x, missing, forecast, signals, first, last, settled, row, params)
    if t >= REAL_TIME and row.size > days:
        quiet = False
        for j in range(n):
            if missing[j] == 0:
                daily(row, row[days + DAY * j : days + DAY * (j + 1)], chan, j, t // HOUR, params)
    if quiet and row[UP] == 0.0:  # nearly always
        nothing_found(i, score, flag, edge, cause)
        return
    edge[i] = decide(row, row[UP] != 0.0 and lasts(row, chan), params)
    score[i] = row[BEST]
    row[BEST] = 0.0  # for the next sample
    flag[i] = row[UP] != 0.0
    cause[i] = int(row[CAUSE])
