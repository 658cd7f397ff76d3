"""A progress bar on stderr for long work; nothing where stderr is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from ..feeds import Recording
from .board import quantity

__all__ = ["tracked"]

Item = TypeVar("Item")

EVERY = 0.1
"""Seconds between two updates."""


def tracked(rows: Iterable[Item], recording: Recording, doing: str) -> Iterator[Item]:
    """Pass the rows of `recording` on, and show how much of its files was read, and the rows a second."""
    if not sys.stderr.isatty():
        yield from rows
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[done]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=recording.bytes_total or None, done="")
        began = last = time.monotonic()
        for count, row in enumerate(rows, start=1):
            yield row
            if count % 64 == 0 and time.monotonic() - last > EVERY:
                last = time.monotonic()
                done = f"{quantity(count)} rows, {quantity(count / (last - began))}/s"
                bar.update(task, completed=recording.bytes_read, done=done)
