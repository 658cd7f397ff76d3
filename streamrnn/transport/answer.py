"""Compiled: what comes once rows are told: a block's next piece and, at its end, the answer, as `BlockPath` does."""

from __future__ import annotations

from .._jit import Entry, fused
from ..burst import ACCEPTED, HAS_SEQ, HAS_SESSION, HAS_T
from ..engine.frame import answers_of, arrivals_of, rows_of
from ..frames import address_of, numbers_at
from ..wire.codec import HAS, IDS, N_IDS, ONE_ID, ROWS, SEQ, SESSION, T, X, next_id, next_token
from ..wire.packer import encode_block_output, put_str_head
from ..wire.raw import copy, native64, put16, put32
from . import flow as at
from .flow import GATHERING, TOKENS, flow_of, library_of
from .native import REALTIME, now
from .tell import publish

__all__ = ["rest"]


@fused
def _next_piece(flow):
    """Fill the burst with the block's next rows."""
    s, fields = flow.state, flow.fields
    lane = flow.lanes[s[at.LANE]]
    frame = numbers_at(lane[at.FRAME])
    rows, arrivals = rows_of(frame), arrivals_of(frame)
    first, n_in, has = s[at.FILLED], lane[at.N_IN], fields[HAS]
    n = min(lane[at.CAPACITY], fields[ROWS] - first)
    ids = address_of(arrivals.ids)
    end = arrivals.id_end[0]
    p = s[at.NEXT_ID]
    for i in range(n):
        rows.has[i] = has
        rows.t[i] = native64(fields[T] + 8 * (first + i)) if has & HAS_T else 0
        arrivals.seq[i] = native64(fields[SEQ] + 8 * (first + i)) if has & HAS_SEQ else 0
        arrivals.session[i] = fields[SESSION] if has & HAS_SESSION else 0
        length = fields[N_IDS]
        if not fields[ONE_ID]:
            p, length = next_id(p, p + 256)
        copy(ids + end, p, length)
        if not fields[ONE_ID]:
            p += length
        end += length
        arrivals.id_end[i + 1] = end
    s[at.NEXT_ID] = p
    if flow.limits[TOKENS] > 0:
        p = fields[X]
        for i in range(n):
            p, rows.x[i, 0] = next_token(p)
        fields[X] = p
    else:
        copy(address_of(rows.x), fields[X] + 4 * n_in * first, 4 * n_in * n)
    s[at.FILLED] = first + n
    s[at.ROWS] = n
    s[at.ROW] = 0
    s[at.TELL] = 0


@fused
def _keep_piece(flow):
    """Set the accepted rows of the piece aside for the answer."""
    s, one = flow.state, flow.fields[ONE_ID]
    lane = flow.lanes[s[at.LANE]]
    frame = numbers_at(lane[at.FRAME])
    rows, arrivals, answers = rows_of(frame), arrivals_of(frame), answers_of(frame)
    n_out = lane[at.N_OUT]
    k, p = s[at.KEPT], address_of(flow.ids) + s[at.KEPT_IDS]
    for i in range(s[at.ROWS]):
        if arrivals.verdict[i] != ACCEPTED:
            continue
        for j in range(n_out):
            flow.y[k * n_out + j] = answers.y[i, j]
        flow.score[k] = answers.score[i]
        flow.flag[k] = answers.flag[i]
        flow.t[k] = rows.t[i] if rows.has[i] & HAS_T else s[at.RECV]
        flow.seq[k] = arrivals.seq[i]
        if not one:
            start = arrivals.id_end[i]
            length = arrivals.id_end[i + 1] - start
            p = copy(put_str_head(p, length), address_of(arrivals.ids) + start, length)
        k += 1
    s[at.KEPT] = k
    s[at.KEPT_IDS] = p - address_of(flow.ids)


@fused
def _finish(library, flow):
    """Publish the answer, if any row was accepted: ON or BROKEN."""
    s, fields = flow.state, flow.fields
    n = s[at.KEPT]
    s[at.BLOCK] = 0
    s[at.HELD] = 0
    if n == 0:
        return at.ON
    flow.counts[at.ACCEPTED] += n
    flow.counts[at.OUTPUTS_] += n
    one = fields[ONE_ID] != 0
    n_ids, ids, size = n, address_of(flow.ids), s[at.KEPT_IDS]
    if one:
        n_ids, ids, size = fields[N_IDS], fields[IDS], fields[N_IDS]
    out = address_of(flow.out)
    stop = encode_block_output(
        out + 8,
        one,
        n_ids,
        ids,
        size,
        (address_of(flow.seq), 8 * n if fields[HAS] & HAS_SEQ else 0),
        (address_of(flow.t), 8 * n),
        (address_of(flow.y), 4 * n * flow.lanes[s[at.LANE], at.N_OUT]),
        (address_of(flow.score), 4 * n),
        (address_of(flow.flag), n),
        s[at.RECV],
        now(library, REALTIME, address_of(flow.clock)),
    )
    put16(put32(out, 0x626C6F63), 0x6B2F)  # block/
    return publish(library, flow, out, 6, out + 8, stop - out - 8)


@Entry
def rest(address):
    """Keep what a block's piece gave, and fill the next one or answer; else empty the burst. ON or BROKEN."""
    flow = flow_of(numbers_at(address))
    library = library_of(flow)
    s = flow.state
    if s[at.BLOCK]:
        _keep_piece(flow)
        if s[at.FILLED] < flow.fields[ROWS]:
            _next_piece(flow)
            return at.ON
        if _finish(library, flow) == at.BROKEN:
            return at.BROKEN
    s[at.ROWS] = 0
    s[at.ROW] = 0
    s[at.TELL] = 0
    s[at.PHASE] = GATHERING
    return at.ON
