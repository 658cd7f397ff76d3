"""Causal normalisation of one stream: running mean and deviation of each channel, and the way back to units.

Mean m and variance v forget exponentially with a horizon of `HORIZON` samples (and are the plain averages before
that many were seen):

    d = clip(x - m, ±REACH sqrt(v))      m += a d      v += a ((1 - a) d^2 - v)      a = max(1 / n, 1 / HORIZON)

(West 1979, doi 10.1145/359146.359153, with a clipped innovation.) The clip lets one wild sample stretch the scale
by at most a few per cent, while a lasting change is still followed: the deviation may grow geometrically.
"""

from __future__ import annotations

import math

import numpy as np

from streamrnn._jit import kernel

from .vector import least, most

__all__ = ["CLIP", "HORIZON", "REACH", "STATS", "denormalise", "init", "observe"]

STATS = 4
"""float64 slots a channel: samples seen, mean, variance, and what clipping took from the last value."""

HORIZON = 2000.0
"""Samples over which mean and variance forget: several times longer than the fluctuations that matter."""

CLIP = 6.0
"""Normalised values stay within ±CLIP, so that no sample can saturate or blow up what comes after."""

REACH = 8.0
"""How many deviations an innovation may count for once `SETTLED` samples were seen."""

SETTLED = 16.0

_FLOOR = 1e-6  # a deviation below this part of the mean is rounding, not signal
_TINY = 1e-30  # keeps the division defined for a channel that is constantly zero
_FLOAT32_MAX = 3.4028234663852886e38


@kernel
def init(stats):
    """Forget everything: stats float64 (n, STATS)."""
    stats[:] = 0.0


@kernel
def _deviation(mean, var):
    return most(_FLOOR * abs(mean), math.sqrt(var)) + _TINY


@kernel
def observe(x, missing, stats, u):
    """Learn from the channels that were seen and write all of them normalised.

    x float32 (n,), finite, where missing uint8 (n,) is set the engine's substitute; stats float64 (n, STATS);
    u float32 (n,) receives (x - m) / sqrt(v) within ±CLIP, and 0 for a channel that was never seen.
    """
    for j in range(x.size):
        value = np.float64(x[j])
        if missing[j] == 0:
            n = stats[j, 0] + 1.0
            a = most(1.0 / HORIZON, 1.0 / n)
            d = value - stats[j, 1]
            if n > SETTLED:
                reach = REACH * _deviation(stats[j, 1], stats[j, 2])
                d = least(reach, most(-reach, d))
            stats[j, 0] = n
            stats[j, 1] += a * d
            # With n = 1 this is 0 whatever came: one sample has no spread.
            stats[j, 2] += a * ((1.0 - a) * d * d - stats[j, 2])
        if stats[j, 0] > 0.0:
            z = (value - stats[j, 1]) / _deviation(stats[j, 1], stats[j, 2])
            clipped = least(CLIP, most(-CLIP, z))
            u[j] = clipped
            stats[j, 3] = (z - clipped) * _deviation(stats[j, 1], stats[j, 2])
        else:
            u[j] = 0.0


@kernel
def denormalise(un, stats, y):
    """A normalised forecast in the channel's own units: un float32 (n,), y float32 (n,), always finite.

    Where the last value was clipped, its excess is added: "the same again" means that value, not the clip.
    """
    for j in range(un.size):
        z = least(CLIP, most(-CLIP, np.float64(un[j])))
        value = stats[j, 1] + z * _deviation(stats[j, 1], stats[j, 2]) + stats[j, 3]
        y[j] = least(_FLOAT32_MAX, most(-_FLOAT32_MAX, value))
