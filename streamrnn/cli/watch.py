"""`streamrnn watch`: what a running daemon publishes, live."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from ..wire.endpoints import OUTPUTS

__all__ = ["watch"]

FRAME_SECONDS = 0.2
"""Time between two drawings, and the longest wait for a message."""

LOG_KEPT = 50
"""Lines of the log that are kept."""


def watch(
    prefix: Annotated[
        str, typer.Argument(metavar="[PREFIX]", help="Only streams whose ids begin so, like ward3/ or bed1.")
    ] = "",
    endpoint: Annotated[
        str, typer.Option(metavar="ENDPOINT", help="Where the daemon publishes its outputs.")
    ] = OUTPUTS,
    flags: Annotated[bool, typer.Option("--flags", help="Only flags, as they are raised and cleared.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a message, for programs.")] = False,
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, help="End after so many messages; for --json and --flags.")
    ] = None,
) -> int:
    """Show a running daemon's outputs, flags and events.

    A live table in a terminal; lines with --flags or where the output is no terminal. Ctrl-C ends it.

    Example: streamrnn watch ward3/ --flags
    """
    from rich.console import Console

    from ..client import Subscriber
    from .board import fits

    kinds = ("flag",) if flags else ("out", "flag")
    prefixes = [f"{kind}/{prefix}" for kind in kinds] + ["event/"]
    if not flags:
        prefixes.append("block/")
    console = Console(highlight=False)
    with Subscriber(endpoint, prefixes=prefixes) as subscriber:
        messages = _concerning(prefix, subscriber)
        if json:
            _print_json(islice(messages, count))
        elif flags or not fits(console):
            _print_lines(islice(messages, count), console)
        else:
            _show(subscriber, prefix, console, f"streamrnn watch {endpoint}")
    return 0


def _concerning(prefix: str, messages: Iterable[Published]) -> Iterator[Published]:
    """Single outputs, flags and events of streams that begin with `prefix`; a block's rows become outputs."""
    from ..wire.messages import BlockOutput

    for message in messages:
        for single in _rows(message) if isinstance(message, BlockOutput) else (message,):
            if single.stream is None or single.stream.startswith(prefix):
                yield single


def _rows(block: BlockOutput) -> Iterator[Output]:
    """The rows of a block as outputs; a block does not say how many samples came before, nor causes."""
    from ..wire.messages import Output

    for i, stream in enumerate(block.streams):
        yield Output(
            stream=stream,
            t=block.t[i],
            y=list(block.row(i)),
            score=block.score[i],
            flag=bool(block.flag[i]),
            n=0,
            epoch=0,
            seq=None if block.seq is None else block.seq[i],
            recv=block.recv,
            sent=block.sent,
        )


def _print_json(messages: Iterable[Published]) -> None:
    """One object a line; `type` is out, flag or event."""
    from dataclasses import asdict
    from json import dumps

    for message in messages:
        facts = {"type": _type(message), **asdict(message)}
        print(dumps({name: value for name, value in facts.items() if value is not None}), flush=True)


def _print_lines(messages: Iterable[Published], console: Console) -> None:
    """Flags and events, a line each; outputs without a flag change are too many to read."""
    for message in messages:
        line = _line(message)
        if line is not None:
            console.print(line, soft_wrap=True)


def _type(message: Published) -> str:
    return {"Output": "out", "Flag": "flag", "Event": "event"}[type(message).__name__]


def _line(message: Published) -> Text | None:
    from rich.text import Text

    from ..wire.messages import Event, Flag

    if isinstance(message, Flag):
        style = "bold red" if message.edge == "raised" else "green"
        mark = "▲" if message.edge == "raised" else "▽"
        cause = f" {message.cause}" if message.cause else ""
        line = Text.assemble((_time(message.t), "dim"), f" {message.stream} ", (f"{mark} {message.edge}{cause}", style))
        return line.append(f"  score {message.score:.1f}", "dim")
    if isinstance(message, Event):
        facts = " ".join(f"{name}={value}" for name, value in message.data.items())
        return Text.assemble((_time(message.at), "dim"), f" {message.stream or 'daemon'} ", (message.kind, "cyan"), f" {facts}")
    return None


def _time(ns: int | None) -> str:
    """UTC of a time in ns."""
    if ns is None:
        return "--:--:--"
    return (datetime(1970, 1, 1) + timedelta(microseconds=ns // 1000)).strftime("%H:%M:%S")


def _show(subscriber: Subscriber, prefix: str, console: Console, title: str) -> None:
    """The live table, until Ctrl-C."""
    from rich.live import Live

    from ..wire.messages import Output
    from .board import Board

    board = Board(())
    began = last = time.monotonic()
    samples = 0
    try:
        with Live(board, console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as view:
            while True:
                message = subscriber.receive(FRAME_SECONDS)
                for single in _concerning(prefix, [] if message is None else [message]):
                    if isinstance(single, Output):
                        samples += 1
                        board.add(single.stream, single.y, single.score, single.flag, single.cause, single.t)
                    elif (line := _line(single)) is not None:
                        board.log = [*board.log[-LOG_KEPT:], line]
                now = time.monotonic()
                if now - last >= FRAME_SECONDS:
                    last = now
                    board.heading = _heading(title, board, samples, now - began)
                    view.refresh()
    except KeyboardInterrupt:
        return


def _heading(title: str, board: Board, samples: int, seconds: float) -> Text:
    flagged = sum(lane.flag for lane in board.lanes.values())
    return Text.assemble(
        (title, "bold"),
        f"  {quantity(len(board.lanes))} streams  {quantity(samples)} samples  {quantity(samples / seconds)}/s  ",
        (f"{flagged} flagged", "bold red" if flagged else "dim"),
        no_wrap=True,
        overflow="ellipsis",
    )
