"""One stream as `ctl stream` shows it to people, and how times are written for them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from .board import FLOAT32_DIGITS

__all__ = ["date", "portrait", "shortest"]

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

COUNTED_FROM_ZERO = 10**16
"""Times (ns) below this, four months into 1970, are those of a recording that counts from 0."""


def date(ns: int | None) -> str:
    """A time in ns as a date to the millisecond, UTC; as seconds where it counts from 0, a dash where there is none.

    >>> date(1_700_000_000_123_000_000), date(41_500_000_000), date(None)
    ('2023-11-14 22:13:20.123 UTC', '41.500 s', '-')
    """
    if ns is None:
        return "-"
    if abs(ns) < COUNTED_FROM_ZERO:
        return f"{ns / 1e9:.3f} s"
    try:
        when = EPOCH + timedelta(milliseconds=ns // 1_000_000)
    except OverflowError:  # int64 reaches beyond the year 9999 only if a clock is wrong
        return f"{ns} ns"
    return f"{when:%Y-%m-%d %H:%M:%S}.{when.microsecond // 1000:03d} UTC"


def portrait(facts: Mapping[str, Any]) -> RenderableType:
    """The reply to `stream`: its age and times, and a table of its last samples with what was made of them."""
    head = Table.grid(padding=(0, 2, 0, 0))
    head.add_column(style="bold", no_wrap=True)
    rows = (
        ("id", facts["id"]),
        ("samples", f"{facts['n']:,} since its state began"),
        ("epoch", str(facts["epoch"])),
        ("last time", date(facts["last_t"])),
        ("last receipt", date(facts["last_recv"])),
    )
    for name, value in rows:
        head.add_row(name, Text(value))
    samples = facts["x"]
    if not samples:
        return Group(head, Text("no samples are kept", "dim"))
    features = list(facts["features"])
    outputs = [f"y_{name}" for name in features]
    if len(facts["y"][0]) != len(features):
        outputs = [f"y{i}" for i in range(len(facts["y"][0]))]
    first = facts["n"] - len(samples) + 1
    rows_shown = [
        (str(first + i), *_cells(x), *_cells(y), f"{score:.2f}")
        for i, (x, y, score) in enumerate(zip(samples, facts["y"], facts["score"], strict=True))
    ]
    return Group(head, Text(), _Columns(("n", *features, *outputs, "score"), rows_shown))


class _Columns:
    """A table of numbers; columns for which a terminal has no room follow in a table below, after the first again."""

    def __init__(self, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self._columns = [(name, [row[i] for row in rows]) for i, name in enumerate(names)]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        numbers, *rest = self._columns
        while rest:
            taken, room = [numbers], options.max_width - _width(numbers)
            while rest and (len(taken) == 1 or _width(rest[0]) <= room):
                room -= _width(rest[0])
                taken.append(rest.pop(0))
            table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False, header_style="dim")
            for name, _ in taken:
                table.add_column(name, justify="right", no_wrap=True)
            for cells in zip(*(cells for _, cells in taken), strict=True):
                table.add_row(*cells)
            yield table
            if rest:
                yield Text()


def _width(column: tuple[str, list[str]]) -> int:
    """Characters of the widest cell, and one between this column and the next."""
    name, cells = column
    return max(map(cell_len, (name, *cells))) + 1


def _cells(values: Sequence[float | None]) -> list[str]:
    return ["--" if value is None else shortest(value) for value in values]


def shortest(value: float) -> str:
    """The fewest digits, up to seven, that give the same float32 again.

    >>> shortest(61826.5), shortest(97.0), shortest(0.10000000149011612), shortest(61826.73046875)
    ('61826.5', '97', '0.1', '61826.73')
    """
    for digits in range(1, FLOAT32_DIGITS):
        short = float(f"{value:.{digits}g}")
        if _float32(short) == _float32(value):
            return f"{short:.{FLOAT32_DIGITS}g}"
    return f"{value:.{FLOAT32_DIGITS}g}"


def _float32(value: float) -> bytes | None:
    try:
        return struct.pack("<f", value)
    except OverflowError:  # the largest float32, rounded up
        return None
