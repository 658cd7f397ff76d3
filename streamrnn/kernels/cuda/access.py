"""Elements of C-contiguous arrays by indices that are not negative.

    get(array, i), get(array, (i, j))           array[i], array[i, j]
    put(array, i, value), put(array, (i, j), value)
    part(array, start, n)                       array[start : start + n] of one dimension
    rows_from(array, start)                     array[start:] of two dimensions

Numba lets an index count from the end, and so compares each with 0 and keeps every array's shape at hand: of the
instructions around a product that was half, and of the registers a third.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from streamrnn._cuda import SIMULATED

__all__ = ["get", "part", "put", "rows_from"]


def _element(context, builder, array_type, array, index_type, index):  # type: ignore[no-untyped-def]
    """A pointer to an element."""
    view = context.make_array(array_type)(context, builder, value=array)
    if isinstance(index_type, types.BaseTuple):
        indices = list(zip(cgutils.unpack_tuple(builder, index), index_type.types, strict=True))
    else:
        indices = [(index, index_type)]
    whole = [context.cast(builder, i, kind, types.intp) for i, kind in indices]
    flat = whole[0]
    for size, i in zip(cgutils.unpack_tuple(builder, view.shape)[1:], whole[1:], strict=True):
        flat = builder.add(builder.mul(flat, size), i)
    return builder.gep(view.data, [flat])


@intrinsic
def _get(typingctx, array, index):  # type: ignore[no-untyped-def]  # noqa: ARG001
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.load(_element(context, builder, signature.args[0], args[0], signature.args[1], args[1]))

    return array.dtype(array, index), codegen


@intrinsic
def _put(typingctx, array, index, value):  # type: ignore[no-untyped-def]  # noqa: ARG001
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        builder.store(args[2], _element(context, builder, signature.args[0], args[0], signature.args[1], args[1]))
        return context.get_dummy_value()

    return types.void(array, index, array.dtype), codegen


@intrinsic
def _part(typingctx, array, start, n):  # type: ignore[no-untyped-def]  # noqa: ARG001
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        view = context.make_array(signature.args[0])(context, builder, value=args[0])
        start, n = (context.cast(builder, args[k], signature.args[k], types.intp) for k in (1, 2))
        view.data = builder.gep(view.data, [start])
        view.shape, view.nitems = cgutils.pack_array(builder, [n]), n
        return view._getvalue()

    return array(array, start, n), codegen


@intrinsic
def _rows_from(typingctx, array, start):  # type: ignore[no-untyped-def]  # noqa: ARG001
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        view = context.make_array(signature.args[0])(context, builder, value=args[0])
        rows, columns = cgutils.unpack_tuple(builder, view.shape)
        start = context.cast(builder, args[1], signature.args[1], types.intp)
        view.data = builder.gep(view.data, [builder.mul(start, columns)])
        view.shape = cgutils.pack_array(builder, [builder.sub(rows, start), columns])
        view.nitems = builder.mul(builder.sub(rows, start), columns)
        return view._getvalue()

    return array(array, start), codegen


def _simulated_get(array: Any, index: Any) -> Any:
    return array[index]


def _simulated_put(array: Any, index: Any, value: Any) -> None:
    array[index] = value


def _simulated_part(array: Any, start: Any, n: Any) -> Any:
    return array[start : start + n]


def _simulated_rows_from(array: Any, start: Any) -> Any:
    return array[start:]


get: Any = _simulated_get if SIMULATED else _get
put: Any = _simulated_put if SIMULATED else _put
part: Any = _simulated_part if SIMULATED else _part
rows_from: Any = _simulated_rows_from if SIMULATED else _rows_from
