"""A line of block characters that shows how a value went."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from rich.text import Text

__all__ = ["Mark", "sparkline"]

BLOCKS = "▁▂▃▄▅▆▇█"
GAP = "·"

NOISE_SPANS = 10.0
"""The whole height is at least so many typical steps: noise shall look like noise, not like an event."""

Mark = tuple[float, bool]
"""A value, NaN where it is missing, and whether it was flagged."""


def sparkline(marks: Sequence[Mark], width: int, style: str, flagged: str = "bold red") -> Text:
    """The last `width` marks, right-aligned; a gap is a dot, a flagged mark has the style `flagged`.

    >>> sparkline([(0.0, False), (7.0, False), (math.nan, False), (3.0, True)], 6, "green").plain
    '  ▁█·▄'
    """
    last = list(marks)[-width:]
    low, high = _scale([value for value, _ in last if not math.isnan(value)])
    text = Text(" " * (width - len(last)), no_wrap=True)
    for value, flag in last:
        if math.isnan(value):
            text.append(GAP, flagged if flag else "dim")
        else:
            level = int((value - low) / (high - low) * len(BLOCKS))
            text.append(BLOCKS[min(max(level, 0), len(BLOCKS) - 1)], flagged if flag else style)
    return text


def _scale(values: list[float]) -> tuple[float, float]:
    """The values of the lowest and the highest block."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    steps = sorted(abs(b - a) for a, b in pairwise(values))
    typical = steps[len(steps) // 2] if steps else 0.0
    span = max(high - low, NOISE_SPANS * typical) or 1.0
    middle = (low + high) / 2.0
    return middle - span / 2.0, middle + span / 2.0
