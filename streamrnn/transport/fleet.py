"""Which engine takes a sample: one engine for each width that streams have.

A model file has one width, and one engine. The adaptive model without a given width learns each stream's width from
its first sample, so that streams of different width live side by side.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from ..burst import Burst, Results
from ..engine import Engine, Event
from ..errors import ConfigError, UnknownStream, WrongWidth
from ..wire.messages import Sample

__all__ = ["Fleet", "Lane"]


_NUMBERS = 1 << 25
"""Weights and matrix elements that the rows of one call go through at most."""


class Lane:
    """An engine, with the arrays that feed it, the samples that wait to be stepped, and the events that wait to be told
    with the rows that caused them."""

    __slots__ = ("burst", "engine", "events", "results", "waiting")

    def __init__(self, engine: Engine, burst: int) -> None:
        self.engine = engine
        # So that one call of compiled code, which hears of nothing meanwhile, takes milliseconds and not seconds. A GPU
        # takes as long for a few rows as for thousands.
        rows = burst if engine.device == "cuda" else max(1, min(burst, _NUMBERS // engine.numbers))
        self.burst = Burst(rows, engine.n_in)
        self.results = Results(rows, engine.n_in, engine.n_out)
        self.waiting: list[Sample] = []
        self.events: deque[Event] = deque()


class Fleet:
    """All lanes, by width.

    `make(n_in)` builds the engine of a width. With `n_in` given there is that one lane and all other widths are
    refused; else lanes come as widths do, at most `max_widths` of at most `max_width` channels. `burst` is the
    number of rows stepped at once.
    """

    def __init__(
        self,
        make: Callable[[int], Engine],
        n_in: int | None,
        burst: int,
        max_width: int = 64,
        max_widths: int = 8,
    ) -> None:
        self.n_in = n_in
        self._make = make
        self._burst = burst
        self._max_width = max_width
        self._max_widths = max_widths
        self._lanes: dict[int, Lane] = {}
        self._only: Lane | None = None
        if n_in is not None:
            self._only = self._lanes[n_in] = Lane(make(n_in), burst)

    @property
    def lanes(self) -> list[Lane]:
        """All lanes, oldest first."""
        return list(self._lanes.values())

    @property
    def tokens(self) -> int:
        """How many tokens there are where samples are tokens, else 0."""
        return 0 if self._only is None else self._only.engine.tokens

    def __iter__(self) -> Iterator[Engine]:
        return (lane.engine for lane in self._lanes.values())

    def __len__(self) -> int:
        """Streams alive, in all lanes."""
        return sum(map(len, self))

    def route(self, stream: bytes, width: int) -> Lane:
        """The lane for a sample of `width` values; WrongWidth if that is not the width of the model or stream."""
        only = self._only
        if only is not None:
            if width != self.n_in:
                raise WrongWidth(self._misfit(width))
            return only
        lane = self._lanes.get(width)
        if lane is None or (len(self._lanes) > 1 and stream.decode() not in lane.engine):
            other = self._owner(stream.decode())
            if other is not None:
                n_in = other.engine.n_in
                raise WrongWidth(f"{width} values for a stream of {n_in}; send {n_in}, or evict the stream")
            lane = self.lane(width)
        return lane

    def lane(self, width: int) -> Lane:
        """The lane of a width, which is built if need be; WrongWidth where that would be one too many."""
        lane = self._lanes.get(width)
        if lane is not None:
            return lane
        if self.n_in is not None:
            raise WrongWidth(self._misfit(width))
        if width > self._max_width:
            raise WrongWidth(f"{width} values; at most {self._max_width} are taken, raise max_width")
        if len(self._lanes) >= self._max_widths and not self._drop_empty():
            widths = ", ".join(map(str, sorted(self._lanes)))
            raise WrongWidth(
                f"{width} values, and streams of {self._max_widths} other widths ({widths}) are alive; raise max_widths"
            )
        try:
            lane = self._lanes[width] = Lane(self._make(width), self._burst)
        except ConfigError as error:  # no room for so many streams so wide
            raise WrongWidth(str(error)) from None
        return lane

    def find(self, stream: str) -> Lane:
        """The lane in which this stream is alive; UnknownStream if there is none."""
        lane = self._owner(stream)
        if lane is None:
            raise UnknownStream(f"no stream {stream!r}; {len(self)} are alive")
        return lane

    def _owner(self, stream: str) -> Lane | None:
        return next((lane for lane in self._lanes.values() if stream in lane.engine), None)

    def _drop_empty(self) -> bool:
        for width, lane in self._lanes.items():
            if not len(lane.engine) and not lane.waiting:
                del self._lanes[width]
                return True
        return False

    def _misfit(self, width: int) -> str:
        names = ", ".join(next(iter(self)).model.spec.features[:16])
        return f"{width} values; the model takes {self.n_in} ({names})"
