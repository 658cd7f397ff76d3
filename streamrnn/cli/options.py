"""Options that several commands share, and what their text means."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from ..errors import ConfigError
from ..feeds import Layout
from ..feeds.times import UNITS

__all__ = [
    "ColumnsOption",
    "DecimalCommaOption",
    "EncodingOption",
    "FilesArgument",
    "ForceOption",
    "ModelOption",
    "OutputsOption",
    "SkipBadRowsOption",
    "StreamColumnOption",
    "StreamOption",
    "TimeFormatOption",
    "TimeOption",
    "TimeUnitOption",
    "WhereOption",
    "layout_of",
    "settings_of",
]

ForceOption = Annotated[bool, typer.Option("--force", "-f", help="Replace the file of -o if it is there.")]
FilesArgument = Annotated[
    list[Path],
    typer.Argument(metavar="FILE...", help="CSV files, gzipped or not, with a line of names; - is stdin."),
]
StreamOption = Annotated[
    list[str] | None,
    typer.Option("--stream", metavar="ID", help="Each file's stream, in order. Default: its name."),
]
StreamColumnOption = Annotated[
    str | None,
    typer.Option("--stream-column", metavar="NAME", help="The column that names the stream."),
]
TimeOption = Annotated[
    str | None,
    typer.Option(
        "--time",
        metavar="NAME",
        help="The column of times, or 'none'. Default: one called time, timestamp, time_s, local_ns, ...",
    ),
]
TimeUnitOption = Annotated[
    str | None,
    typer.Option(
        "--time-unit",
        metavar="UNIT",
        help="s, ms, us, ns or iso. Default: the column's name, or the size of its numbers, tells. "
        "A date without a zone is UTC.",
    ),
]
TimeFormatOption = Annotated[
    str | None,
    typer.Option("--time-format", metavar="FORMAT", help="How dates are written, as in '%d/%m/%Y %H:%M:%S'."),
]
EncodingOption = Annotated[
    str, typer.Option("--encoding", metavar="NAME", help="The files' encoding, such as latin-1.")
]
DecimalCommaOption = Annotated[
    bool, typer.Option("--decimal-comma", help="Numbers are written like 36,6, and cells end with ; or a tab.")
]
SkipBadRowsOption = Annotated[
    bool, typer.Option("--skip-bad-rows", help="Leave out rows that cannot be read, and say how many.")
]
ColumnsOption = Annotated[
    str | None,
    typer.Option("--columns", metavar="A,B,...", help="The columns of values. Default: all others."),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="NAME=VALUE", help="Only rows with this cell; may be given again."),
]
ModelOption = Annotated[
    str,
    typer.Option("--model", metavar="MODEL", help="A model file, 'vitals', 'text', or 'adaptive'."),
]
OutputsOption = Annotated[
    str, typer.Option("--endpoint", metavar="ENDPOINT", help="Where the daemon publishes its outputs.")
]


def layout_of(
    *,
    streams: list[str] | None = None,
    stream_column: str | None = None,
    time: str | None = None,
    time_unit: str | None = None,
    columns: str | None = None,
    where: list[str] | None = None,
    encoding: str = "utf-8",
    decimal_comma: bool = False,
    time_format: str | None = None,
    skip_bad_rows: bool = False,
    tokens: int = 0,
) -> Layout:
    """The options' text as a `Layout`; ConfigError for what cannot be meant."""
    if time_unit is not None and time_unit not in UNITS:
        raise ConfigError(f"--time-unit {time_unit!r} is none of {', '.join(UNITS)}")
    if time_format is not None and time_unit is not None:
        raise ConfigError("--time-unit and --time-format both say how times are written: give one of them")
    try:
        encoding = codecs.lookup(encoding).name
        "".encode(encoding)  # which is no encoding of text raises LookupError here
    except LookupError:
        raise ConfigError(f"--encoding {encoding!r} is not known: utf-8, latin-1, cp1252 and utf-16 are") from None
    names = None if columns is None else tuple(name.strip() for name in columns.split(",") if name.strip())
    if names == ():
        raise ConfigError("--columns names no column: write it like --columns hr,spo2")
    pairs = []
    for condition in where or []:
        name, equals, value = condition.partition("=")
        if not equals:
            raise ConfigError(f"--where {condition!r}: write it like --where kind=quote")
        pairs.append((name.strip(), value.strip()))
    return Layout(
        time=time,
        unit=time_unit,
        columns=names,
        streams=tuple(streams or ()),
        stream_column=stream_column,
        where=tuple(pairs),
        encoding=encoding,
        decimal_comma=decimal_comma,
        time_format=time_format,
        skip_bad_rows=skip_bad_rows,
        tokens=tokens,
    )


def settings_of(name: str, pairs: Iterable[str]) -> dict[str, float]:
    """Numbers by name, of an option that is given as NAME=VALUE, again and again; ConfigError for what is none.

    >>> settings_of("--detector", ["hold=40", "level = 0"])
    {'hold': 40.0, 'level': 0.0}
    """
    found: dict[str, float] = {}
    for pair in pairs:
        key, _, text = (part.strip() for part in pair.partition("="))
        if key in found:
            raise ConfigError(f"{name} {key} is given twice: give it once")
        try:
            found[key] = float(text)
        except ValueError:
            raise ConfigError(f"{name} {pair!r:.60} names no number: write it like {name} hold=40") from None
    return found
