"""A feed: samples of many streams in the order of their time, and the faults that were put into them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .faults import Fault, Placed

__all__ = ["START_NS", "Feed", "merge"]

START_NS = 1_704_096_000_000_000_000
"""2024-01-01 08:00 UTC: where simulated time begins, fixed so that a seed says everything about a feed."""


@dataclass(frozen=True)
class Feed:
    """Samples in time order.

    `t` int64 `(n,)`, ns since the Unix epoch, never decreasing; `stream` int64 `(n,)`, index into `streams`;
    `x` float32 `(n, len(channels))`, NaN where a channel is missing. `units` names each channel's unit.
    """

    channels: tuple[str, ...]
    units: tuple[str, ...]
    streams: tuple[str, ...]
    t: npt.NDArray[np.int64]
    stream: npt.NDArray[np.int64]
    x: npt.NDArray[np.float32]
    faults: tuple[Fault, ...] = ()

    def __len__(self) -> int:
        return int(self.t.shape[0])

    def rows(self) -> Iterator[tuple[int, str, list[float]]]:
        """Each sample as `(t, stream, values)`, plain Python all of it."""
        names = self.streams
        for t, stream, x in zip(self.t.tolist(), self.stream.tolist(), self.x.tolist(), strict=True):
            yield t, names[stream], x


def merge(
    channels: tuple[str, ...],
    units: tuple[str, ...],
    streams: tuple[str, ...],
    parts: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]],
    placed: list[Placed],
) -> Feed:
    """One feed of each stream's `(seconds (n,), values (n, channels))`, by time; ties keep stream order."""
    seconds = np.concatenate([s for s, _ in parts])
    stream = np.repeat(np.arange(len(parts)), [len(s) for s, _ in parts])
    order = np.argsort(seconds, kind="stable")
    return Feed(
        channels=channels,
        units=units,
        streams=streams,
        t=START_NS + np.rint(seconds[order] * 1e9).astype(np.int64),
        stream=stream[order].astype(np.int64),
        x=np.concatenate([x for _, x in parts])[order].astype(np.float32),
        faults=tuple(_fault(p, streams) for p in sorted(placed, key=lambda p: (p.start, p.stream))),
    )


def _fault(placed: Placed, streams: tuple[str, ...]) -> Fault:
    start, end = (START_NS + int(seconds * 1e9) for seconds in (placed.start, placed.end))
    return Fault(placed.kind.name, streams[placed.stream], start, end, placed.kind.channels)
