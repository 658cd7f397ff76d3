"""`streamrnn publish`: recordings as a live feed."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..errors import Timeout
from ..wire.endpoints import INGEST
from .feeds import Recording
from .options import (
    ColumnsOption,
    FilesArgument,
    StreamColumnOption,
    StreamOption,
    TimeOption,
    TimeUnitOption,
    WhereOption,
    layout_of,
)
from .pace import Pace, Rate

__all__ = ["publish"]


def publish(
    files: FilesArgument,
    endpoint: Annotated[str, typer.Option(metavar="ENDPOINT", help="Where the daemon takes samples in.")] = INGEST,
    rate: Annotated[
        str, typer.Option(metavar="RATE", help="1x, 10x (times as recorded), 200/s (samples) or max.")
    ] = "1x",
    stream: StreamOption = None,
    stream_column: StreamColumnOption = None,
    time: TimeOption = None,
    time_unit: TimeUnitOption = None,
    columns: ColumnsOption = None,
    where: WhereOption = None,
    timeout: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="How long to wait for a daemon to listen.")
    ] = 10.0,
) -> int:
    """Play CSV files as live feeds.

    All files are played at once, in the order of their times.

    Example: streamrnn publish bed1.csv --stream bed1 --time time_s --columns hr,spo2 --rate 10x
    """
    from ..client import Publisher
    from .progress import tracked

    pace = Pace(Rate.parse(rate))
    layout = layout_of(
        streams=stream,
        stream_column=stream_column,
        time=time,
        time_unit=time_unit,
        columns=columns,
        where=where,
    )
    with Recording(files, layout) as recording, Publisher(endpoint) as publisher:
        pace.check(recording.timed)
        try:
            publisher.wait(timeout)
        except Timeout:
            raise Timeout(
                f"nobody listens at {endpoint} after {timeout:g} s: start a daemon with streamrnn serve"
            ) from None
        sent = 0
        for row in tracked(recording.rows(), recording, "publishing"):
            pace.wait(row.t)
            publisher.send(row.stream, row.x, t=row.t)
            sent += 1
    print(f"{sent} samples sent", file=sys.stderr)
    return 0
