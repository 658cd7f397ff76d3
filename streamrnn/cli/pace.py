"""How fast a recording is played: as it was recorded, faster, at so many samples a second, or at once."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import ConfigError

__all__ = ["Pace", "Rate"]

NAP = 0.05
"""Longest sleep in one piece, in seconds: the most that a wish to stop has to wait."""


@dataclass(frozen=True)
class Rate:
    """`speed` times as fast as recorded, or `per_second` samples a second; neither is as fast as it goes."""

    speed: float | None = None
    per_second: float | None = None

    @classmethod
    def parse(cls, text: str) -> Rate:
        """`1x`, `0.5x`, `10x`, `200/s` or `max`; ConfigError for anything else.

        >>> Rate.parse("10x")
        Rate(speed=10.0, per_second=None)
        """
        word = text.strip().lower()
        if word == "max":
            return cls()
        match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)(x|/s)", word)
        if match is None or float(match[1]) <= 0.0 or not math.isfinite(float(match[1])):
            raise ConfigError(f"the rate {text!r} is none of 1x, 10x (times as recorded), 200/s or max")
        value = float(match[1])
        return cls(speed=value) if match[2] == "x" else cls(per_second=value)


@dataclass
class Pace:
    """Holds samples back until they are due at `rate`.

    `stopped` is asked during long waits; once it says yes, waiting ends at once.
    """

    rate: Rate
    stopped: Callable[[], bool] = bool
    _began: float = field(default=0.0, init=False)
    _first_t: int | None = field(default=None, init=False)
    _count: int = field(default=0, init=False)

    def check(self, timed: bool) -> None:
        """Raise ConfigError where samples would have to carry times and do not."""
        if self.rate.speed is not None and not timed:
            raise ConfigError(
                "a rate like 10x needs the times of the samples: name their column with --time, "
                "or give a rate like 200/s or max"
            )

    def wait(self, t: int | None) -> None:
        """Return when the next sample, of event time `t` (ns), is due; the first is due at once."""
        if self._count == 0:
            self._began = time.perf_counter()
            self._first_t = t
        offset = self._offset(t)
        self._count += 1
        while not self.stopped():
            left = self._began + offset - time.perf_counter()
            if left <= 0.0:
                return
            time.sleep(min(left, NAP))

    def shift(self, seconds: float) -> None:
        """Put off all that is still to come: the feed stood still for so long."""
        self._began += seconds

    def _offset(self, t: int | None) -> float:
        """Seconds from the first sample to this one."""
        if self.rate.per_second is not None:
            return self._count / self.rate.per_second
        if self.rate.speed is None:
            return 0.0
        self.check(t is not None)
        assert t is not None
        assert self._first_t is not None
        return (t - self._first_t) / 1e9 / self.rate.speed
