"""`streamrnn ctl`: ask a running daemon, and tell it what to do."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from ..wire.endpoints import CONTROL

__all__ = ["ctl"]

ctl = typer.Typer(
    help="Ask a running daemon, and tell it what to do.",
    epilog="Example: streamrnn ctl info",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

EndpointOption = Annotated[
    str, typer.Option("--control", "--endpoint", metavar="ENDPOINT", help="The daemon's control endpoint.")
]
TimeoutOption = Annotated[float, typer.Option(min=0.01, metavar="SECONDS", help="How long to wait for a reply.")]
JsonOption = Annotated[bool, typer.Option("--json", help="The reply as JSON.")]
StreamArgument = Annotated[str, typer.Argument(metavar="STREAM", help="A stream's id.")]


TIMES = ("now", "started", "last_t", "last_recv")
"""Keys whose values are times in ns."""


def _ask(endpoint: str, timeout: float, op: str, *args: object) -> Any:
    from ..client import Control

    with Control(endpoint, timeout=timeout, retries=0) as control:
        return getattr(control, op)(*args)


def _print(reply: Any, as_json: bool) -> None:
    if as_json:
        print(json.dumps(reply))
        return
    from rich.console import Console

    Console(highlight=False, soft_wrap=True).print("\n".join(_lines(reply)), markup=False)


def _lines(value: Any, indent: str = "") -> list[str]:
    """Nested values for people, a line for each."""
    lines: list[str] = []
    for key, item in value.items():
        if isinstance(item, dict) and item:
            lines += [f"{indent}{key}", *_lines(item, indent + "  ")]
        elif isinstance(item, list) and item and isinstance(item[0], dict):
            for i, entry in enumerate(item):
                lines += [f"{indent}{key} {i + 1}", *_lines(entry, indent + "  ")]
        else:
            lines.append(f"{indent}{key:<16} {_time(item) if key in TIMES else _shown(item)}")
    return lines


def _time(item: object) -> str:
    from .portrait import date

    return date(item if isinstance(item, int) else None)


def _shown(item: object) -> str:
    if isinstance(item, list):
        return ", ".join(map(_shown, item)) or "-"
    if isinstance(item, float):
        return f"{item:.6g}"
    return "-" if item is None or item in ({}, "") else str(item)


@ctl.command()
def ping(control: EndpointOption = CONTROL, timeout: TimeoutOption = 5.0, json: JsonOption = False) -> None:
    """See whether the daemon answers.

    Example: streamrnn ctl ping
    """
    _print(_ask(control, timeout, "ping"), json)


@ctl.command()
def info(control: EndpointOption = CONTROL, timeout: TimeoutOption = 5.0, json: JsonOption = False) -> None:
    """Show the daemon's model, endpoints, counters and settings.

    Example: streamrnn ctl info --json
    """
    _print(_ask(control, timeout, "info"), json)


@ctl.command()
def streams(
    prefix: Annotated[str, typer.Argument(help="Only ids that begin so.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 1000,
    control: EndpointOption = CONTROL,
    timeout: TimeoutOption = 5.0,
    json: JsonOption = False,
) -> None:
    """List live streams in the order of their ids.

    Example: streamrnn ctl streams ward3/
    """
    from itertools import islice

    from ..client import Control

    with Control(control, timeout=timeout, retries=0) as client:
        found = list(islice(client.all_streams(prefix, min(limit, 1000)), limit))
    if json:
        _print(found, True)
        return
    if not found:
        print(f"no streams begin with {prefix}" if prefix else "no streams")
    for entry in found:
        print(f"{entry['id']:<32} n {entry['n']:<12} epoch {entry['epoch']}")


@ctl.command()
def stream(
    stream: StreamArgument, control: EndpointOption = CONTROL, timeout: TimeoutOption = 5.0, json: JsonOption = False
) -> None:
    """Show one stream: its age, its last samples, outputs and scores.

    Example: streamrnn ctl stream bed1 --json
    """
    facts = _ask(control, timeout, "stream", stream)
    if json:
        _print(facts, True)
        return
    from rich.console import Console

    from .portrait import portrait

    Console(highlight=False, markup=False, emoji=False).print(portrait(facts))


@ctl.command()
def reset(
    stream: StreamArgument, control: EndpointOption = CONTROL, timeout: TimeoutOption = 5.0, json: JsonOption = False
) -> None:
    """Let a stream's state begin anew.

    Example: streamrnn ctl reset bed1
    """
    _print(_ask(control, timeout, "reset", stream), json)


@ctl.command()
def evict(
    stream: StreamArgument, control: EndpointOption = CONTROL, timeout: TimeoutOption = 5.0, json: JsonOption = False
) -> None:
    """Forget a stream.

    Example: streamrnn ctl evict bed1
    """
    _print(_ask(control, timeout, "evict", stream), json)


@ctl.command()
def stop(control: EndpointOption = CONTROL, timeout: TimeoutOption = 5.0, json: JsonOption = False) -> None:
    """Let the daemon answer all that came in, and end.

    Example: streamrnn ctl stop
    """
    _ask(control, timeout, "stop")
    if json:
        _print({"stopping": True}, True)
    else:
        print("stopping")
