"""A stream's state, out of the engine and back in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamrnn.errors import StateError
from streamrnn.model import Model

from .outputs import StreamState
from .program import Layout, Slab
from .table import COUNT, EPOCH, FLAGS, LAST_EPOCH, LAST_T, SEEN_SEQ, SEEN_T, SEQ, SESSION, WINDOW, Table

__all__ = ["check_state", "read_state", "write_state"]

_FEED = (LAST_T, SEQ, WINDOW, SESSION, FLAGS)
_FEED_FLAGS = SEEN_T | SEEN_SEQ


def _view(layout: Layout, row: Slab, name: str) -> npt.NDArray[np.floating]:
    array, at, shape = layout.parts[name]
    numbers: npt.NDArray[np.floating] = getattr(row, array)[0]
    return numbers[at : at + int(np.prod(shape))].reshape(shape)


def read_state(model: Model, layout: Layout, row: Slab, table: Table, slot: int) -> StreamState:
    """A copy of what the slot holds, whose row is a slab of one slot."""
    arrays = {name: _view(layout, row, name).copy() for name in layout.parts}
    arrays["ring"] = row.ring[0].copy()
    feed = table.meta[slot, list(_FEED)]
    feed[-1] &= _FEED_FLAGS
    return StreamState(model.fingerprint, int(table.meta[slot, COUNT]), arrays, feed)


def check_state(model: Model, layout: Layout, ring: tuple[int, ...], state: StreamState) -> None:
    """StateError where a saved state does not belong to this model, this layout, or is not finite."""
    if state.fingerprint != model.fingerprint:
        raise StateError(f"the state is of model {state.fingerprint}; this engine runs {model.fingerprint}")
    if state.n < 0:
        raise StateError(f"the state has seen {state.n} samples; that cannot be negative")
    shapes = {name: shape for name, (_, _, shape) in layout.parts.items()}
    shapes["ring"] = ring
    if set(state.arrays) != set(shapes):
        odd = sorted(set(state.arrays) ^ set(shapes))
        raise StateError(f"the state's arrays differ from the model's in {', '.join(odd)}")
    for name, shape in shapes.items():
        array = np.asarray(state.arrays[name])
        if array.shape != shape:
            raise StateError(f"array {name!r} of the state has shape {array.shape}; it must be {shape}")
        # The ring keeps missing values as they came.
        if not (np.isfinite(array) | (name == "ring")).all():
            raise StateError(f"array {name!r} of the state holds values that are not finite")
    if np.asarray(state.feed).shape != (len(_FEED),):
        raise StateError(f"the state's feed has shape {np.shape(state.feed)}; it must be ({len(_FEED)},)")


def write_state(layout: Layout, row: Slab, table: Table, slot: int, state: StreamState) -> None:
    """Put a checked state into a live slot, whose row is a slab of one slot; its epoch grows."""
    for name in layout.parts:
        _view(layout, row, name)[...] = state.arrays[name]
    row.ring[0] = state.arrays["ring"]
    meta = table.meta[slot]
    meta[COUNT] = state.n
    keep = meta[FLAGS] & ~_FEED_FLAGS
    meta[list(_FEED)] = state.feed
    meta[FLAGS] = keep | (int(state.feed[-1]) & _FEED_FLAGS)
    table.head[LAST_EPOCH] += 1
    meta[EPOCH] = table.head[LAST_EPOCH]
