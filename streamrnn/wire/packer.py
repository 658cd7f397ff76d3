"""The compiled twin of `outputs.py`: what goes out, as bytes.

Positions are addresses; a function returns the one behind what it wrote, and the caller has seen to the room.
"""

from __future__ import annotations

import numpy as np

from .._jit import fused, kernel
from ..burst import HAS_SEQ
from .raw import copy, put8, put16, put32, put64, put_f32

__all__ = [
    "OUTPUT_ROOM",
    "encode_block_output",
    "encode_output",
    "put_array_head",
    "put_bin_head",
    "put_str_head",
    "put_topic",
]

OUTPUT_ROOM = 384
"""Bytes that an output takes at most, its topic and what is written over behind it included, besides its cause, 5 for a
value of y and 3 for a missing channel."""


def _key(name: str) -> tuple[int, int]:
    """A key with its head, left-aligned in eight bytes, and its length."""
    raw = bytes([0xA0 + len(name)]) + name.encode()
    return int.from_bytes(raw.ljust(8, b"\0"), "big", signed=True), len(raw)


_SEQ, _T, _Y, _SCORE, _FLAG, _CAUSE, _N, _EPOCH, _RECV, _SENT, _MISSING, _EDGE, _IDS = map(
    _key, ("seq", "t", "y", "score", "flag", "cause", "n", "epoch", "recv", "sent", "missing", "edge", "ids")
)
_RAISED, _CLEARED = _key("raised"), _key("cleared")


@fused
def _put_key(p, key):
    """Write a short key; up to seven bytes behind it are overwritten too."""
    put64(p, key[0])
    return p + key[1]


@kernel
def _put_uint(p, value):
    """Write a uint64 (as int64) in its shortest form."""
    v = np.uint64(value)
    if v < np.uint64(0x80):
        return put8(p, value)
    if v < np.uint64(0x100):
        return put8(put8(p, 0xCC), value)
    if v < np.uint64(0x10000):
        return put16(put8(p, 0xCD), value)
    if v < np.uint64(0x100000000):
        return put32(put8(p, 0xCE), value)
    return put64(put8(p, 0xCF), value)


@fused
def _put_int(p, value):
    """Write an int64 in its shortest form."""
    if value >= 0:
        return _put_uint(p, value)
    if value >= -0x20:
        return put8(p, value)
    if value >= -0x80:
        return put8(put8(p, 0xD0), value)
    if value >= -0x8000:
        return put16(put8(p, 0xD1), value)
    if value >= -0x80000000:
        return put32(put8(p, 0xD2), value)
    return put64(put8(p, 0xD3), value)


@kernel
def put_array_head(p, n):
    if n < 16:
        return put8(p, 0x90 | n)
    return put16(put8(p, 0xDC), n) if n < 0x10000 else put32(put8(p, 0xDD), n)


@kernel
def put_str_head(p, n):
    if n < 32:
        return put8(p, 0xA0 | n)
    return put8(put8(p, 0xD9), n) if n < 0x100 else put16(put8(p, 0xDA), n)


@kernel
def put_bin_head(p, n):
    if n < 0x100:
        return put8(put8(p, 0xC4), n)
    return put16(put8(p, 0xC5), n) if n < 0x10000 else put32(put8(p, 0xC6), n)


@fused
def encode_output(p, seq, t, has, y, score, flag, cause, cause_length, n, epoch, recv, sent, missing, edge):
    """Write the body of `out/`, or of `flag/` where there is an edge; the position behind it.

    y float32 (n_out,), missing uint8 (n_in,), `has` the sample's HAS_ bits, cause an address, or 0 for none. The same
    bytes as `outputs.encode_output`, which says what goes where.
    """
    n_missing = 0
    for k in range(missing.shape[0]):
        n_missing += missing[k] != 0
    with_seq = has & HAS_SEQ != 0
    with_cause = flag != 0 and cause != 0
    p = put8(p, 0x88 + with_seq + with_cause + (n_missing > 0) + (edge != 0))
    if with_seq:
        p = _put_uint(_put_key(p, _SEQ), seq)
    p = _put_int(_put_key(p, _T), t)
    p = put_array_head(_put_key(p, _Y), y.shape[0])
    for k in range(y.shape[0]):
        p = put_f32(put8(p, 0xCA), y[k])
    p = put_f32(put8(_put_key(p, _SCORE), 0xCA), score)
    p = put8(_put_key(p, _FLAG), 0xC2 + (flag != 0))
    if with_cause:
        p = copy(put_str_head(_put_key(p, _CAUSE), cause_length), cause, cause_length)
    p = _put_uint(_put_key(p, _N), n)
    p = _put_int(_put_key(p, _EPOCH), epoch)
    p = _put_uint(_put_key(p, _RECV), recv)
    p = _put_uint(_put_key(p, _SENT), sent)
    if n_missing > 0:
        p = put_array_head(_put_key(p, _MISSING), n_missing)
        for k in range(missing.shape[0]):
            if missing[k] != 0:
                p = _put_uint(p, k)
    if edge != 0:
        p = _put_key(p, _EDGE)
        p = _put_key(p, _RAISED) if edge > 0 else _put_key(p, _CLEARED)
    return p


_OUT, _FLAG_TOPIC = (int.from_bytes(b.ljust(8, b"\0"), "big") for b in (b"out/", b"flag/"))


@fused
def put_topic(p, flag, stream, length):
    """Write `out/<stream>/`, or `flag/<stream>/`; up to four bytes behind it are overwritten too."""
    if flag:
        put64(p, _FLAG_TOPIC)
        p += 5
    else:
        put64(p, _OUT)
        p += 4
    return put8(copy(p, stream, length), 0x2F)


@fused
def _put_column(p, key, source, n):
    """Write a key and a bin of n bytes."""
    return copy(put_bin_head(_put_key(p, key), n), source, n)


@fused
def encode_block_output(p, one_id, n_ids, ids, ids_size, seq, t, y, score, flag, recv, sent):
    """Write the answer to a block; the same bytes as `outputs.encode_block_output`.

    ids: the address of one id of n_ids bytes, or of as many ids with their heads, ids_size bytes in all. seq, t, y
    (n_out values a row stand in its size), score, flag: (address, bytes) of the columns, seq of no bytes for none.
    """
    p = put8(p, 0x87 + (seq[1] > 0))
    p = _put_key(p, _IDS)
    p = put_str_head(p, n_ids) if one_id else put_array_head(p, n_ids)
    p = copy(p, ids, ids_size)
    if seq[1] > 0:
        p = _put_column(p, _SEQ, seq[0], seq[1])
    p = _put_column(p, _T, t[0], t[1])
    p = _put_column(p, _Y, y[0], y[1])
    p = _put_column(p, _SCORE, score[0], score[1])
    p = _put_column(p, _FLAG, flag[0], flag[1])
    p = _put_uint(_put_key(p, _RECV), recv)
    return _put_uint(_put_key(p, _SENT), sent)
