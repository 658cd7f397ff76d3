"""How much of anything a peer may send before it is refused."""

from __future__ import annotations

from dataclasses import dataclass

from ..ids import MAX_ID

__all__ = ["DEFAULT_LIMITS", "INT64_MAX", "INT64_MIN", "MAX_ID", "MAX_SESSION", "UINT64_MAX", "Limits"]

MAX_SESSION = 64
"""Longest session in bytes."""

INT64_MIN, INT64_MAX, UINT64_MAX = -(1 << 63), (1 << 63) - 1, (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Limits:
    """What the daemon accepts from the network; anything above is refused, never cut short.

    `max_message` bytes in topic and body together, `max_width` values in a sample, `max_block` rows in a
    block, `max_depth` levels of nesting inside a value that is not ours, `max_skipped` values in all that are
    not ours, `max_ahead_ns` how far a sample's time may be ahead of the daemon's clock. With `tokens` above 0 samples
    are tokens, integers below that.

    >>> Limits(max_width=8).max_block
    65536
    """

    max_message: int = 1 << 20
    max_width: int = 4096
    max_block: int = 65_536
    max_depth: int = 32
    max_skipped: int = 4096
    max_ahead_ns: int = 86_400 * 10**9
    tokens: int = 0


DEFAULT_LIMITS = Limits()
