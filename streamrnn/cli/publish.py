"""`streamrnn publish`: recordings as a live feed."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import ConfigError
from ..feeds import Recording
from ..wire.endpoints import INGEST, OUTPUTS
from .notice import count, say, say_skipped
from .options import (
    ColumnsOption,
    DecimalCommaOption,
    EncodingOption,
    FilesArgument,
    SkipBadRowsOption,
    StreamColumnOption,
    StreamOption,
    TimeFormatOption,
    TimeOption,
    TimeUnitOption,
    WhereOption,
    layout_of,
)
from .pace import Rate

__all__ = ["publish"]

MAX_TOKENS = 65_536
"""As many as a model may have."""


def publish(
    files: FilesArgument,
    endpoint: Annotated[str, typer.Option(metavar="ENDPOINT", help="Where the daemon takes samples in.")] = INGEST,
    outputs: Annotated[
        str | None,
        typer.Option(
            metavar="ENDPOINT",
            help="Where the daemon answers. Default: its usual endpoint, if --endpoint is not given; else unchecked.",
        ),
    ] = None,
    rate: Annotated[
        str, typer.Option(metavar="RATE", help="1x, 10x (times as recorded), 200/s (samples) or max.")
    ] = "1x",
    stream: StreamOption = None,
    stream_column: StreamColumnOption = None,
    time: TimeOption = None,
    time_unit: TimeUnitOption = None,
    columns: ColumnsOption = None,
    where: WhereOption = None,
    encoding: EncodingOption = "utf-8",
    decimal_comma: DecimalCommaOption = False,
    time_format: TimeFormatOption = None,
    skip_bad_rows: SkipBadRowsOption = False,
    tokens: Annotated[
        bool, typer.Option("--tokens", help="The one column holds tokens, whole numbers, for a model of them.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="How long to wait for a daemon, at first and in between.")
    ] = 10.0,
) -> int:
    """Play CSV files as live feeds.

    All files are played at once, in the order of their times. At the end it says how many samples
    the daemon answered and which it refused; exit status 1 unless it answered all.

    Example: streamrnn publish bed1.csv --stream bed1 --time time_s --columns hr,spo2 --rate 10x
    """
    from .delivery import Delivery
    from .progress import tracked

    speed = Rate.parse(rate)
    layout = layout_of(
        streams=stream,
        stream_column=stream_column,
        time=time,
        time_unit=time_unit,
        columns=columns,
        where=where,
        encoding=encoding,
        decimal_comma=decimal_comma,
        time_format=time_format,
        skip_bad_rows=skip_bad_rows,
        tokens=MAX_TOKENS if tokens else 0,
    )
    listen = outputs if outputs is not None else OUTPUTS if endpoint == INGEST else None
    with (
        Recording(files, layout) as recording,
        Delivery(endpoint, listen, recording.streams, speed, timeout, tokens) as way,
    ):
        way.pace.check(recording.timed)
        if tokens and len(recording.columns) != 1:
            raise ConfigError(f"--tokens is about one column, and there are {', '.join(recording.columns)}: --columns")
        try:
            way.play(tracked(recording.rows(), recording, "publishing"))
        except KeyboardInterrupt:
            say(f"interrupted: {count(way.sent, 'sample')} sent")
            raise
        say_skipped(recording.skipped, recording.first_skipped)
        say(way.report())
    return 0
