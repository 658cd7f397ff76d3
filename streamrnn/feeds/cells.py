"""Columns and cells of a CSV file: where a column is, and what number a cell shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigError
from .times import TIME_NAME

__all__ = ["LARGEST", "MISSING", "NO_TIME", "POINTLESS", "index_of", "is_number", "number", "time_index"]

LARGEST = 3.4028235677973366e38
"""The smallest number that float32 rounds to infinity."""

POINTLESS = re.compile(r"[+-]?\d+,\d+")
"""A number with a decimal comma."""

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "-"})
"""What a cell says that has no value, in small letters."""

NO_TIME = "none"
"""What `--time` says when a file has no times."""


def index_of(path: Path, header: list[str], name: str) -> int:
    """The column of this name; ConfigError where there is none, or more than one."""
    if header.count(name) == 1:
        return header.index(name)
    if name in header:
        raise ConfigError(f"{path} has {header.count(name)} columns named {name!r}: rename all but one")
    raise ConfigError(f"{path} has no column {name!r}: it has {', '.join(header)}")


def time_index(path: Path, header: list[str], time: str | None, columns: Sequence[str] | None) -> int | None:
    """The column of times: the one that is named, else one whose name says so and that is no channel."""
    if time == NO_TIME:
        return None
    if time is not None:
        return index_of(path, header, time)
    found = [i for i, name in enumerate(header) if TIME_NAME.fullmatch(name)]
    return found[0] if found and (columns is None or header[found[0]] not in columns) else None


def is_number(cell: str) -> bool:
    """Whether a cell shows a number."""
    try:
        number(cell)
    except ValueError:
        return False
    return True


def number(cell: str) -> float:
    """The number that a cell shows; 1_000 is one in Python and a mistake in a file."""
    if "_" in cell:
        raise ValueError(cell)
    return float(cell)
