"""What a daemon publishes, as lines for programs and for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta, timezone

from rich.text import Text

from ..wire.messages import BlockOutput, Event, Flag, Output, Published

__all__ = ["Folded", "as_json", "as_line", "concerning"]

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

REPEATING = frozenset({"rejected", "late", "duplicate", "gap"})
"""Kinds of events that a faulty publisher causes with every sample."""

TYPES = {Output: "out", Flag: "flag", Event: "event"}


def concerning(prefix: str, messages: Iterable[Published]) -> Iterator[Output | Flag | Event]:
    """Outputs, flags and events of the daemon and of streams that begin with `prefix`.

    The rows of the answer to a block become outputs of their own.
    """
    for message in messages:
        for single in _rows(message) if isinstance(message, BlockOutput) else (message,):
            if single.stream is None or single.stream.startswith(prefix):
                yield single


def as_json(message: Output | Flag | Event, features: Sequence[str] = ()) -> str:
    """One JSON object; `type` is out, flag or event, and keys without a value are left out.

    `features` are the names of the values in `y`, where they are known.
    """
    facts = {"type": TYPES[type(message)], **asdict(message)}
    if isinstance(message, Output) and len(features) == len(message.y):
        facts["features"] = list(features)
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


class Folded:
    """Lines for people, of which those that say the same again and again become one.

    The first refusal, gap, late or duplicate sample of a stream is a line at once; those that follow it within
    `window` seconds are counted, and told as a number.
    """

    def __init__(self, window: float = 2.0) -> None:
        self._window = window
        self._open: dict[tuple[str, str | None, object], tuple[float, int]] = {}

    def lines(self, message: Output | Flag | Event, now: float) -> list[Text]:
        """The lines to write for this message, at the time `now` in seconds of any clock."""
        told = self.due(now)
        if isinstance(message, Event) and message.kind in REPEATING:
            key = (message.kind, message.stream, message.data.get("code"))
            if key in self._open:
                since, more = self._open[key]
                self._open[key] = since, more + 1
                return told
            self._open[key] = now, 0
        line = as_line(message)
        return told if line is None else [*told, line]

    def due(self, now: float) -> list[Text]:
        """The lines for what was counted and whose time is over."""
        told = []
        for key, (since, more) in list(self._open.items()):
            if now - since < self._window:
                continue
            if not more:
                del self._open[key]
                continue
            self._open[key] = now, 0
            kind, stream, code = key
            line = Text.assemble("         ", f"{stream or 'daemon'} ", (kind, "cyan"))
            told.append(line.append(f" {f'code={code} ' if code else ''}{more:,} more in {now - since:.0f} s"))
        return told

    def rest(self) -> list[Text]:
        """The lines for all that was counted and not yet told."""
        ends = max((since for since, _ in self._open.values()), default=0.0) + self._window
        return self.due(ends)


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
