"""The live table: a row a stream with its values, their recent course, its score and its flag."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from .lanes import LONGEST, Lane, Reading
from .sparkline import sparkline

__all__ = ["SMALLEST", "Board", "number", "quantity"]

SMALLEST = (60, 12)
"""Columns and lines below which a live table makes no sense."""

STYLES = ("green", "cyan", "yellow", "magenta", "blue", "bright_green", "bright_cyan", "bright_yellow")
"""Colours of the channels in turn; red is for flags."""

VALUE = 6
"""Characters of a value."""

STATE = 18
"""Characters of a flag and its cause."""

NARROWEST, WIDEST = 4, 40
"""Limits of a sparkline's width."""


class Board:
    """Draws lanes as a table that fits the terminal, under a heading and above a log.

    `channels` and `units` name the values of every lane. Set `heading` and `log` before each drawing.
    """

    def __init__(self, channels: Sequence[str], units: Sequence[str], per_bucket: int) -> None:
        self.channels = tuple(channels)
        self.units = tuple(units)
        self.lanes: dict[str, Lane] = {}
        self.heading: RenderableType = ""
        self.log: list[Text] = []
        self.empty = "waiting for samples"
        self._per_bucket = per_bucket

    def lane(self, stream: str) -> Lane:
        """The lane of `stream`, made at its first sample."""
        lane = self.lanes.get(stream)
        if lane is None:
            lane = self.lanes[stream] = Lane(stream, len(self.channels), self._per_bucket)
        return lane

    def reading(
        self, values: Sequence[float], score: float, flag: bool, cause: str | None, t: int | None
    ) -> Reading:
        """An output as a `Reading`, with the channel that `cause` (like "spo2:level") blames."""
        blamed = None
        if cause is not None:
            name = cause.partition(":")[0]
            blamed = self.channels.index(name) if name in self.channels else None
        return Reading(values, score, flag, cause, t, blamed)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        height = options.height or console.height
        if not self.lanes:
            yield Group(self.heading, Text(self.empty, "dim"))
            return
        shared = _shared_prefix(list(self.lanes))
        log_lines = min(len(self.log), max(0, height - 6 - len(self.lanes)), 8)
        log_lines = max(log_lines, min(3, len(self.log)))
        fitting = max(1, height - 5 - log_lines)
        shown = _choose(list(self.lanes.values()), fitting)
        yield self.heading
        yield self._table(shown, len(shared), width)
        hidden = len(self.lanes) - len(shown)
        if hidden:
            yield Text(f"… and {hidden} more streams: a taller terminal shows them", "dim")
        yield from self.log[len(self.log) - log_lines :]

    def _table(self, lanes: list[Lane], shared: int, width: int) -> Table:
        names = max([6, *(len(lane.stream) - shared for lane in lanes)])
        names = min(names, 20)
        channels, spark = self._columns(width - names - STATE - VALUE - 4)
        table = Table(box=None, padding=(0, 1, 0, 0), expand=False, show_edge=False, header_style="dim")
        table.add_column("stream", width=names, no_wrap=True)
        for name, unit in zip(self.channels[:channels], self.units, strict=False):
            table.add_column(Text(name, justify="right"), width=VALUE, justify="right", no_wrap=True)
            table.add_column(Text(unit, "dim"), width=spark, no_wrap=True)
        table.add_column(Text("score", justify="right"), width=VALUE, justify="right", no_wrap=True)
        table.add_column("flag", width=STATE, no_wrap=True)
        for lane in lanes:
            cells: list[Text] = [Text(lane.stream[shared:], "bold red" if lane.flag else "bold")]
            for i in range(channels):
                style = STYLES[i % len(STYLES)]
                track = lane.tracks[i]
                cells.append(Text(number(track.value), style if not math.isnan(track.value) else "dim"))
                cells.append(sparkline(track.marks(), spark, style))
            cells.append(Text(number(lane.scores.value), "red" if lane.flag else "default"))
            cells.append(_state(lane))
            table.add_row(*cells)
        return table

    def _columns(self, room: int) -> tuple[int, int]:
        """How many channels fit, and the width of each one's sparkline."""
        channels = max(1, min(len(self.channels), room // (VALUE + NARROWEST + 2)))
        spark = room // channels - VALUE - 2
        return channels, max(NARROWEST, min(spark, WIDEST, LONGEST))


def number(value: float) -> str:
    """At most six characters for any number; two dashes where there is none.

    >>> number(97.0), number(61804.7), number(0.01234), number(1234567.0), number(math.nan)
    ('97', '61805', '0.012', '1.2e6', '--')
    """
    if math.isnan(value):
        return "--"
    size = abs(value)
    if value == int(value) and size < 100_000:
        return str(int(value))
    if size >= 100_000 or size < 0.001:
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:.0f}" if size >= 1000 else f"{value:.{3 - len(str(int(size)))}f}"


def quantity(count: float) -> str:
    """A count with separators.

    >>> quantity(14400)
    '14,400'
    """
    return f"{count:,.0f}"


def _state(lane: Lane) -> Text:
    if lane.flag:
        return Text(f"▲ {lane.cause or 'flagged'}", "bold red")
    if lane.flags:
        return Text(f"· {lane.flags} before" if lane.flags > 1 else "· 1 before", "dim")
    return Text("·", "dim")


def _shared_prefix(streams: list[str]) -> str:
    """What all ids begin with, up to a slash: the table need not repeat it."""
    low, high = min(streams), max(streams)
    same = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), 0)
    return low[: low.rfind("/", 0, same) + 1]


def _choose(lanes: list[Lane], fitting: int) -> list[Lane]:
    """As many lanes as fit, those with flags before the others, in the order of their ids."""
    ordered = sorted(lanes, key=lambda lane: lane.stream)
    if len(ordered) <= fitting:
        return ordered
    first = sorted(ordered, key=lambda lane: (not lane.flag, -lane.flags))[:fitting]
    return sorted(first, key=lambda lane: lane.stream)
