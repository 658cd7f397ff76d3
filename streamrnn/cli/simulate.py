"""`streamrnn simulate`: a simulated ward, market or chat as a CSV file, to try the other commands on."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError
from .notice import count, say
from .options import ForceOption

if TYPE_CHECKING:
    from ..simulate import Feed

__all__ = ["simulate"]


def simulate(
    scene: Annotated[str, typer.Argument(metavar="[SCENE]", help="ward, market or chat (tokens).")] = "ward",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="OUT", help="A .csv file; else CSV on stdout.")
    ] = None,
    force: ForceOption = False,
    streams: Annotated[
        int,
        typer.Option(
            "--streams", "--beds", min=1, max=1000, help="Beds, symbols or users; with several a column names them."
        ),
    ] = 1,
    seconds: Annotated[float, typer.Option(min=60.0, max=1e6, help="How much time is simulated.")] = 1800.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same file.")] = 0,
) -> int:
    """Write a simulated ward, market or chat as CSV.

    The faults that the simulation puts in are listed on stderr, to compare with what is flagged.

    Example: streamrnn simulate ward -o vitals.csv
    """
    from ..simulate import chat, market, ward
    from .tables import check_output

    makers: dict[str, Callable[..., Feed]] = {"ward": ward, "market": market, "chat": chat}
    if scene not in makers:
        raise ConfigError(f"there is no scene {scene!r}: choose {' or '.join(makers)}")
    if output is not None:
        check_output(output, (), force, (".csv",))
    calm = min(300.0, seconds / 4.0)
    feed = makers[scene](streams, seconds=seconds, seed=seed, calm=calm)
    _write(feed, output)
    for fault in feed.faults:
        channels = ", ".join(fault.channels)
        say(f"put in: {fault.kind} of {fault.stream} ({channels}) from {_iso(fault.start_ns)} to {_iso(fault.end_ns)}")
    if output is not None:
        say(f"{count(len(feed), 'sample')} of {count(len(feed.streams), 'stream')} written to {output}")
    return 0


def _write(feed: Feed, path: Path | None) -> None:
    with ExitStack() as close:
        file = sys.stdout if path is None else close.enter_context(path.open("w", encoding="utf-8", newline=""))
        out = csv.writer(file, lineterminator="\n")
        several = len(feed.streams) > 1
        out.writerow(["time", *(["stream"] if several else []), *feed.channels])
        for t, stream, x in feed.rows():
            # A channel that is missing is an empty cell.
            cells = ["" if value != value else f"{value:.9g}" for value in x]  # noqa: PLR0124
            out.writerow([_iso(t), *([stream] if several else []), *cells])


def _iso(ns: int) -> str:
    """The time in ISO 8601, UTC, to the nanosecond where it is no whole second."""
    seconds, rest = divmod(ns, 10**9)
    whole = datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{rest:09d}Z" if rest else f"{whole}Z"
