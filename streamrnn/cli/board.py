"""The live table: a row a stream with its values, their recent course, its score and its flag."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from .lanes import LONGEST, Lane, Reading
from .sparkline import sparkline

__all__ = ["MISSING", "Board", "duration", "fits", "number", "quantity"]

SMALLEST = (60, 12)
"""Columns and lines below which a live table makes no sense."""

STYLES = ("green", "cyan", "yellow", "magenta", "blue", "bright_green", "bright_cyan", "bright_yellow")
"""Colours of the channels in turn; red is for flags."""

MISSING = "?"
"""Marks a value whose channel the sample lacked: the model had to do without."""

SCORE = 5
"""Characters of a score."""

STATE = 16
"""Characters of a flag and its cause."""

NARROWEST, WIDEST = 5, 40
"""Limits of a sparkline's width."""

LEAST_STEPS = 4
"""A sparkline is at least this many of its value's smallest steps high: 97 to 98 is no cliff."""

FLOAT32_DIGITS = 7
"""Decimal digits of a float32, some of which a price needs to show its ticks."""

LOG_LINES = 8
"""Most lines of the log that are shown."""

AROUND = 5
"""Lines that are neither streams nor log: heading, table header, a rule, the note on hidden streams."""


class Board:
    """Draws lanes as a table that fits the terminal, under a heading and above a log.

    `channels` and `units` name the values; a lane may have fewer, and one with more adds channels called `further`
    and a number. Set `heading` and append to `log` at will.
    """

    def __init__(
        self, channels: Sequence[str], units: Sequence[str] = (), per_bucket: int = 1, further: str = "y"
    ) -> None:
        self.channels = list(channels)
        self.units = list(units) + [""] * (len(self.channels) - len(units))
        self.lanes: dict[str, Lane] = {}
        self.heading: RenderableType = ""
        self.log: list[Text] = []
        self.caption = ""
        self.waiting = "waiting for samples"
        self._per_bucket = per_bucket
        self._further = further
        self._value_width = 3

    def add(
        self,
        stream: str,
        values: Sequence[float],
        score: float,
        flag: bool,
        cause: str | None,
        t: int | None,
        missing: Sequence[int] = (),
    ) -> bool:
        """Take an output of `stream` with the values to draw for it; say whether it raised the flag.

        `missing` are the channels that the sample lacked: their values get a mark.
        """
        lane = self.lanes.get(stream)
        if lane is None:
            for i in range(len(self.channels), len(values)):
                self.channels.append(f"{self._further}{i}")
                self.units.append("")
            lane = self.lanes[stream] = Lane(stream, len(values), self._per_bucket)
        blamed = None
        if cause is not None:
            name = cause.partition(":")[0]
            blamed = self.channels.index(name) if name in self.channels else None
        return lane.add(Reading(values, score, flag, cause, t, blamed, tuple(missing)))

    def remove(self, stream: str) -> None:
        """Take a stream that is no more off the board."""
        self.lanes.pop(stream, None)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.heading
        if not self.lanes:
            yield Text(self.waiting, "dim")
            return
        height = options.height or console.height
        lanes = list(self.lanes.values())
        room = height - AROUND - len(lanes)
        log_lines = min(len(self.log), LOG_LINES, max(room, 3))
        shown = _choose(lanes, max(1, height - AROUND - log_lines))
        table, unseen = self._table(shown, len(_shared_prefix(list(self.lanes))), options.max_width)
        yield table
        hidden = len(lanes) - len(shown)
        notes = [f"and {hidden} more streams; a taller terminal shows them"] if hidden else []
        if unseen:
            notes.append(f"not shown: {', '.join(unseen)}; a wider terminal shows them")
        more = "; ".join(notes) or self.caption
        yield Text(more, "dim", no_wrap=True, overflow="ellipsis")
        yield from self.log[len(self.log) - log_lines :]

    def _table(self, lanes: list[Lane], shared: int, width: int) -> tuple[Table, list[str]]:
        """The table, and the names of the channels for which there is no room."""
        names = min(max([6, *(len(lane.stream) - shared for lane in lanes)]), 20)
        shown = [
            number(track.value, track.quantum) + MISSING * (i in lane.missing)
            for lane in lanes
            for i, track in enumerate(lane.tracks)
        ]
        heads = [min(len(name), 6) for name in self.channels]
        # Growing only, so that columns do not jump as values gain and lose digits.
        self._value_width = max(self._value_width, *map(len, shown), *heads)
        channels, spark = self._columns(width - names - SCORE - STATE - 2)
        table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False, header_style="dim")
        table.add_column("stream", width=names, no_wrap=True)
        for name, unit in zip(self.channels[:channels], self.units, strict=False):
            table.add_column(name, width=self._value_width, justify="right", no_wrap=True)
            table.add_column(unit, width=spark, no_wrap=True)
        table.add_column("score", width=SCORE, justify="right", no_wrap=True)
        table.add_column("flag", width=STATE, no_wrap=True)
        for lane in lanes:
            cells = [Text(lane.stream[shared:], "bold red" if lane.flag else "bold")]
            for i in range(channels):
                cells += _channel(lane, i, spark)
            cells.append(Text(_score(lane.score), "bold red" if lane.flag else ""))
            cells.append(_state(lane))
            table.add_row(*cells)
        return table, self.channels[channels:]

    def _columns(self, room: int) -> tuple[int, int]:
        """How many channels fit, and the width of each one's sparkline."""
        beside = self._value_width + 2
        channels = max(1, min(len(self.channels), room // (beside + NARROWEST)))
        return channels, max(NARROWEST, min(room // channels - beside, WIDEST, LONGEST))


def fits(console: Console) -> bool:
    """Whether `console` is a terminal that is large enough for a board."""
    return console.is_terminal and console.width >= SMALLEST[0] and console.height >= SMALLEST[1]


def number(value: float, quantum: float = math.inf) -> str:
    """Six characters at most, or as many of float32's seven digits as show steps of `quantum`; two dashes for none.

    >>> number(97.0), number(61804.7), number(0.01234), number(1234567.0), number(math.nan)
    ('97', '61805', '0.012', '1.2e6', '--')
    >>> number(61826.0, 0.5), number(61826.53, 0.001), number(1234567.0, 1.0)
    ('61826.0', '61826.53', '1234567')
    """
    if math.isnan(value):
        return "--"
    size = abs(value)
    if 1000 <= size < 10**FLOAT32_DIGITS and 0 < quantum < size:
        decimals = math.ceil(-math.log10(quantum) - 1e-3)  # 0.1 as float32 is a little less than a tenth
        return f"{value:.{max(0, min(decimals, FLOAT32_DIGITS - len(str(int(size)))))}f}"
    if size < 100_000 and value == int(value):
        return str(int(value))
    if size >= 100_000 or size < 0.001:
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:.0f}" if size >= 1000 else f"{value:.{4 - len(str(int(size)))}f}"


def quantity(count: float) -> str:
    """A count with separators.

    >>> quantity(14400)
    '14,400'
    """
    return f"{count:,.0f}"


def duration(us: float) -> str:
    """A time in microseconds with the unit that suits it.

    >>> duration(184.2), duration(9746.0), duration(137969.0)
    ('184 µs', '9.7 ms', '138 ms')
    """
    if us < 1000.0:
        return f"{us:.0f} µs"
    return f"{us / 1000.0:.1f} ms" if us < 99_950.0 else f"{us / 1000.0:.0f} ms"


def _channel(lane: Lane, i: int, spark: int) -> list[Text]:
    """The value and the sparkline of channel `i`; blank where the stream has no such channel."""
    if i >= len(lane.tracks):
        return [Text(""), Text("")]
    style = STYLES[i % len(STYLES)]
    track = lane.tracks[i]
    least = LEAST_STEPS * track.quantum if math.isfinite(track.quantum) else 0.0
    lacks = i in lane.missing and not math.isnan(track.value)
    text = number(track.value, track.quantum) + (MISSING if lacks else "")
    value = Text(text, "dim" if lacks or math.isnan(track.value) else style)
    return [value, sparkline(track.marks(), spark, style, least)]


def _score(value: float) -> str:
    return f"{value:.2f}" if value < 99.995 else number(value)


def _state(lane: Lane) -> Text:
    if lane.flag:
        return Text(f"▲ {lane.cause or 'flagged'}", "bold red", no_wrap=True, overflow="ellipsis")
    if lane.flags:
        return Text(f"{lane.flags} earlier", "dim")
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
