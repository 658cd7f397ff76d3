"""`streamrnn watch`: what a running daemon publishes, live."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import Timeout
from ..wire.endpoints import CONTROL, OUTPUTS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from ..client import Subscriber
    from ..wire.messages import Event, Flag, Output
    from .board import Board

__all__ = ["watch"]

FRAME_SECONDS = 0.2
"""Time between two drawings, and the longest wait for a message."""

ASK_SECONDS = 1.0
"""How long the daemon may take to tell the names of its channels."""

LOG_KEPT = 50
"""Lines of the log that are kept."""


def watch(
    prefix: Annotated[
        str, typer.Argument(metavar="[PREFIX]", help="Only streams whose ids begin so, like ward3/ or bed1.")
    ] = "",
    endpoint: Annotated[
        str, typer.Option(metavar="ENDPOINT", help="Where the daemon publishes its outputs.")
    ] = OUTPUTS,
    control: Annotated[
        str, typer.Option(metavar="ENDPOINT", help="Where the daemon can be asked for the names of channels.")
    ] = CONTROL,
    flags: Annotated[bool, typer.Option("--flags", help="Only flags, as they are raised and cleared.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a message, for programs.")] = False,
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, help="End after so many messages or lines.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.0, metavar="SECONDS", help="How long to wait for a daemon.")] = 10.0,
) -> int:
    """Show a running daemon's outputs, flags and events.

    A live table in a terminal; lines with --flags or where the output is no terminal. Ctrl-C ends it.

    Example: streamrnn watch ward3/ --flags
    """
    from rich.console import Console

    from ..client import Subscriber
    from .board import fits
    from .published import as_json, concerning

    console = Console(highlight=False)
    lines = flags or not fits(console)
    prefixes = [f"flag/{prefix}"]
    if not flags:
        prefixes.append("event/")
    if json or not lines:
        prefixes += [] if flags else [f"out/{prefix}", "block/"]
    with Subscriber(endpoint, prefixes, hwm=0) as subscriber:
        subscriber.wait(timeout)
        if json:
            for message in islice(concerning(prefix, subscriber), count):
                print(as_json(message), flush=True)
        elif lines:
            _print_lines(islice(concerning(prefix, subscriber), count), console)
        else:
            _show(subscriber, prefix, console, _board(control), f"streamrnn watch {endpoint}")
    return 0


def _print_lines(messages: Iterable[Output | Flag | Event], console: Console) -> None:
    from .published import as_line

    for message in messages:
        line = as_line(message)
        if line is not None:
            console.print(line, soft_wrap=True)


def _board(control: str) -> Board:
    """An empty board with the names of the model's outputs, if the daemon tells them."""
    from ..client import Control
    from .board import Board

    try:
        with Control(control, timeout=ASK_SECONDS, retries=0) as asking:
            model = asking.info()["model"]
    except Timeout:
        return Board(())
    forecasts = model.get("head", "forecast") == "forecast"  # the adaptive model of any width forecasts
    return Board(model.get("features") or () if forecasts else (), further="x" if forecasts else "y")


def _show(subscriber: Subscriber, prefix: str, console: Console, board: Board, title: str) -> None:
    """The live table, until Ctrl-C."""
    from rich.live import Live

    from ..wire.messages import Output
    from .published import as_line, concerning

    began = drawn = time.monotonic()
    samples = 0
    try:
        with Live(board, console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as view:
            while True:
                try:
                    arrived = [subscriber.recv(FRAME_SECONDS)]
                except Timeout:
                    arrived = []
                for message in concerning(prefix, arrived):
                    if isinstance(message, Output):
                        samples += 1
                        board.add(message.stream, message.y, message.score, message.flag, message.cause, message.t)
                    elif (line := as_line(message)) is not None:
                        board.log = [*board.log[-LOG_KEPT:], line]
                now = time.monotonic()
                if now - drawn >= FRAME_SECONDS:
                    drawn = now
                    board.heading = _heading(title, board, samples, now - began)
                    view.refresh()
    except KeyboardInterrupt:
        return


def _heading(title: str, board: Board, samples: int, seconds: float) -> Text:
    from rich.text import Text

    from .board import quantity

    flagged = sum(lane.flag for lane in board.lanes.values())
    return Text.assemble(
        (title, "bold"),
        f"  {quantity(len(board.lanes))} streams  {quantity(samples)} samples  {quantity(samples / seconds)}/s  ",
        (f"{flagged} flagged", "bold red" if flagged else "dim"),
        no_wrap=True,
        overflow="ellipsis",
    )
