"""One stream as `ctl stream` shows it to people, and how times are written for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .board import number

__all__ = ["date", "portrait"]

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
    table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False, header_style="dim")
    for name in ("n", *features, *outputs, "score"):
        table.add_column(name, justify="right", no_wrap=True)
    first = facts["n"] - len(samples) + 1
    for i, (x, y, score) in enumerate(zip(samples, facts["y"], facts["score"], strict=True)):
        table.add_row(str(first + i), *_cells(x), *_cells(y), f"{score:.2f}")
    return Group(head, Text(), table)


def _cells(values: Sequence[float | None]) -> list[str]:
    return ["--" if value is None else number(value) for value in values]
