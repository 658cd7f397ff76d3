"""What a live view knows of each stream: its last values in buckets, its score, its flag."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from .sparkline import Mark

__all__ = ["LONGEST", "Lane", "Reading", "Track"]

LONGEST = 120
"""Buckets kept for a track: more than the widest terminal shows."""


class Track:
    """One number over time, `per_bucket` samples to a mark; `quantum` is the smallest step it has made.

    Marks are kept as float32 and a byte, 600 bytes in all: a daemon may have ten thousand streams.
    """

    __slots__ = ("_count", "_flagged", "_flags", "_means", "_seen", "_sum", "per_bucket", "quantum", "value")

    def __init__(self, per_bucket: int) -> None:
        self.per_bucket = per_bucket
        self.value = math.nan
        self.quantum = math.inf
        self._means = array("f")
        self._flags = bytearray()
        self._sum = 0.0
        self._count = 0
        self._seen = 0
        self._flagged = False

    def add(self, value: float, flagged: bool) -> None:
        """Take the next value; NaN is a missing one."""
        step = abs(value - self.value)
        if 0.0 < step < self.quantum:
            self.quantum = step
        self.value = value
        self._flagged |= flagged
        self._seen += 1
        if not math.isnan(value):
            self._sum += value
            self._count += 1
        if self._seen >= self.per_bucket:
            mean, flag = self._mark()
            self._means.append(mean)
            self._flags.append(flag)
            del self._means[:-LONGEST], self._flags[:-LONGEST]
            self._sum, self._count, self._seen, self._flagged = 0.0, 0, 0, False

    def marks(self) -> list[Mark]:
        """The marks so far, oldest first."""
        done = list(zip(self._means, map(bool, self._flags), strict=True))
        return [*done, self._mark()] if self._seen else done

    def _mark(self) -> Mark:
        return (self._sum / self._count if self._count else math.nan), self._flagged


@dataclass(frozen=True)
class Reading:
    """One output as a view takes it: the values to draw, and what the daemon made of them.

    `blamed` is the channel that the cause names, None where it names none; `missing` are the channels without a value.
    """

    values: Sequence[float]
    score: float
    flag: bool
    cause: str | None
    t: int | None
    blamed: int | None = None
    missing: tuple[int, ...] = ()


class Lane:
    """One stream of the view: a track a channel, the score, and the flag."""

    def __init__(self, stream: str, channels: int, per_bucket: int) -> None:
        self.stream = stream
        self.tracks = [Track(per_bucket) for _ in range(channels)]
        self.score = math.nan
        self.samples = 0
        self.flags = 0
        self.flag = False
        self.cause: str | None = None
        self.t: int | None = None
        self.raised_at: int | None = None
        self.missing: tuple[int, ...] = ()

    def add(self, reading: Reading) -> bool:
        """Take one output and say whether it raised the flag."""
        raised = reading.flag and not self.flag
        if raised:
            self.flags += 1
            self.raised_at = reading.t
        self.samples += 1
        self.flag, self.t, self.missing = reading.flag, reading.t, reading.missing
        self.cause = reading.cause if reading.flag else None
        self.score = reading.score
        for i, (track, value) in enumerate(zip(self.tracks, reading.values, strict=False)):
            track.add(value, reading.flag and reading.blamed in {None, i})
        return raised
