"""A burst: the arrays that carry samples from the wire to the engine, and its answers back.

Both codecs (msgpack over Python, and its compiled twin) fill a `Burst`; `Engine.ingest` reads it and fills a
`Results`. Nothing here allocates after construction, and nothing knows of sockets, messages or networks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .ids import MAX_ID

__all__ = [
    "ACCEPTED",
    "BAD_TIME",
    "DUPLICATE",
    "HAS_RESET",
    "HAS_SEQ",
    "HAS_SESSION",
    "HAS_T",
    "LATE",
    "MAX_ID",
    "VERDICTS",
    "Burst",
    "Results",
    "session_key",
]

HAS_T, HAS_SEQ, HAS_SESSION, HAS_RESET = 1, 2, 4, 8
"""Bits of `Burst.has`: which optional keys the sample carried."""

ACCEPTED, DUPLICATE, LATE, BAD_TIME = 0, 1, 2, 3
"""Values of `Results.verdict`. Everything but ACCEPTED left the stream untouched."""

VERDICTS = ("accepted", "duplicate", "late", "bad_time")
"""The name of each verdict, which is also the event's kind or code on the wire."""


@lru_cache(maxsize=4096)
def session_key(session: bytes) -> int:
    """64-bit FNV-1a hash of a publisher's session; only ever compared with the stream's previous one.

    >>> session_key(b"") == 0xCBF29CE484222325
    True
    """
    h = 0xCBF29CE484222325
    for byte in session:
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


class Burst:
    """Samples on their way in, in order of arrival.

    Arrays have `capacity` rows of which the first `n` are filled: `x` float32 `(capacity, n_in)` with NaN for a
    missing channel, `t` int64 (ns), `seq` uint64, `session` uint64 (`session_key`), `has` uint8 (HAS_ bits), and
    the stream ids as UTF-8 in `ids[id_end[i]:id_end[i + 1]]`. `recv` is the time of receipt, ns since the epoch.

    >>> burst = Burst(capacity=8, n_in=2)
    >>> burst.add(b"bed1", [97.0, float("nan")], seq=4)
    0
    """

    __slots__ = ("capacity", "has", "id_end", "ids", "n", "n_in", "recv", "seq", "session", "t", "x")

    def __init__(self, capacity: int, n_in: int) -> None:
        self.capacity = capacity
        self.n_in = n_in
        self.n = 0
        self.recv = 0
        self.x: npt.NDArray[np.float32] = np.zeros((capacity, n_in), np.float32)
        self.t: npt.NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.seq: npt.NDArray[np.uint64] = np.zeros(capacity, np.uint64)
        self.session: npt.NDArray[np.uint64] = np.zeros(capacity, np.uint64)
        self.has: npt.NDArray[np.uint8] = np.zeros(capacity, np.uint8)
        self.ids: npt.NDArray[np.uint8] = np.zeros(capacity * MAX_ID, np.uint8)
        self.id_end: npt.NDArray[np.int64] = np.zeros(capacity + 1, np.int64)

    def clear(self) -> None:
        """Forget the samples; the arrays stay."""
        self.n = 0

    @property
    def full(self) -> bool:
        return self.n >= self.capacity

    def stream(self, i: int) -> str:
        """The id of sample `i`."""
        return bytes(self.ids[self.id_end[i] : self.id_end[i + 1]]).decode()

    def add(
        self,
        stream: bytes,
        x: npt.ArrayLike,
        t: int | None = None,
        seq: int | None = None,
        session: bytes | None = None,
        reset: bool = False,
    ) -> int:
        """Append one sample that the codec has validated and return its row.

        `x` is `(n_in,)`; the caller has checked width, infinities, the id and the ranges of `t` and `seq`.
        """
        i = self.n
        self.x[i] = x
        has = 0
        if t is not None:
            self.t[i] = t
            has |= HAS_T
        if seq is not None:
            self.seq[i] = seq
            has |= HAS_SEQ
        if session is not None:
            self.session[i] = session_key(session)
            has |= HAS_SESSION
        if reset:
            has |= HAS_RESET
        self.has[i] = has
        start = self.id_end[i]
        stop = start + len(stream)
        self.ids[start:stop] = np.frombuffer(stream, np.uint8)
        self.id_end[i + 1] = stop
        self.n = i + 1
        return i


class Results:
    """What the engine made of a burst, row for row.

    `verdict` int8; and where it is ACCEPTED: `y` float32 `(n, n_out)`, `score` float32, `flag` uint8, `edge` int8
    (1 raised, -1 cleared, 0 neither), `cause` int32 (-1 none; `Model.cause_name` spells it), `count` int64 (samples
    since the state began), `epoch` int64, `missing` uint8 `(n, n_in)`, `gap` int64 (sequence numbers missing just
    before this sample; negative for none), `slot` int64 (-1 where the sample was refused), `fresh` uint8 (1 where the
    stream's state began with it). `new` makes the arrays.
    """

    __slots__ = ("cause", "count", "edge", "epoch", "flag", "fresh", "gap", "missing", "score", "slot", "verdict", "y")

    def __init__(self, capacity: int, n_in: int, n_out: int, new: Callable[..., npt.NDArray[Any]] = np.zeros) -> None:
        self.verdict: npt.NDArray[np.int8] = new(capacity, np.int8)
        self.y: npt.NDArray[np.float32] = new((capacity, n_out), np.float32)
        self.score: npt.NDArray[np.float32] = new(capacity, np.float32)
        self.flag: npt.NDArray[np.uint8] = new(capacity, np.uint8)
        self.edge: npt.NDArray[np.int8] = new(capacity, np.int8)
        self.cause: npt.NDArray[np.int32] = new(capacity, np.int32)
        self.count: npt.NDArray[np.int64] = new(capacity, np.int64)
        self.epoch: npt.NDArray[np.int64] = new(capacity, np.int64)
        self.missing: npt.NDArray[np.uint8] = new((capacity, n_in), np.uint8)
        self.gap: npt.NDArray[np.int64] = new(capacity, np.int64)
        self.slot: npt.NDArray[np.int64] = new(capacity, np.int64)
        self.fresh: npt.NDArray[np.uint8] = new(capacity, np.uint8)
