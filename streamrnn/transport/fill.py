"""Decoded messages into the arrays of a burst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..burst import HAS_RESET, HAS_SEQ, HAS_SESSION, HAS_T, Burst, session_key
from ..wire.messages import Block, Sample

__all__ = ["Columns", "columns_of", "fill_rows", "fill_samples"]


def fill_samples(burst: Burst, samples: Sequence[Sample]) -> None:
    """Make `samples`, all of the burst's width and no more than its capacity, the burst's rows."""
    n = len(samples)
    ts: list[int] = []
    seqs: list[int] = []
    sessions: list[int] = []
    has: list[int] = []
    for s in samples:
        t, seq, session = s.t, s.seq, s.session
        bits = HAS_RESET if s.reset else 0
        if t is None:
            ts.append(0)
        else:
            ts.append(t)
            bits |= HAS_T
        if seq is None:
            seqs.append(0)
        else:
            seqs.append(seq)
            bits |= HAS_SEQ
        if session is None:
            sessions.append(0)
        else:
            sessions.append(session_key(session))
            bits |= HAS_SESSION
        has.append(bits)
    burst.t[:n] = ts
    burst.seq[:n] = np.array(seqs, np.uint64)
    burst.session[:n] = np.array(sessions, np.uint64)
    burst.has[:n] = has
    burst.x[:n] = np.frombuffer(b"".join([s.x for s in samples]), np.float32).reshape(n, burst.n_in)
    _fill_ids(burst, [s.stream for s in samples])
    burst.n = n


@dataclass(frozen=True, slots=True)
class Columns:
    """A block as arrays: `x` float32 `(n, n_in)`, `t` int64 and `seq` uint64 `(n,)` or None, one `has` for all
    rows.
    """

    streams: list[bytes]
    x: npt.NDArray[np.float32]
    t: npt.NDArray[np.int64] | None
    seq: npt.NDArray[np.uint64] | None
    session: int
    has: int

    def __len__(self) -> int:
        return len(self.streams)

    def take(self, rows: list[int]) -> Columns:
        """These rows alone."""
        return Columns(
            [self.streams[i] for i in rows],
            self.x[rows],
            None if self.t is None else self.t[rows],
            None if self.seq is None else self.seq[rows],
            self.session,
            self.has,
        )


def columns_of(block: Block) -> Columns:
    """The block's rows as arrays over its own memory."""
    has = 0 if block.t is None else HAS_T
    has |= 0 if block.seq is None else HAS_SEQ
    has |= 0 if block.session is None else HAS_SESSION
    return Columns(
        block.streams,
        np.frombuffer(block.x, np.float32).reshape(block.n, block.n_in),
        None if block.t is None else np.frombuffer(block.t, np.int64),
        None if block.seq is None else np.frombuffer(block.seq, np.uint64),
        0 if block.session is None else session_key(block.session),
        has,
    )


def fill_rows(burst: Burst, columns: Columns, start: int, stop: int) -> None:
    """Make rows `start` to `stop` of a block the burst's rows."""
    n = stop - start
    burst.x[:n] = columns.x[start:stop]
    burst.has[:n] = columns.has
    if columns.t is not None:
        burst.t[:n] = columns.t[start:stop]
    if columns.seq is not None:
        burst.seq[:n] = columns.seq[start:stop]
    burst.session[:n] = np.uint64(columns.session)
    _fill_ids(burst, columns.streams[start:stop])
    burst.n = n


def _fill_ids(burst: Burst, streams: list[bytes]) -> None:
    joined = np.frombuffer(b"".join(streams), np.uint8)
    burst.ids[: len(joined)] = joined
    lengths: list[Any] = list(map(len, streams))
    np.cumsum(lengths, out=burst.id_end[1 : len(streams) + 1])
