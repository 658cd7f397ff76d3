"""The times of a CSV file as nanoseconds since the Unix epoch, exactly."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal

from ..errors import ConfigError

__all__ = ["TIME_NAME", "UNITS", "TimeParser", "time_parser"]

TimeParser = Callable[[str], int]

UNITS = ("s", "ms", "us", "ns", "iso")

TIME_NAME = re.compile(
    r"(t|ts|date|datetime|(event_?|local_?|utc_?)?time(stamp)?|local|utc)(_(s|sec|seconds|ms|us|ns))?",
    re.IGNORECASE,
)
"""Names of columns that are taken for the time when nobody says which it is."""

DIGITS = {"s": 9, "ms": 6, "us": 3, "ns": 0}
"""Decimal places from each unit down to the nanosecond."""

MAGNITUDE = ((10**11, "s"), (10**14, "ms"), (10**17, "us"))
"""A number below the bound is in this unit: so read, the years 1973 to 5138 never look like another unit."""

ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,9}))?\s*(Z|[+-]\d\d:?\d\d)?)?", re.IGNORECASE
)

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def time_parser(name: str, unit: str | None, first: str, form: str | None = None) -> TimeParser:
    """What turns the cells of column `name` into ns; without a `unit` the name or the `first` cell decides.

    `form` is a format of `datetime.strptime`, and then decides alone.

    >>> time_parser("time_s", None, "0")("1.000000001")
    1000000001
    >>> time_parser("timestamp", None, "2014-04-01 00:00:00")("1970-01-01 00:01")
    60000000000
    """
    if form is not None:
        return lambda cell: _ns(datetime.strptime(cell.strip(), form))
    if unit is None:
        ending = re.search(r"_(s|sec|seconds|ms|us|ns)$", name.lower())
        if ending:
            unit = ending[1] if ending[1] in DIGITS else "s"
        elif ISO.fullmatch(first.strip()):
            unit = "iso"
        else:
            unit = _by_magnitude(first)
    if unit == "iso":
        return _iso_ns
    if unit not in DIGITS:
        raise ConfigError(f"the time unit {unit!r} is none of {', '.join(UNITS)}")
    digits = DIGITS[unit]

    def scaled(cell: str) -> int:
        return _in_range(int(_decimal(cell).scaleb(digits).to_integral_value()))

    return scaled


def _decimal(cell: str) -> Decimal:
    """The number that a cell shows; 1_000 is one in Python and a mistake in a file."""
    if "_" in cell:
        raise ValueError(cell)
    return Decimal(cell.strip())


def _by_magnitude(cell: str) -> str:
    try:
        size = abs(_decimal(cell))
        return next((unit for bound, unit in MAGNITUDE if size < bound), "ns")
    except (ValueError, ArithmeticError):
        raise ConfigError(
            f"{cell!r} is neither a number nor a date like 2014-04-01 00:00:00; "
            "for another way to write dates give it, as in --time-format '%d/%m/%Y %H:%M'"
        ) from None


def _ns(when: datetime) -> int:
    """A date and time of Python; without a zone it is UTC."""
    whole = when if when.tzinfo is not None else when.replace(tzinfo=timezone.utc)
    return _in_range((whole - EPOCH) // timedelta(microseconds=1) * 1000)


def _iso_ns(cell: str) -> int:
    """A date and time; without a zone it is UTC."""
    match = ISO.fullmatch(cell.strip())
    if match is None:
        raise ValueError(cell)
    date, clock, fraction, zone = match.groups()
    when = datetime.fromisoformat(f"{date} {clock or '00:00'}").replace(tzinfo=timezone.utc)
    if zone and zone.upper() != "Z":
        minutes = 60 * int(zone[1:3]) + int(zone[-2:])
        when -= timedelta(minutes=-minutes if zone[0] == "-" else minutes)
    microseconds = (when - EPOCH) // timedelta(microseconds=1)
    return _in_range(microseconds * 1000 + int((fraction or "0").ljust(9, "0")))


def _in_range(ns: int) -> int:
    if not -(2**63) <= ns < 2**63:
        raise ValueError(f"{ns} ns is outside of 64 bits")
    return ns
