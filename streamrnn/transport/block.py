"""Compiled: the beginning of a block, as `BlockPath.answer` does it: it is read, checked, and given room."""

from __future__ import annotations

from .._jit import Entry, fused
from ..engine.frame import arrivals_of, table_of
from ..engine.table import lookup
from ..frames import address_of, numbers_at
from ..wire.codec import IDS, N_IDS, ONE_ID, ROWS, WIDTH, decode_block, next_id
from ..wire.packer import OUTPUT_ROOM
from ..wire.raw import copy
from . import flow as at
from .flow import ROW_BYTES, ZERO, bounds_of, flow_of, library_of
from .native import data
from .native import size as message_size

__all__ = ["begin_block"]


@fused
def _known(flow, frame):
    """Whether every stream of the block is alive in the lane."""
    table, ids = table_of(frame), arrivals_of(frame).ids
    fields = flow.fields
    p, known = fields[IDS], True
    if fields[ONE_ID]:
        copy(address_of(ids), p, fields[N_IDS])
        return lookup(table, ids, ZERO, fields[N_IDS]) >= 0
    for _ in range(fields[N_IDS]):
        p, n = next_id(p, p + 256)
        copy(address_of(ids), p, n)
        known = known and lookup(table, ids, ZERO, n) >= 0
        p += n
    return known


@Entry
def begin_block(address):
    """Read the held block: FLUSH once it is to be answered, HANDOVER where it is for Python, or ROOM. `address` is the
    frame's."""
    flow = flow_of(numbers_at(address))
    s, fields = flow.state, flow.fields
    library = library_of(flow)
    body, size = data(library, s[at.BODY]), message_size(library, s[at.BODY])
    bounds = bounds_of(flow)
    n_in = flow.lanes[0, at.N_IN] if s[at.FIXED] else 0
    if not decode_block(body, body + size, bounds, n_in, fields, flow.stack):
        return at.HANDOVER
    found = -1
    for k in range(s[at.N_LANES]):
        if flow.lanes[k, at.N_IN] == fields[WIDTH]:
            found = k
    if found < 0:
        return at.HANDOVER
    lane = flow.lanes[found]
    if s[at.N_LANES] > 1 and not _known(flow, numbers_at(lane[at.FRAME])):
        return at.HANDOVER
    s[at.LANE] = found
    rows, n_out = fields[ROWS], lane[at.N_OUT]
    if (
        flow.score.shape[0] < rows
        or flow.y.shape[0] < rows * n_out
        or flow.ids.shape[0] < 2 * size + 8
        or flow.out.shape[0] < 2 * size + rows * (ROW_BYTES + 4 * n_out) + OUTPUT_ROOM
    ):
        s[at.WANTED] = rows
        return at.ROOM
    flow.counts[at.BLOCKS] += 1
    flow.counts[at.SAMPLES] += rows
    s[at.BLOCK] = 1
    s[at.FILLED] = 0
    s[at.KEPT] = 0
    s[at.KEPT_IDS] = 0
    s[at.NEXT_ID] = fields[IDS]
    return at.FLUSH
