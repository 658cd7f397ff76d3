"""Things to do every so often, between bursts."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Timers"]


class Timers:
    """Calls functions at intervals (seconds) of the monotonic clock; one that is late is not made up for."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._jobs: list[tuple[float, Callable[[], None]]] = []
        self._due: list[float] = []
        self._next = float("inf")

    def every(self, interval: float, job: Callable[[], None]) -> None:
        """Call `job` every `interval` seconds from now on."""
        self._jobs.append((interval, job))
        self._due.append(self._clock() + interval)
        self._next = min(self._due)

    def run(self) -> None:
        """Call what is due."""
        now = self._clock()
        if now < self._next:
            return
        for i, (interval, job) in enumerate(self._jobs):
            if now >= self._due[i]:
                self._due[i] = now + interval
                job()
        self._next = min(self._due)

    def wait_ms(self) -> int:
        """Milliseconds until something is due, rounded up."""
        return max(0, int((self._next - self._clock()) * 1000) + 1)
