"""`streamrnn watch`: what a running daemon publishes, live."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import Timeout
from ..wire.endpoints import CONTROL, OUTPUTS
from .notice import say, wait_for_daemon

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from ..client import Subscriber
    from ..wire.messages import Published
    from .board import Board

__all__ = ["watch"]

FRAME_SECONDS = 0.2
"""Time between two drawings, and the longest wait for a message."""

ASK_SECONDS = 1.0
"""How long the daemon may take to tell the names of its channels."""

RATE_SECONDS = 5.0
"""The rate in the heading is that of so many seconds."""

CAPTION = "each channel's next value as forecast; ? its value was missing now"

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
    The values in the table are the model's outputs: for a model that forecasts, each channel's next value.
    What was measured is not published; streamrnn ctl stream shows a stream's last samples.

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
        wait_for_daemon(subscriber.wait, endpoint, timeout)
        if json:
            features = () if flags else _model(control)[0]
            for message in islice(concerning(prefix, _unending(subscriber, endpoint)), count):
                print(as_json(message, features), flush=True)
        elif lines:
            _print_lines(subscriber, endpoint, prefix, console, count)
        else:
            _show(subscriber, prefix, console, _board(control), f"streamrnn watch {endpoint}")
    return 0


def _unending(subscriber: Subscriber, endpoint: str) -> Iterator[Published]:
    """The messages, for ever; says on stderr when the connection is lost and when it is back."""
    for message in _ticking(subscriber, endpoint):
        if message is not None:
            yield message


def _ticking(subscriber: Subscriber, endpoint: str) -> Iterator[Published | None]:
    """The messages, and None where none came for the time of a frame."""
    lost = False
    while True:
        try:
            yield subscriber.recv(FRAME_SECONDS)
            continue
        except Timeout:
            yield None
        if subscriber.connected == lost:
            lost = not lost
            say(f"connection to {endpoint} lost; waiting for the daemon" if lost else "connected again")


def _print_lines(subscriber: Subscriber, endpoint: str, prefix: str, console: Console, count: int | None) -> None:
    """At most `count` lines for people, those that repeat each other folded."""
    from .published import Folded, concerning

    folded, told = Folded(), 0
    try:
        for tick in _ticking(subscriber, endpoint):
            now = time.monotonic()
            lines = folded.due(now)
            for message in concerning(prefix, [] if tick is None else [tick]):
                lines += folded.lines(message, now)
            for line in lines:
                console.print(line, soft_wrap=True)
                told += 1
                if told == count:
                    return
    except KeyboardInterrupt:
        for line in folded.rest():
            console.print(line, soft_wrap=True)
        raise


def _model(control: str) -> tuple[tuple[str, ...], bool]:
    """The names of the values that the model forecasts, as far as the daemon tells them, and whether it does."""
    from ..client import Control

    try:
        with Control(control, timeout=ASK_SECONDS, retries=0) as asking:
            model = asking.info()["model"]
    except Timeout:
        return (), False
    # The adaptive model of any width forecasts. What is forecast of tokens is their probabilities.
    if model.get("head", "forecast") != "forecast" or model.get("tokens"):
        return (), False
    return tuple(model.get("outputs") or model.get("features") or ()), True


def _board(control: str) -> Board:
    """An empty board with the names of the model's outputs, if the daemon tells them."""
    from .board import Board

    names, forecasts = _model(control)
    board = Board(names, further="x" if forecasts else "y")
    board.caption = CAPTION if forecasts else ""
    return board


def _show(subscriber: Subscriber, prefix: str, console: Console, board: Board, title: str) -> None:
    """The live table, until Ctrl-C."""
    from rich.live import Live

    from ..wire.messages import Event, Output
    from .published import Folded, concerning

    folded, drawn = Folded(), time.monotonic()
    recent = deque([(drawn, 0)], maxlen=round(RATE_SECONDS / FRAME_SECONDS))
    samples = 0
    with Live(board, console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as view:
        while True:
            try:
                arrived = [subscriber.recv(FRAME_SECONDS)]
            except Timeout:
                arrived = []
            now = time.monotonic()
            board.log += folded.due(now)
            for message in concerning(prefix, arrived):
                if isinstance(message, Output):
                    samples += 1
                    board.add(
                        message.stream, message.y, message.score, message.flag, message.cause, message.t,
                        message.missing,
                    )  # fmt: skip
                    continue
                if isinstance(message, Event) and message.kind == "evicted" and message.stream is not None:
                    board.remove(message.stream)
                board.log += folded.lines(message, now)
            if now - drawn >= FRAME_SECONDS:
                drawn = now
                board.log = board.log[-LOG_KEPT:]
                began, before = recent[0]
                recent.append((now, samples))
                rate = (samples - before) / max(now - began, FRAME_SECONDS)
                board.heading = _heading(title, board, samples, rate if subscriber.connected else None)
                view.refresh()


def _heading(title: str, board: Board, samples: int, rate: float | None) -> Text:
    """One line; `rate` in samples a second is None while there is no connection."""
    from rich.text import Text

    from .board import quantity

    flagged = sum(lane.flag for lane in board.lanes.values())
    pace = ("connection lost", "bold red") if rate is None else (f"{quantity(rate)}/s", "")
    return Text.assemble(
        (title, "bold"),
        f"  {quantity(len(board.lanes))} streams  {quantity(samples)} samples  ",
        pace,
        "  ",
        (f"{flagged} flagged", "bold red" if flagged else "dim"),
        no_wrap=True,
        overflow="ellipsis",
    )
