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

    kinds = ("flag", "event") if flags else ("out", "flag", "event")
    prefixes = [f"{kind}/" if kind == "event" else f"{kind}/{prefix}" for kind in kinds]
    if not flags:
        prefixes.append("block/")
    console = Console(highlight=False)
    with Subscriber(endpoint, prefixes=prefixes) as subscriber:
        messages = (message for message in _messages(subscriber) if message is None or _concerns(message, prefix))
        if json:
            _print_json(messages, count)
        elif flags or not fits(console):
            _print_lines(messages, count, console)
        else:
            _show(messages, console, endpoint)
    return 0
