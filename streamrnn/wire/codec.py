"""The compiled twin of `ingest.py`: samples and blocks from bytes.

What is out of the ordinary is refused here and read again by `ingest.py`, which settles it; see `reader.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._jit import fused, kernel
from ..burst import HAS_RESET, HAS_SEQ, HAS_SESSION, HAS_T
from ..ids import MAX_ID
from .limits import MAX_SESSION
from .raw import native32, native64, text, u8, u16, u32
from .reader import ARRAY, BIN, MAP, NIL, REFUSED, STR, head, integer, number, skip

__all__ = [
    "BLOCK_FIELDS",
    "FIELDS",
    "HAS",
    "IDS",
    "N_IDS",
    "ONE_ID",
    "ROWS",
    "SEQ",
    "SESSION",
    "WIDTH",
    "Bounds",
    "T",
    "X",
    "decode_block",
    "decode_sample",
    "id_of_topic",
    "is_block_topic",
    "next_id",
    "next_token",
]


class Bounds(NamedTuple):
    """`Limits` as plain numbers, with the latest time that is taken, ns, and how many tokens there are, else 0."""

    max_width: int
    max_block: int
    max_depth: int
    max_skipped: int
    latest: int
    tokens: int


# What `decode_sample` writes, int64; a block's fields begin alike.
T, SEQ, SESSION, HAS, WIDTH = range(5)
FIELDS = 5

# Of a block, T, SEQ and X are addresses of columns; of tokens, X is that of the next one. IDS is that of the first id,
# N_IDS their number or, where one stands for all rows (ONE_ID), its length.
X, IDS, N_IDS, ONE_ID, ROWS = range(5, 10)
BLOCK_FIELDS = 10

_FNV_START, _FNV_TIMES = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_MAGNITUDE, _INFINITY = np.int64(0x7FFFFFFF), np.int64(0x7F800000)


@fused
def id_of_topic(p, n):
    """(address, length) of the stream id in a topic `in/<stream>/`, or REFUSED."""
    if n < 5 or n > MAX_ID + 4 or u8(p) != 0x69 or u16(p + 1) != 0x6E2F or u8(p + n - 1) != 0x2F:
        return REFUSED, np.int64(0)
    if not text(p + 3, n - 4, False):
        return REFUSED, np.int64(0)
    return p + 3, n - 4


@fused
def is_block_topic(p, n):
    return n == 6 and u32(p) == 0x626C6F63 and u16(p + 4) == 0x6B2F


@kernel
def _session(p, end, fields):
    """Read a session: a str or bin as its hash (`burst.session_key`), or nil."""
    kind, at, n = head(p, end)
    if at == REFUSED or kind == NIL:
        return at
    if kind not in (STR, BIN) or n > MAX_SESSION or (kind == STR and not text(at, n, True)):
        return REFUSED
    h = _FNV_START
    for k in range(n):
        h = (h ^ np.uint64(u8(at + k))) * _FNV_TIMES
    fields[SESSION] = np.int64(h)
    fields[HAS] |= HAS_SESSION
    return at + n


@kernel
def _infinite(p, n):
    """Whether there is an infinity among n float32 at p."""
    found = False
    for k in range(n):
        found = found or native32(p + 4 * k) & _MAGNITUDE == _INFINITY
    return found


@fused
def _values(p, end, bounds, n_in, x, fields):
    """Read x: its width into fields, and its values into x float32 (n_in,) where that is its width."""
    if bounds.tokens > 0:
        at, token, above = integer(p, end)
        if at == REFUSED or above or token < 0 or token >= bounds.tokens:
            return REFUSED
        fields[WIDTH] = 1
        x[0] = token
        return at
    kind, at, n = head(p, end)
    if at == REFUSED:
        return REFUSED
    if kind == BIN:
        width = n >> 2
        if n & 3 or width < 1 or width > bounds.max_width or _infinite(at, width):
            return REFUSED
        fields[WIDTH] = width
        if width == n_in:
            for k in range(n_in):
                x[k] = np.int32(native32(at + 4 * k)).view(np.float32)
        return at + n
    if kind != ARRAY or n < 1 or n > bounds.max_width:
        return REFUSED
    fields[WIDTH] = n
    for k in range(n):
        at, value = number(at, end)
        if at == REFUSED or np.isinf(value):
            return REFUSED
        if n == n_in:
            x[k] = value
    return at


@fused
def decode_sample(p, end, bounds, n_in, x, fields, stack):
    """Read the body of one sample; whether it was a sound one.

    fields int64 (FIELDS,) receives t, seq, session and width, with the HAS_ bits of those that are there; x float32
    (n_in,) the values, where n_in is the sample's width: else they were not looked at, and the caller comes back with
    room for them. stack int64 (max_depth + 2,) is scratch.
    """
    kind, p, pairs = head(p, end)
    if p == REFUSED or kind != MAP:
        return False
    fields[HAS] = 0
    fields[WIDTH] = 0
    stack[-1] = bounds.max_skipped
    seen = 0
    for _ in range(pairs):
        kind, at, n = head(p, end)
        if at == REFUSED:
            return False
        key = 0
        if kind == STR:
            if n == 1:
                c = u8(at)
                key = 1 if c == 0x78 else (2 if c == 0x74 else 0)
            elif n == 3 and u16(at) == 0x7365 and u8(at + 2) == 0x71:
                key = 4
            elif n == 7 and u32(at) == 0x73657373 and u16(at + 4) == 0x696F and u8(at + 6) == 0x6E:
                key = 8
            elif n == 5 and u32(at) == 0x72657365 and u8(at + 4) == 0x74:
                key = 16
        if key == 0:
            p = skip(p, end, bounds.max_depth, stack)
            if p != REFUSED:
                p = skip(p, end, bounds.max_depth, stack)
        elif seen & key:
            return False
        else:
            seen |= key
            p = at + n
            if key == 1:
                p = _values(p, end, bounds, n_in, x, fields)
            elif key == 2:
                p = _time(p, end, bounds, fields)
            elif key == 4:
                p = _sequence(p, end, fields)
            elif key == 8:
                p = _session(p, end, fields)
            else:
                p = _reset(p, end, fields)
        if p == REFUSED:
            return False
    return p == end and fields[WIDTH] > 0


@fused
def _time(p, end, bounds, fields):
    if p < end and u8(p) == 0xC0:
        return p + 1
    p, t, above = integer(p, end)
    if above or t > bounds.latest:
        return REFUSED
    fields[T] = t
    fields[HAS] |= HAS_T
    return p


@fused
def _sequence(p, end, fields):
    if p < end and u8(p) == 0xC0:
        return p + 1
    p, seq, above = integer(p, end)
    if seq < 0 and not above:
        return REFUSED
    fields[SEQ] = seq
    fields[HAS] |= HAS_SEQ
    return p


@fused
def _reset(p, end, fields):
    if p >= end:
        return REFUSED
    b = u8(p)
    if b == 0xC3:
        fields[HAS] |= HAS_RESET
    return p + 1 if b in (0xC0, 0xC2, 0xC3) else REFUSED


@fused
def _ids(p, end, bounds, fields):
    """Read the ids of a block: their place and number into fields."""
    kind, at, n = head(p, end)
    if at == REFUSED:
        return REFUSED
    if kind == STR:
        fields[ONE_ID], fields[IDS], fields[N_IDS] = 1, at, n
        return at + n if 1 <= n <= MAX_ID and text(at, n, False) else REFUSED
    if kind != ARRAY or n > bounds.max_block:
        return REFUSED
    fields[ONE_ID], fields[IDS], fields[N_IDS] = 0, at, n
    for _ in range(n):
        kind, at, length = head(at, end)
        if at == REFUSED or kind != STR or length < 1 or length > MAX_ID or not text(at, length, False):
            return REFUSED
        at += length
    return at


@kernel
def next_id(p, end):
    """(address, length) of the id at p among those of a block that was decoded."""
    _, at, n = head(p, end)
    return at, n


@kernel
def _column(p, end, size):
    """(position behind, address, items) of a bin of items of so many bytes; nil has the address REFUSED."""
    kind, at, n = head(p, end)
    if at != REFUSED and kind == NIL:
        return at, REFUSED, np.int64(0)
    if at == REFUSED or kind != BIN or n % size:
        return REFUSED, REFUSED, np.int64(0)
    return at + n, at, n // size


@kernel
def _tokens(p, end, bounds):
    """(position behind, address of the first, how many) of an array of tokens."""
    kind, at, n = head(p, end)
    if at == REFUSED or kind != ARRAY or n > bounds.max_block:
        return REFUSED, REFUSED, np.int64(0)
    first = at
    for _ in range(n):
        at, token, above = integer(at, end)
        if at == REFUSED or above or token < 0 or token >= bounds.tokens:
            return REFUSED, REFUSED, np.int64(0)
    return at, first, n


@kernel
def next_token(p):
    """(position behind, token) of the token at p among those of a block that was decoded."""
    at, token, _ = integer(p, p + 9)
    return at, np.float32(token)


@fused
def decode_block(p, end, bounds, n_in, fields, stack):
    """Read the body of a block and check all of it but its streams; whether it was a sound one.

    fields int64 (BLOCK_FIELDS,) receives what is said where they are named. `n_in`, where every stream has one width
    and else 0, tells the rows of a block that does not.
    """
    kind, p, pairs = head(p, end)
    if p == REFUSED or kind != MAP:
        return False
    fields[:BLOCK_FIELDS] = 0
    stack[-1] = bounds.max_skipped
    seen = 0
    n = np.int64(-1)
    n_x = n_t = n_seq = np.int64(0)
    for _ in range(pairs):
        kind, at, length = head(p, end)
        if at == REFUSED:
            return False
        key = 0
        if kind == STR:
            if length == 1:
                c = u8(at)
                key = 1 if c == 0x78 else (2 if c == 0x74 else (32 if c == 0x6E else 0))
            elif length == 3:
                if u16(at) == 0x7365 and u8(at + 2) == 0x71:
                    key = 4
                elif u16(at) == 0x6964 and u8(at + 2) == 0x73:
                    key = 16
            elif length == 7 and u32(at) == 0x73657373 and u16(at + 4) == 0x696F and u8(at + 6) == 0x6E:
                key = 8
        if key == 0:
            p = skip(p, end, bounds.max_depth, stack)
            if p != REFUSED:
                p = skip(p, end, bounds.max_depth, stack)
        elif seen & key:
            return False
        else:
            seen |= key
            p = at + length
            if key == 1 and bounds.tokens > 0:
                p, fields[X], n_x = _tokens(p, end, bounds)
            elif key == 1:
                p, fields[X], n_x = _column(p, end, 4)
            elif key == 2:
                p, fields[T], n_t = _column(p, end, 8)
            elif key == 4:
                p, fields[SEQ], n_seq = _column(p, end, 8)
            elif key == 8:
                p = _session(p, end, fields)
            elif key == 16:
                p = _ids(p, end, bounds, fields)
            elif p < end and u8(p) == 0xC0:
                p += 1
            else:
                p, n, above = integer(p, end)
                if n < 0 or above:
                    return False
        if p == REFUSED:
            return False
    if p != end or fields[IDS] == REFUSED or fields[X] == REFUSED:
        return False
    if fields[ONE_ID] == 0:
        if n >= 0 and n != fields[N_IDS]:
            return False
        n = fields[N_IDS]
    elif n < 0:
        n = n_t if fields[T] != REFUSED else (n_seq if fields[SEQ] != REFUSED else _rows(n_x, n_in))
    return _checked(n, n_x, n_t, n_seq, bounds, fields)


@fused
def _rows(values, n_in):
    return values // n_in if n_in > 0 and values % n_in == 0 else np.int64(0)


@fused
def _checked(n, n_x, n_t, n_seq, bounds, fields):
    """Whether a block's columns agree and hold nothing that is refused; sets its rows, width and HAS_ bits."""
    if n < 1 or n > bounds.max_block or n_x == 0 or n_x % n or n_x // n > bounds.max_width:
        return False
    fields[ROWS] = n
    fields[WIDTH] = n_x // n
    if bounds.tokens == 0 and _infinite(fields[X], n_x):
        return False
    if fields[T] != REFUSED:
        if n_t != n:
            return False
        latest = native64(fields[T])
        for k in range(1, n):
            latest = max(latest, native64(fields[T] + 8 * k))
        if latest > bounds.latest:
            return False
        fields[HAS] |= HAS_T
    if fields[SEQ] != REFUSED:
        fields[HAS] |= HAS_SEQ
        return n_seq == n
    return True
