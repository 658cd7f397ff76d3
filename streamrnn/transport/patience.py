"""How long a burst that is not full waits for more rows: the policy behind `latency_budget`, for both data paths.

A burst begins with the first message that is taken. Where no more wait to be read and the burst has rows, it is stepped
once its first message has waited for the budget, or as soon as it is full. Meanwhile the data path naps, and looks
between two naps at what came in and whether control or a timer wants its turn: waking for each message would cost more
than a message does. Blocks are bursts of their own, and wait for nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["SHORTEST", "Patience", "nap"]

SHORTEST = 20_000
"""Nanoseconds of a nap: below that a system's timers are late by more than it."""

_LONGEST = 1_000_000


def nap(budget: int, left: int) -> int:
    """Nanoseconds to nap while a burst has `left` of its `budget`: an eighth, so that a full burst does not wait long.

    >>> nap(500_000, 400_000), nap(500_000, 30_000), nap(80_000, 75_000), nap(10**9, 10**9)
    (62500, 30000, 20000, 1000000)
    """
    return max(0, min(left, max(budget // 8, SHORTEST), _LONGEST))


class Patience:
    """The waiting of one data path: `budget` in ns, 0 for none. `clock` tells ns, `sleep` takes seconds."""

    def __init__(
        self,
        budget: int,
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.budget = budget
        self.clock = clock
        self._sleep = sleep
        self._due = 0

    def begin(self) -> None:
        """A burst begins now."""
        self._due = self.clock() + self.budget if self.budget else 0

    def lasts(self) -> bool:
        """Whether the burst may go on waiting."""
        return self.budget > 0 and self.clock() < self._due

    def rest(self, until: int) -> None:
        """Nap, but not past `until` (ns of the clock)."""
        self._sleep(nap(self.budget, min(until, self._due) - self.clock()) / 1e9)
