"""An engine's frame: its arrays, those of the rows that it is to step, and those of what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from streamrnn._jit import inlined, kernel
from streamrnn.frames import FIELDS, Kinds, put, reader, write

from .admission import Arrivals, Events
from .program import Program, Slab, Work
from .table import Table

__all__ = [
    "ADVANCE",
    "INGEST",
    "Answers",
    "Marks",
    "Rows",
    "answers_of",
    "arrivals_of",
    "bind",
    "bind_arrivals",
    "events_of",
    "marks_of",
    "new_frame",
    "program_of",
    "put_rows",
    "rows_of",
    "slab_of",
    "table_of",
    "work_of",
]

ADVANCE, INGEST = 0, 1
"""Where a frame holds the addresses of the compiled functions that it is for."""

_ENTRIES = 2


class Marks(NamedTuple):
    """stamp int64 (capacity,): where a slot was last met in a walk over rows; mark int64 (1,): the largest stamp given;
    cursor int64 (2,): the first row that is not settled, and the row up to which rows are admitted."""

    stamp: npt.NDArray[np.int64]
    mark: npt.NDArray[np.int64]
    cursor: npt.NDArray[np.int64]


class Rows(NamedTuple):
    """What is to be stepped: x float32 (n, n_in), t int64 (n,), has uint8 (n,), slots int64 (n,) with -1 for rows that
    were refused, fresh uint8 (n,), 1 where the state is to start from zero."""

    x: npt.NDArray[np.float32]
    t: npt.NDArray[np.int64]
    has: npt.NDArray[np.uint8]
    slots: npt.NDArray[np.int64]
    fresh: npt.NDArray[np.uint8]


class Answers(NamedTuple):
    """The arrays of a `Results` that the step writes."""

    y: npt.NDArray[np.float32]
    score: npt.NDArray[np.float32]
    flag: npt.NDArray[np.uint8]
    edge: npt.NDArray[np.int8]
    cause: npt.NDArray[np.int32]
    seen: npt.NDArray[np.int64]
    epoch: npt.NDArray[np.int64]
    missing: npt.NDArray[np.uint8]


_F32, _F64, _I64, _U64, _I32, _I8, _U8 = (
    types.float32, types.float64, types.int64, types.uint64, types.int32, types.int8, types.uint8,
)  # fmt: skip

_GROUPS: list[tuple[type[Any], Kinds]] = [
    (Program, [(_I64, 1), (_I64, 2), (_F32, 1), (_F64, 1), (_F64, 1)]),
    (Slab, [(_F32, 2), (_F64, 2), (_F64, 2), (_F32, 3)]),
    (Table, [(_U8, 2), (_I64, 1), (_U64, 1), (_I64, 1), (_I64, 2), (_I64, 1), (_U64, 1)]),
    (Work, [(_F32, 2), (_F32, 2), (_F32, 2), (_I64, 1), (_I64, 1), (_I64, 1), (_F64, 1), (_F64, 1), (_F32, 1)]),
    (Marks, [(_I64, 1), (_I64, 1), (_I64, 1)]),
    (Events, [(_I64, 1), (_I64, 1), (_I64, 1), (_I64, 1), (_U8, 2), (_I64, 1)]),
    (Rows, [(_F32, 2), (_I64, 1), (_U8, 1), (_I64, 1), (_U8, 1)]),
    (Answers, [(_F32, 2), (_F32, 1), (_U8, 1), (_I8, 1), (_I32, 1), (_I64, 1), (_I64, 1), (_U8, 2)]),
    (Arrivals, [(_I64, 1), (_I64, 1), (_U8, 1), (_I64, 1), (_I8, 1), (_I64, 1)]),
]


def _places() -> dict[type[Any], int]:
    places, at = {}, _ENTRIES
    for group, kinds in _GROUPS:
        places[group] = at
        at += FIELDS * len(kinds)
    return places


_PLACES = _places()
_SIZE = _ENTRIES + FIELDS * sum(len(kinds) for _, kinds in _GROUPS)
_ROWS, _ANSWERS, _ARRIVALS = (np.int64(_PLACES[group]) for group in (Rows, Answers, Arrivals))

_readers: list[Any] = [reader(group, kinds, _PLACES[group]) for group, kinds in _GROUPS]
program_of, slab_of, table_of, work_of, marks_of, events_of, rows_of, answers_of, arrivals_of = _readers
"""Compiled functions from a frame to each of its tuples."""


@inlined
def put_rows(frame, rows, answers):
    """Let a frame be about these rows and their answers, from compiled code."""
    put(frame, _ROWS, rows)
    put(frame, _ANSWERS, answers)


@kernel
def bind(frame, rows, answers):
    """The same from Python."""
    put_rows(frame, rows, answers)


@kernel
def bind_arrivals(frame, arrivals):
    """Let a frame be about these arrivals, whose rows were bound."""
    put(frame, _ARRIVALS, arrivals)


def new_frame(entries: Sequence[int], *groups: tuple[npt.NDArray[Any], ...]) -> npt.NDArray[np.int64]:
    """A frame of the addresses of its compiled functions and of all arrays of these groups, the others left empty."""
    frame = np.zeros(_SIZE, np.int64)
    frame[: len(entries)] = entries
    for group in groups:
        write(frame, _PLACES[type(group)], group)
    return frame
