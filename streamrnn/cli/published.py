"""What a daemon publishes, as lines for programs and for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime, timedelta, timezone

from rich.text import Text

from ..wire.messages import BlockOutput, Event, Flag, Output, Published

__all__ = ["as_json", "as_line", "concerning"]

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

TYPES = {Output: "out", Flag: "flag", Event: "event"}


def concerning(prefix: str, messages: Iterable[Published]) -> Iterator[Output | Flag | Event]:
    """Outputs, flags and events of the daemon and of streams that begin with `prefix`.

    The rows of the answer to a block become outputs of their own.
    """
    for message in messages:
        for single in _rows(message) if isinstance(message, BlockOutput) else (message,):
            if single.stream is None or single.stream.startswith(prefix):
                yield single


def as_json(message: Output | Flag | Event) -> str:
    """One JSON object; `type` is out, flag or event, and keys without a value are left out."""
    facts = {"type": TYPES[type(message)], **asdict(message)}
    return json.dumps({name: value for name, value in facts.items() if value is not None})


def as_line(message: Output | Flag | Event) -> Text | None:
    """A flag or an event for people; None for an output, of which there are too many to read."""
    if isinstance(message, Flag):
        mark, style = ("▲", "bold red") if message.edge == "raised" else ("▽", "green")
        what = f"{mark} {message.edge} {message.cause or ''}".rstrip()
        line = Text.assemble((_clock(message.recv or message.t), "dim"), f" {message.stream} ", (what, style))
        return line.append(f"  score {message.score:.1f}", "dim")
    if isinstance(message, Event):
        facts = "".join(f" {name}={value}" for name, value in message.data.items())
        who = message.stream or "daemon"
        return Text.assemble((_clock(message.at), "dim"), f" {who} ", (message.kind, "cyan"), facts)
    return None


def _rows(block: BlockOutput) -> Iterator[Output]:
    """A block's rows; it tells no causes, and not how many samples came before."""
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


def _clock(ns: int | None) -> str:
    """The UTC time of day of a time in ns."""
    if ns is None:
        return "--:--:--"
    return (EPOCH + timedelta(microseconds=ns // 1000)).strftime("%H:%M:%S")
