"""When a flag rises and when it clears: one episode is one alarm."""

from __future__ import annotations

from streamrnn._jit import fused

from .signals import (
    AGE,
    BEST,
    BEST_BOUND,
    BEST_CAUSE,
    BEST_SIDE,
    BOUND,
    CAUSE,
    HOLD,
    LONGEST,
    QUIET,
    RELEASE,
    SIDE,
    THRESHOLD,
    UP,
)

__all__ = ["decide"]


@fused
def decide(row, lasts, params):
    """Advance the episode of a stream's row by this sample; returns the edge: 1 raised, -1 cleared, 0 neither.

    row[BEST] and what follows it is the strongest signal of this sample; `lasts` whether the one that raised the flag
    is still out, asked for only where a flag is up.
    """
    edge = 0
    best = row[BEST]
    if row[UP] == 0.0:
        if best >= params[THRESHOLD]:
            row[UP] = 1.0
            row[QUIET] = 0.0
            row[AGE] = 0.0
            row[CAUSE] = row[BEST_CAUSE]
            row[BOUND] = row[BEST_BOUND]
            row[SIDE] = row[BEST_SIDE]
            edge = 1
    else:
        row[AGE] += 1.0
        quiet = best < params[RELEASE] * params[THRESHOLD] and not lasts
        row[QUIET] = row[QUIET] + 1.0 if quiet else 0.0
        if row[QUIET] >= params[HOLD] or row[AGE] >= params[LONGEST]:
            row[UP] = 0.0
            row[CAUSE] = -1.0
            edge = -1
    return edge
