"""`streamrnn demo`: a daemon, a simulated ward and a live view in one terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import ConfigError
from .options import (
    ColumnsOption,
    DecimalCommaOption,
    EncodingOption,
    ModelOption,
    SkipBadRowsOption,
    StreamColumnOption,
    TimeFormatOption,
    TimeOption,
    TimeUnitOption,
    WhereOption,
    layout_of,
)

__all__ = ["demo"]


def demo(
    seconds: Annotated[float, typer.Option(min=1.0, help="How long it plays.")] = 60.0,
    scene: Annotated[str | None, typer.Option(show_default="ward", help="What is simulated: ward or market.")] = None,
    beds: Annotated[
        int | None, typer.Option("--beds", "--streams", min=1, max=1000, help="How many beds or symbols.")
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(min=0.1, help="Times faster than time. Default: what shows 20 minutes, at least 10."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, show_default="0", help="The same seed plays the same feed.")
    ] = None,
    model: ModelOption = "adaptive",
    feed: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Play this CSV file instead; may be given again."),
    ] = None,
    columns: ColumnsOption = None,
    time: TimeOption = None,
    time_unit: TimeUnitOption = None,
    stream_column: StreamColumnOption = None,
    where: WhereOption = None,
    encoding: EncodingOption = "utf-8",
    decimal_comma: DecimalCommaOption = False,
    time_format: TimeFormatOption = None,
    skip_bad_rows: SkipBadRowsOption = False,
    headless: Annotated[bool, typer.Option("--headless", help="Plain lines instead of the live view.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Only the summary, as one JSON object.")] = False,
    svg: Annotated[
        Path | None, typer.Option(hidden=True, help="Write a picture of the busiest moment here, as SVG.")
    ] = None,
) -> int:
    """Watch a daemon find what goes wrong on a simulated ward.

    Starts a daemon of its own and plays the ward into it through ZeroMQ.
    Every flag is judged against the faults that the simulation put in. Ctrl-C ends early, with the summary.

    With --model vitals, monitors show what that network was trained on.

    Example: streamrnn demo --seconds 30
    """
    from .models import ADAPTIVE, check_width, load
    from .picture import Picture
    from .scenes import recorded, shown_on_a_ward, simulated
    from .stage import Stage

    chosen = None if model == ADAPTIVE else load(model)
    if feed:
        simulation = {"--scene": scene, "--beds": beds, "--seed": seed}
        meant = [name for name, value in simulation.items() if value is not None]
        if meant:
            raise ConfigError(f"{' and '.join(meant)} would change a simulation, and --feed plays files: leave one out")
        layout = layout_of(
            time=time,
            time_unit=time_unit,
            columns=columns,
            stream_column=stream_column,
            where=where,
            encoding=encoding,
            decimal_comma=decimal_comma,
            time_format=time_format,
            skip_bad_rows=skip_bad_rows,
        )
        what = recorded(feed, layout, seconds, speed)
    else:
        features = None if chosen is None else chosen.spec.features
        known = features is not None and shown_on_a_ward(features)
        what = simulated(scene or "ward", beds, seconds, speed, seed or 0, features if known else None)
    if chosen is not None:
        check_width(chosen, what.channels)
    arguments = ["--features", ",".join(what.channels)] if model == ADAPTIVE else [model]
    facts = {"model": model, "seed": None if feed else seed or 0, "speed": what.rate.speed}
    stage = Stage(what, seconds, arguments, facts, None if svg is None else Picture(svg))
    return stage.run(live=not headless and not json, as_json=json)
