"""Which outputs a subscriber missed, told from each stream's count of samples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Gap", "GapCounter"]

_STREAMS = 1_000_000
"""Streams that are followed; above that the one that was met first is forgotten."""


@dataclass(frozen=True, slots=True)
class Gap:
    """`lost` outputs of `stream`, at least, were published and not received; `n` is the count of the next
    one.
    """

    stream: str
    lost: int
    n: int


class GapCounter:
    """Follows `n`, which the daemon raises by one for every sample of a stream.

    >>> counter = GapCounter()
    >>> counter.lost_before("bed1", 5), counter.lost_before("bed1", 6), counter.lost_before("bed1", 9)
    (0, 0, 2)
    """

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def lost_before(self, stream: str, n: int) -> int:
        """How many outputs of the stream are missing just before number `n`; none before the first one met.

        A count that does not grow belongs to a state that began anew, of which all before `n` are missing.
        """
        last = self._last.get(stream)
        self._last[stream] = n
        if last is None:
            if len(self._last) > _STREAMS:
                del self._last[next(iter(self._last))]
            return 0
        return n - last - 1 if n > last else n - 1

    def rows(self, streams: Iterable[str]) -> None:
        """Count the rows of an answer to a block, which carry no `n` of their own."""
        for stream in streams:
            if stream in self._last:
                self._last[stream] += 1

    def forget(self) -> None:
        """Start afresh, as after a change of subscriptions."""
        self._last.clear()
