"""Numbers with their nouns, for whoever reads what the package says."""

from __future__ import annotations

__all__ = ["count"]


def count(n: int, noun: str) -> str:
    """A number with its noun, which forms its plural with s.

    >>> count(1, "sample"), count(4800, "row")
    ('1 sample', '4,800 rows')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
