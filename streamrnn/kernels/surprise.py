"""The score of a stream of tokens: how surprised its forecasts were, against what is usual.

    surprise = -log2 p(token)         bits, p what the forecast gave the token that came
    d += rate (surprise - mean - d)
    score = max(d, 0) / scale

`mean` is the surprise of ordinary streams in bits, `scale` how far its average over about 1 / rate tokens usually
strays: both are calibrated where the model is trained, and d starts at 0, as of an ordinary stream. The flag rises and
clears as for any other score (`episode`). What lasts longer than an episode may is an episode still: nothing is raised
again before the score was below the release once.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from streamrnn._jit import apart, fused, kernel

from . import signals
from .episode import decide
from .signals import BEST, BEST_CAUSE, CAUSE, HEAD, RELEASE, THRESHOLD, UP
from .vector import fma, least, most, of_word, word_of

__all__ = ["BY_SURPRISE", "RANGES", "SETTINGS", "SIZE", "judge", "judge_here", "log2"]

SETTINGS = MappingProxyType(
    {
        "surprise_rate": 0.05,  # weight of a new token in the average
        "surprise_mean": 0.0,  # bits a token that are usual
        "surprise_scale": 16.0,  # bits by which the average strays; not calibrated, 16 bits score 1: one of 65,536
    }
)
"""Settings and defaults, in the order in which `params` holds them, behind those of `signals`."""

RANGES = MappingProxyType(
    {
        "surprise_rate": (1e-6, 1.0),
        "surprise_mean": (-126.0, 126.0),  # surprise itself is from 0 to 126
        "surprise_scale": (1e-6, 1e6),
    }
)

_RATE, _MEAN, _SCALE = (len(signals.SETTINGS) + k for k in range(len(SETTINGS)))

BY_SURPRISE = 5
"""The cause, as of channel 0."""

# A stream's row: its episode as every stream has it, then d, and whether an episode outlasted its flag.
_AVERAGE, _LASTING, SIZE = HEAD, HEAD + 1, HEAD + 2

_MOST = 1e6  # the highest score, as of any stream

_LEAST = 2.0**-126
"""A probability counts for at least so much: 126 bits, and nothing is infinite."""

_SQRT2 = 1.4142135623730951
_MANTISSA, _ONE, _BIAS = np.int64((1 << 52) - 1), np.int64(1023 << 52), np.int64(1023)
# 2 / (ln 2 (2 k + 1)): the series of log2((1 + s) / (1 - s)) in s^2, whose rest is below 2e-17 for the s here.
_C0, _C1, _C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9 = (2.8853900817779268 / (2 * k + 1) for k in range(10))


@kernel
def log2(x):
    """The logarithm to base 2 of a normal float64 above 0, at most 1e-15 (1 + |log2 x|) from the truth.

    x = 2^e m with m within sqrt(1/2) and sqrt(2); log2 m = 2 atanh(s) / ln 2 with s = (m - 1) / (m + 1), |s| < 0.172.
    """
    word = word_of(x)
    e = np.float64((word >> 52) - _BIAS)
    m = of_word((word & _MANTISSA) | _ONE)
    if m > _SQRT2:
        m *= 0.5
        e += 1.0
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    p = fma(z, fma(z, fma(z, fma(z, _C9, _C8), _C7), _C6), _C5)
    p = fma(z, fma(z, fma(z, fma(z, fma(z, p, _C4), _C3), _C2), _C1), _C0)
    return fma(s, p, e)


@kernel
def judge(p, has_forecast, row, params, i, score, flag, edge, cause):
    """`judge_here`, but never a part of its caller."""
    apart()
    judge_here(p, has_forecast, row, params, i, score, flag, edge, cause)


@fused
def judge_here(p, has_forecast, row, params, i, score, flag, edge, cause):
    """Judge one token of one stream and write row `i` of the results, as `score.score` does.

    p float32, the probability that the forecast gave it, read only where has_forecast; row float64 (SIZE,); params
    float64, the values of score.SETTINGS.
    """
    if has_forecast:
        bits = -log2(most(_LEAST, np.float64(p)))
        row[_AVERAGE] += params[_RATE] * ((bits - params[_MEAN]) - row[_AVERAGE])
    strength = least(_MOST, most(0.0, row[_AVERAGE]) / params[_SCALE])
    if strength < params[RELEASE] * params[THRESHOLD]:
        row[_LASTING] = 0.0
    row[BEST] = 0.0 if row[_LASTING] != 0.0 and row[UP] == 0.0 else strength
    row[BEST_CAUSE] = BY_SURPRISE
    edge[i] = decide(row, False, params)
    if edge[i] < 0 and strength >= params[RELEASE] * params[THRESHOLD]:
        row[_LASTING] = 1.0
    score[i] = strength
    flag[i] = row[UP] != 0.0
    cause[i] = int(row[CAUSE])
