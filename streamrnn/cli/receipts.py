"""What a daemon says of the samples that somebody sends: how many it answered, how many it refused, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..client import Event, Gap, Output, Subscriber
from ..errors import Timeout

__all__ = ["Receipts"]

REFUSALS = ("rejected", "late", "duplicate")
"""Kinds of events of which each stands for a sample that was not taken."""


class Receipts:
    """Listens to a daemon's outputs and events of some `streams`; of all where their names are not known yet (None).

    Counts are those of `note` and of what came back. An event that the daemon's rate limit held back is counted
    when the next one tells of it. Samples that others send to the same streams are taken for one's own. A context
    manager: leaving it closes the subscriber.
    """

    def __init__(self, endpoint: str, streams: Sequence[str] | None) -> None:
        about = ["out/"] if streams is None else [f"out/{stream}/" for stream in streams]
        prefixes = [*about, *(f"event/{kind}/" for kind in REFUSALS)]
        self._subscriber = Subscriber(endpoint, prefixes, hwm=0, on_gap=self._missed)
        self._streams: set[str] = set()
        self._answered = 0
        self.sent = 0
        self.refused: Counter[str] = Counter()
        self.reasons: dict[str, str] = {}

    def wait(self, timeout: float) -> None:
        """Return once the daemon is heard; Timeout if it is not within so many seconds."""
        self._subscriber.wait(timeout)

    def note(self, stream: str, n: int = 1) -> None:
        """Count a sample that is about to be sent, or with -1 one that could not be."""
        self._streams.add(stream)
        self.sent += n

    @property
    def open(self) -> int:
        """Samples of which nothing was heard so far."""
        return max(0, self.sent - self._answered - self.refused.total())

    @property
    def answered(self) -> int:
        """Samples that were answered."""
        return max(0, self.sent - self.refused.total() - self.open)

    def take(self, seconds: float = 0.0) -> bool:
        """Take in all that has come, after waiting at most so long for the first; whether there was anything."""
        came = False
        while True:
            try:
                message = self._subscriber.recv(0.0 if came else seconds)
            except Timeout:
                return came
            came = True
            if isinstance(message, Output):
                self._answered += message.stream in self._streams
            elif isinstance(message, Event):
                self._refusal(message)

    def why(self) -> str:
        """The refusals by code, each with the reason of its first one."""
        return "; ".join(
            f"{code} {n:,}" + (f" ({self.reasons[code]})" if code in self.reasons else "")
            for code, n in self.refused.most_common()
        )

    def _missed(self, gap: Gap) -> None:
        """The daemon answered, and its answers were dropped on their way here."""
        if gap.stream in self._streams:
            self._answered += gap.lost

    def _refusal(self, event: Event) -> None:
        mine = event.stream in self._streams
        if not mine and event.stream is not None:
            return
        code = str(event.data.get("code") or event.kind)
        held_back = event.data.get("suppressed", 0)
        n = min((held_back if type(held_back) is int else 0) + mine, self.open)
        if n:
            self.refused[code] += n
        if mine and "reason" in event.data:
            self.reasons.setdefault(code, str(event.data["reason"]))

    def __enter__(self) -> Receipts:
        return self

    def __exit__(self, *_: object) -> None:
        self._subscriber.close()
