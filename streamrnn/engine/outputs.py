"""What a step gives back, and what a stream's state looks like from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn.model import Model

__all__ = ["Event", "Output", "Outputs", "StreamState"]


class Output(NamedTuple):
    """The answer to one sample.

    `y` float32 (n_out,); `score` never negative, 0 until there is something to compare with; `flag` the detector's
    decision; `cause` channel and component where flag is true, else None; `n` samples since the state began;
    `missing` the channels that were missing and filled.
    """

    y: npt.NDArray[np.float32]
    score: float
    flag: bool
    cause: str | None
    n: int
    missing: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Outputs:
    """The answers to n samples, row for row.

    `y` float32 (n, n_out), `score` float32 (n,), `flag` bool (n,), `n` int64 (n,), `missing` bool (n, n_in),
    `edge` int8 (n,): 1 where a flag was raised, -1 where it was cleared. Indexing gives one `Output`.
    """

    y: npt.NDArray[np.float32]
    score: npt.NDArray[np.float32]
    flag: npt.NDArray[np.bool_]
    edge: npt.NDArray[np.int8]
    n: npt.NDArray[np.int64]
    missing: npt.NDArray[np.bool_]
    cause_code: npt.NDArray[np.int32] = field(repr=False)
    _model: Model = field(repr=False)

    @property
    def cause(self) -> tuple[str | None, ...]:
        """Channel and component of each raised flag, None elsewhere."""
        return tuple(self._model.cause_name(code) for code in self.cause_code.tolist())

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, i: int) -> Output:
        return Output(
            self.y[i],
            float(self.score[i]),
            bool(self.flag[i]),
            self._model.cause_name(int(self.cause_code[i])),
            int(self.n[i]),
            tuple(np.flatnonzero(self.missing[i]).tolist()),
        )


class Event(NamedTuple):
    """Something that happened to a stream: kind "created", "reset" or "evicted", the reason, the samples that its state
    had seen, and the row of the burst whose sample caused it, -1 where none did."""

    kind: str
    stream: str
    reason: str
    n: int
    row: int = -1


@dataclass(frozen=True)
class StreamState:
    """A copy of everything that a stream carries from one sample to the next.

    `arrays` holds h_l0, c_l0, ... and what the normaliser, the online readout, the detector and the ring keep, by name;
    `feed` int64 (5,) is the bookkeeping of times and sequence numbers. It fits models of the same `fingerprint`.
    """

    fingerprint: str
    n: int
    arrays: Mapping[str, npt.NDArray[np.floating]]
    feed: npt.NDArray[np.int64] = field(repr=False)
