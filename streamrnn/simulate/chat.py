"""A chat: each stream writes tokens as a Markov chain does, all by one habit, and someone else takes over at known
times: the same tokens by another habit.

The next token depends on the one before (A. A. Markov 1913): a row of a table of probabilities, Dirichlet distributed,
so that each token has a few usual successors.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .faults import Kind, Placed, schedule
from .feed import Feed, merge

__all__ = ["CHANNELS", "KINDS", "UNITS", "chat"]

CHANNELS = ("token",)
UNITS = ("",)

TAKEN_OVER = Kind("taken-over", 40.0, 90.0, CHANNELS)
KINDS = (TAKEN_OVER,)

FAULT_EVERY = 600.0
"""Seconds of a stream's time to one fault."""

CONCENTRATION = 0.1
"""Of the Dirichlet distribution: a token has about a tenth of all tokens as usual successors."""


def chat(
    users: int = 6, seconds: float = 1200.0, seed: int = 0, calm: float = 300.0, rate: float = 2.0, tokens: int = 32
) -> Feed:
    """`seconds` of `rate` tokens a second (mean) of each user; nobody is taken over in the first `calm` seconds.

    The one channel is the token, a whole number from 0 to `tokens` - 1.

    >>> feed = chat(users=2, seconds=900, seed=1)
    >>> feed.streams, float(feed.x.max())
    (('user1', 'user2'), 31.0)
    """
    streams = tuple(f"user{i + 1}" for i in range(users))
    placed = schedule(
        np.random.default_rng([seed, 4]), KINDS, streams=users, seconds=seconds, calm=calm, every=FAULT_EVERY
    )
    habits = np.random.default_rng([seed, 5]).dirichlet(np.full(tokens, CONCENTRATION), (2, tokens)).cumsum(-1)
    parts = []
    for i in range(users):
        mine = [p for p in placed if p.stream == i]
        parts.append(_written(np.random.default_rng([seed, 6, i]), seconds, rate, habits, mine))
    return merge(CHANNELS, UNITS, streams, parts, placed)


def _written(
    rng: np.random.Generator, seconds: float, rate: float, habits: npt.NDArray[np.float64], faults: list[Placed]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """One user's tokens: times in seconds `(n,)`, and values `(n, 1)`."""
    n = rng.poisson(rate * seconds)
    clock = np.sort(rng.uniform(0.0, seconds, n))
    other = np.zeros(n, np.int64)
    for fault in faults:
        other[(clock >= fault.start) & (clock < fault.end)] = 1
    last = habits.shape[-1] - 1
    x = np.zeros((n, 1))
    token = 0
    for i, (which, draw) in enumerate(zip(other.tolist(), rng.random(n).tolist(), strict=True)):
        token = min(int(np.searchsorted(habits[which, token], draw, side="right")), last)
        x[i, 0] = token
    return clock, x
