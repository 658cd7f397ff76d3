"""Faults with known times, and where in a feed to put them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Fault", "Kind", "Placed", "schedule"]


@dataclass(frozen=True)
class Fault:
    """What went wrong in `stream` from `start_ns` to `end_ns` (ns since the epoch), seen in `channels`."""

    kind: str
    stream: str
    start_ns: int
    end_ns: int
    channels: tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """A sort of fault: how long it lasts, in seconds, and which channels show it."""

    name: str
    shortest: float
    longest: float
    channels: tuple[str, ...]


@dataclass(frozen=True)
class Placed:
    """A fault of some kind on stream number `stream`, from `start` to `end` in seconds of the feed."""

    kind: Kind
    stream: int
    start: float
    end: float


APART = 180.0
"""Seconds between two faults of one stream: it has settled, and a monitor would raise a new alarm."""

TRIES = 200
"""Draws for one fault before the feed counts as full."""


def schedule(
    rng: np.random.Generator,
    kinds: Sequence[Kind],
    *,
    streams: int,
    seconds: float,
    calm: float,
    every: float,
) -> list[Placed]:
    """Faults at random times, the kinds in turn, on streams drawn so that none has two before all have one.

    The first `calm` seconds and the last 60 stay clean. There is one fault for every `every` seconds of a
    stream's remaining time, and at least one where a fault fits at all.
    """
    room = seconds - calm - 60.0
    wanted = max(1, round(streams * room / every))
    placed: list[Placed] = []
    turn: list[int] = []
    for i in range(wanted):
        kind = kinds[i % len(kinds)]
        turn = turn or [int(k) for k in rng.permutation(streams)]
        stream = turn.pop()
        for _ in range(TRIES):
            lasts = float(rng.uniform(kind.shortest, kind.longest))
            if lasts > room:
                continue
            start = calm + float(rng.uniform(0.0, room - lasts))
            end = start + lasts
            if all(p.stream != stream or end + APART < p.start or p.end + APART < start for p in placed):
                placed.append(Placed(kind, stream, start, end))
                break
    return placed
