"""What happened since the start, as exact numbers: events may be thinned out, counters never are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Counters"]


@dataclass(slots=True)
class Counters:
    """Totals since the daemon started.

    `messages` and `bytes_in` came in on the ingest socket. Of the `samples` (rows) that they carried, `accepted` were
    stepped, `late` and `duplicate` were left out. `rejected` counts refusals by code, one for a message or, inside
    a block, one for a row. `gaps` are jumps in sequence numbers and `missing` the numbers that they skipped.
    `outputs` are rows answered, `flags` flag changes, `published` all messages handed to the outputs' socket and
    `bytes_out` their bytes. `events` were published, `suppressed` would have been but for the rate limit.
    """

    messages: int = 0
    bytes_in: int = 0
    samples: int = 0
    blocks: int = 0
    accepted: int = 0
    late: int = 0
    duplicate: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    gaps: int = 0
    missing: int = 0
    created: int = 0
    reset: int = 0
    evicted: int = 0
    stale: int = 0
    outputs: int = 0
    flags: int = 0
    published: int = 0
    bytes_out: int = 0
    events: int = 0
    suppressed: int = 0
    requests: int = 0
    bad_requests: int = 0
    discarded: int = 0

    def reject(self, code: str) -> None:
        """One more refusal of this code."""
        self.rejected[code] = self.rejected.get(code, 0) + 1

    def asdict(self) -> dict[str, Any]:
        """The totals as plain values, for people and programs."""
        return {
            name: dict(value) if isinstance(value := getattr(self, name), dict) else value
            for name in self.__dataclass_fields__
        }
