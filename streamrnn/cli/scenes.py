"""What a demo plays: a simulated ward or market, or recordings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from ..feeds import Layout, Recording, Row
from ..simulate import Fault, Feed, market, ward
from ..simulate.ward import CHANNELS as WARD
from ..simulate.ward import EXTRA
from .notice import say_skipped
from .pace import Rate

__all__ = ["SCENES", "Scene", "recorded", "shown_on_a_ward", "simulated"]

SCENES = ("ward", "market")

SHOWN = 1200.0
"""Seconds of simulated time that a demo shows, however short it is: enough to learn and for faults to
happen.
"""

SLOWEST = 10.0
"""A long demo is played at least this many times faster than time."""

HEAVY_TAILS = (
    "sizes of orders have heavy tails, which no fault causes and the detector flags: a limit that README.md names"
)

CALM = 300.0
"""Seconds of simulated time without faults at the beginning, or a quarter of a shorter demo."""


@dataclass(frozen=True)
class Scene:
    """Rows to play at `rate`, the names and units of their values, and the faults in them (None: not
    known). `note` explains false flags.
    """

    title: str
    channels: tuple[str, ...]
    units: tuple[str, ...]
    streams: int
    rows: Iterable[Row]
    count: int
    rate: Rate
    start_ns: int
    faults: tuple[Fault, ...] | None
    note: str = ""


def simulated(
    kind: str,
    streams: int | None,
    seconds: float,
    speed: float | None,
    seed: int,
    channels: Sequence[str] | None = None,
) -> Scene:
    """A simulated scene that lasts `seconds` when played; ConfigError for a `kind` that there is not.

    `channels` are what a ward's monitors show, where a model wants others than usual.
    """
    if kind not in SCENES:
        raise ConfigError(f"there is no scene {kind!r}: choose {' or '.join(SCENES)}")
    faster = speed or max(SLOWEST, SHOWN / seconds)
    duration = seconds * faster
    calm = min(CALM, duration / 4.0)
    if kind == "ward":
        feed = ward(beds=streams or 12, seconds=duration, seed=seed, calm=calm, channels=channels or WARD)
        noun = "simulated beds"
        note = ""
    else:
        feed = market(symbols=streams or 6, seconds=duration, seed=seed, calm=calm)
        noun = "simulated symbols"
        note = HEAVY_TAILS
    return Scene(
        title=f"{len(feed.streams)} {noun} at {faster:g}x",
        channels=feed.channels,
        units=feed.units,
        streams=len(feed.streams),
        rows=_rows(feed),
        count=len(feed),
        rate=Rate(speed=faster),
        start_ns=int(feed.t[0]) if len(feed) else 0,
        faults=feed.faults,
        note=note,
    )


def shown_on_a_ward(features: Sequence[str]) -> bool:
    """Whether the simulated monitors can show just these channels."""
    return set(features) <= {*WARD, *EXTRA}


def _rows(feed: Feed) -> Iterable[Row]:
    return (Row(t, stream, x) for t, stream, x in feed.rows())


def recorded(paths: Sequence[Path], layout: Layout, seconds: float, speed: float | None) -> Scene:
    """Recordings, all of them within `seconds` unless a `speed` is given; ConfigError where they are
    empty.
    """
    with Recording(paths, layout) as recording:
        rows = list(recording.rows())
        columns, timed = recording.columns, recording.timed
        say_skipped(recording.skipped, recording.first_skipped)
    if not rows:
        raise ConfigError(f"{', '.join(map(str, paths))}: no rows to play")
    first, last = rows[0].t or 0, max(row.t or 0 for row in rows)
    if not timed:
        rate = Rate(per_second=max(1.0, len(rows) / seconds))
        how = f"{rate.per_second:.0f} rows/s"
    else:
        rate = Rate(speed=speed or max(1.0, (last - first) / 1e9 / seconds))
        how = f"{rate.speed:.3g}x"
    streams = len({row.stream for row in rows})
    return Scene(
        title=f"{streams} recorded {'stream' if streams == 1 else 'streams'} at {how}",
        channels=columns,
        units=("",) * len(columns),
        streams=streams,
        rows=rows,
        count=len(rows),
        rate=rate,
        start_ns=first,
        faults=None,
    )
