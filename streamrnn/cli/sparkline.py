"""A line of block characters that shows how a value went."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise

from rich.text import Text

__all__ = ["Mark", "sparkline"]

BLOCKS = "▁▂▃▄▅▆▇█"
GAP = "·"

NOISE_SPANS = 10.0
"""The whole height is at least so many typical steps: noise shall look like noise, not like an event."""

ENOUGH = 6
"""Steps from which a typical one can be told."""

Mark = tuple[float, bool]
"""A value, NaN where it is missing, and whether it was flagged."""


def sparkline(marks: Sequence[Mark], width: int, style: str, least: float = 0.0, flagged: str = "bold red") -> Text:
    """The last `width` marks, right-aligned; a gap is a dot, a flagged mark has the style `flagged`.

    The height covers the values shown, `least`, or ten typical steps, whichever is most.

    >>> sparkline([(0.0, False), (7.0, False), (math.nan, False), (3.0, True)], 6, "green").plain
    '  ▁█·▄'
    """
    last = list(marks)[-width:]
    low, high = _scale([value for value, _ in last if not math.isnan(value)], least)
    text = Text(" " * (width - len(last)), no_wrap=True)
    drawn = [_glyph(mark, low, high, style, flagged) for mark in last]
    for look, run in groupby(drawn, key=lambda glyph: glyph[1]):
        text.append("".join(character for character, _ in run), look)
    return text


def _glyph(mark: Mark, low: float, high: float, style: str, flagged: str) -> tuple[str, str]:
    """A mark's character and style."""
    value, flag = mark
    if math.isnan(value):
        return GAP, flagged if flag else "dim"
    level = int((value - low) / (high - low) * len(BLOCKS))
    return BLOCKS[min(max(level, 0), len(BLOCKS) - 1)], flagged if flag else style


def _scale(values: list[float], least: float) -> tuple[float, float]:
    """The values of the lowest and the highest block."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    steps = sorted(abs(b - a) for a, b in pairwise(values))
    typical = steps[len(steps) // 2] if len(steps) >= ENOUGH else 0.0
    span = max(high - low, NOISE_SPANS * typical, least) or 1.0
    middle = (low + high) / 2.0
    return middle - span / 2.0, middle + span / 2.0
