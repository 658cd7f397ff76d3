"""An engine's arrays behind one argument.

Numba unpacks every array of every argument on each call from Python, and passes each as half a dozen numbers from one
compiled function to the next; with three dozen arrays both take longer than the step of one stream. A frame is one
array of integers: the addresses and shapes of the engine's arrays, of the rows that it is to step, and of what it
answers. Compiled code turns them back into the same tuples, and reads what it needs. Whoever makes a frame keeps the
arrays alive, and makes a new one when an array is replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import get_itemsize, populate_array

from streamrnn._jit import kernel

from .admission import Arrivals, Events
from .program import Program, Slab, Work
from .table import Table

__all__ = [
    "ADVANCE",
    "FRAME",
    "INGEST",
    "Answers",
    "Marks",
    "Rows",
    "address_of",
    "answers_of",
    "arrivals_of",
    "bind",
    "bind_arrivals",
    "events_of",
    "frame_at",
    "marks_of",
    "new_frame",
    "program_of",
    "rows_of",
    "slab_of",
    "table_of",
    "work_of",
]

ADVANCE, INGEST = 0, 1
"""Where a frame holds the addresses of the compiled functions that it is for."""

_ENTRIES = 2
_DIMENSIONS = 3
_FIELDS = 1 + _DIMENSIONS  # numbers of an array in a frame: its address and its shape


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

_GROUPS: list[tuple[type[Any], list[tuple[types.Type, int]]]] = [
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
        at += _FIELDS * len(kinds)
    return places


_PLACES = _places()

FRAME = _ENTRIES + _FIELDS * sum(len(kinds) for _, kinds in _GROUPS)
"""Numbers in a frame."""


def _array(context: Any, builder: Any, kind: types.Array, read: Sequence[Any]) -> Any:
    """An array of compiled code from its address and shape."""
    i64 = ir.IntType(64)
    itemsize = i64(get_itemsize(context, kind))
    strides = [itemsize]
    for size in reversed(read[2:]):
        strides.insert(0, builder.mul(strides[0], size))
    array = context.make_array(kind)(context, builder)
    data = builder.inttoptr(read[0], array.data.type)
    populate_array(array, data, list(read[1:]), strides, itemsize, meminfo=None)
    return array._getvalue()


def _reader(group: type[Any], kinds: list[tuple[types.Type, int]]) -> Any:
    """A compiled function from a frame to the group's tuple."""
    members = [types.Array(dtype, dimensions, "C") for dtype, dimensions in kinds]
    result = types.NamedTuple(members, group)
    place = _PLACES[group]

    @intrinsic
    def read(typingctx, frame):  # type: ignore[no-untyped-def]  # noqa: ARG001
        """The group's arrays in a frame."""

        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
            numbers = context.make_array(signature.args[0])(context, builder, value=args[0]).data
            at = ir.IntType(64)
            arrays = []
            for i, kind in enumerate(members):
                first = place + _FIELDS * i
                pointers = [builder.gep(numbers, [at(first + k)]) for k in range(1 + kind.ndim)]
                arrays.append(_array(context, builder, kind, [builder.load(p) for p in pointers]))
            return context.make_tuple(builder, result, arrays)

        return result(frame), codegen

    return read


_readers: list[Any] = [_reader(group, kinds) for group, kinds in _GROUPS]
program_of, slab_of, table_of, work_of, marks_of, events_of, rows_of, answers_of, arrivals_of = _readers


@intrinsic
def frame_at(typingctx, address):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """The frame at an address."""
    result = types.Array(types.int64, 1, "C")

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]  # noqa: ARG001
        return _array(context, builder, result, [args[0], ir.IntType(64)(FRAME)])

    return result(types.int64), codegen


@intrinsic
def address_of(typingctx, array):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """The address of a contiguous array's first element."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, value=args[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return types.int64(array), codegen


@intrinsic
def _put(typingctx, frame, at, arrays):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Write the addresses and shapes of a tuple of arrays into a frame from a place on."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        frame, at, group = args
        numbers = context.make_array(signature.args[0])(context, builder, value=frame).data
        i64 = ir.IntType(64)
        for i, (kind, value) in enumerate(
            zip(signature.args[2].types, cgutils.unpack_tuple(builder, group), strict=True)
        ):
            array = context.make_array(kind)(context, builder, value=value)
            written = [builder.ptrtoint(array.data, i64), *cgutils.unpack_tuple(builder, array.shape)]
            for k, number in enumerate(written):
                builder.store(number, builder.gep(numbers, [builder.add(at, i64(_FIELDS * i + k))]))
        return context.get_dummy_value()

    return types.void(frame, types.int64, arrays), codegen


_ROWS, _ANSWERS, _ARRIVALS = _PLACES[Rows], _PLACES[Answers], _PLACES[Arrivals]


@kernel
def bind(frame, rows, answers):
    """Let a frame be about these rows and their answers."""
    _put(frame, _ROWS, rows)
    _put(frame, _ANSWERS, answers)


@kernel
def bind_arrivals(frame, arrivals):
    """Let a frame be about these arrivals, whose rows were bound."""
    _put(frame, _ARRIVALS, arrivals)


def new_frame(entries: Sequence[int], *groups: tuple[npt.NDArray[np.generic], ...]) -> npt.NDArray[np.int64]:
    """A frame of the addresses of its compiled functions and of all arrays of these groups, the others left empty;
    int64 (FRAME,)."""
    frame = np.zeros(FRAME, np.int64)
    frame[: len(entries)] = entries
    for group in groups:
        at = _PLACES[type(group)]
        for i, array in enumerate(group):
            if not array.flags.c_contiguous:
                raise ValueError(f"a frame takes C-contiguous arrays; one of shape {array.shape} is not")
            numbers = [array.ctypes.data, *array.shape]
            frame[at + _FIELDS * i : at + _FIELDS * i + len(numbers)] = numbers
    return frame
