"""Samples and blocks on their way in: `in/<stream>/` and `block/`.

What is accepted is decided by `scan.read_map` and the checks below. The msgpack library reads the ordinary
sample first because it is several times quicker; whatever it stumbles over is read again by the rules.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

import msgpack

from ..errors import BadTime, BadTopic, InputError, Malformed, NotFinite, TooLarge, WrongWidth
from .floats import Buffer, first_infinity, floats, from_wire, to_wire, vector_bytes
from .ids import BLOCK_TOPIC, id_bytes, id_of_topic
from .limits import INT64_MAX, INT64_MIN, MAX_SESSION, UINT64_MAX, Limits
from .scan import read_map
from .tokens import read_token, read_tokens, to_token

__all__ = ["Block", "Sample", "decode_ingest", "encode_block", "encode_sample"]

_FLAT = frozenset({int, float, str, bool, bytes, type(None)})
_KEYS = frozenset({"x", "t", "seq", "session", "reset"})
_unpack = msgpack.unpackb


@dataclass(slots=True)
class Sample:
    """One accepted sample: the id in UTF-8, `x` float32 `(n_in,)` with NaN for a missing channel, or one token, `t` in
    ns.
    """

    stream: bytes
    x: array[float]
    t: int | None
    seq: int | None
    session: bytes | None
    reset: bool


@dataclass(slots=True)
class Block:
    """Many samples in order: `x` is `n * n_in` float32, `t` int64 and `seq` uint64 have `n` items where
    present.

    `streams` has an id for every row; `one_id` says that the message named one for all of them.
    """

    streams: list[bytes]
    x: array[float]
    n: int
    n_in: int
    t: array[int] | None
    seq: array[int] | None
    session: bytes | None
    one_id: bool


def encode_sample(
    x: Sequence[float | None] | Buffer | int,
    t: int | None = None,
    seq: int | None = None,
    session: bytes | str | None = None,
    reset: bool = False,
) -> bytes:
    """The body of one sample; keys in this order: x (bin, or a token), t, seq, session, reset. Raises InputError.

    >>> encode_sample([1.0, None], seq=7).hex(" ")
    '82 a1 78 c4 08 00 00 80 3f 00 00 c0 7f a3 73 65 71 07'
    """
    token = to_token(x)
    body: dict[str, object] = {"x": vector_bytes(x) if token is None else token}  # type: ignore[arg-type]
    if t is not None:
        body["t"] = _whole(t)
    if seq is not None:
        body["seq"] = seq
    if session is not None:
        body["session"] = session
    if reset:
        body["reset"] = True
    return bytes(msgpack.packb(body))


def _whole(t: Any) -> int:
    try:
        whole = index(t)
    except TypeError:
        raise BadTime(f"t is {t!r:.60}; send whole nanoseconds since 1970") from None
    if not INT64_MIN <= whole <= INT64_MAX:
        raise BadTime(f"t is {whole}; send nanoseconds since 1970 as an int64")
    return whole


def encode_block(
    ids: str | Sequence[str],
    x: bytes | Sequence[int],
    n: int,
    t: array[int] | None = None,
    seq: array[int] | None = None,
    session: bytes | str | None = None,
) -> bytes:
    """The body of a block of `n` rows; `x` is the float32 bytes of `(n, n_in)` or n tokens, `t` int64 and `seq` uint64
    `(n,)`.

    Keys in this order: ids, n, x, t, seq, session.
    """
    body: dict[str, object] = {"ids": ids if isinstance(ids, str) else list(ids), "n": n, "x": x}
    if t is not None:
        body["t"] = to_wire(t)
    if seq is not None:
        body["seq"] = to_wire(seq)
    if session is not None:
        body["session"] = session
    return bytes(msgpack.packb(body))


def decode_ingest(frames: Sequence[bytes], limits: Limits, now_ns: int, n_in: int | None = None) -> Sample | Block:
    """The sample or block that the frames of one message carry; InputError, with `.stream` where known.

    `now_ns` is the daemon's clock. `n_in`, where every stream has one width, tells the rows of a block that
    names one stream and has neither `n`, `t` nor `seq`.

    >>> decode_ingest([b"in/bed1/", encode_sample([97.0], seq=4)], Limits(), now_ns=0)
    Sample(stream=b'bed1', x=array('f', [97.0]), t=None, seq=4, session=None, reset=False)
    """
    if len(frames) != 2:
        raise Malformed(f"a message of {len(frames)} frames; send two, topic and body")
    topic, body = bytes(frames[0]), bytes(frames[1])
    if len(topic) + len(body) > limits.max_message:
        size = len(topic) + len(body)
        raise TooLarge(f"a message of {size} bytes; at most {limits.max_message} are taken, send smaller blocks")
    if topic.startswith(b"in/"):
        stream = id_of_topic(topic)
        try:
            return _sample(stream, body, limits, now_ns)
        except InputError as error:
            error.stream = stream.decode()
            raise
    if topic == BLOCK_TOPIC:
        return _block(body, limits, now_ns, n_in)
    raise BadTopic(f"topic {topic[:60]!r} is neither in/<stream>/ nor block/")


def _sample(stream: bytes, body: bytes, limits: Limits, now_ns: int) -> Sample:
    try:
        fields = _unpack(body, strict_map_key=False, max_array_len=min(limits.max_width, len(body)))
        if len(fields) == body[0] & 0x0F and body[0] & 0xF0 == 0x80 and _plain(fields):
            return _to_sample(stream, fields, limits, now_ns)
    except Exception:  # noqa: S110 - msgpack refuses in half a dozen ways; the rules say which it was
        pass
    known = {"x": limits.max_width, "t": -1, "seq": -1, "session": -1, "reset": -1}
    try:
        fields = read_map(body, known, limits.max_depth, limits.max_skipped)
    except TooLarge as error:
        raise WrongWidth(f"x is {error}") from None
    return _to_sample(stream, fields, limits, now_ns)


def _plain(fields: dict[Any, Any]) -> bool:
    """Whether all values that are not ours are flat, so that the rules would let them pass."""
    return fields.keys() <= _KEYS or all(key in _KEYS or type(value) in _FLAT for key, value in fields.items())


def _to_sample(stream: bytes, fields: dict[str, Any], limits: Limits, now_ns: int) -> Sample:
    x = fields.get("x")
    raw = b""
    if limits.tokens:
        x = read_token(x, limits.tokens)
    elif type(x) is bytes:
        raw, x = x, _column("x", "f", x)
    elif type(x) is list:
        x = floats(x)
        raw = to_wire(x)
    else:
        what = "missing" if x is None else f"{x!r:.60}"
        what += ", and the model takes no tokens" if type(x) is int else ""
        raise Malformed(f"x is {what}; send an array of numbers or a bin of float32")
    if not 1 <= len(x) <= limits.max_width:
        raise WrongWidth(f"{len(x)} values in x; send 1 to {limits.max_width}")
    at = first_infinity(raw)
    if at >= 0:
        raise NotFinite(f"channel {at} is infinite in float32; send nil or NaN for a missing channel")
    t = fields.get("t")
    if t is not None:
        _check_time(t, limits, now_ns)
    seq = fields.get("seq")
    if seq is not None and (type(seq) is not int or not 0 <= seq <= UINT64_MAX):
        raise Malformed(f"seq is {seq!r:.60}; send an integer from 0 to 2^64 - 1")
    reset = fields.get("reset")
    if reset is not None and type(reset) is not bool:
        raise Malformed(f"reset is {reset!r:.60}; send true or false")
    return Sample(stream, x, t, seq, _session(fields.get("session")), bool(reset))


def _block(body: bytes, limits: Limits, now_ns: int, n_in: int | None) -> Block:
    known = {"ids": limits.max_block, "n": -1, "x": -1, "t": -1, "seq": -1, "session": -1}
    if limits.tokens:
        known["x"] = limits.max_block
    fields = read_map(body, known, limits.max_depth, limits.max_skipped)
    x_raw, t_raw, seq_raw = fields.get("x"), fields.get("t"), fields.get("seq")
    if limits.tokens:
        x, x_raw = read_tokens(x_raw, limits.tokens), b""
    elif x_raw is None:
        raise Malformed("x is missing; send a bin of float32 (n, n_in)")
    else:
        x = _column("x", "f", x_raw)
    t = None if t_raw is None else _column("t", "q", t_raw)
    seq = None if seq_raw is None else _column("seq", "Q", seq_raw)
    ids, n = _block_ids(fields, len(x), t, seq, n_in)
    if not 1 <= n <= limits.max_block:
        raise (TooLarge(f"a block of {n} rows; send 1 to {limits.max_block}") if n else Malformed("an empty block"))
    for name, column in (("t", t), ("seq", seq)):
        if column is not None and len(column) != n:
            raise Malformed(f"{name} has {len(column)} items for {n} rows")
    if not len(x) or len(x) % n:
        raise Malformed(f"x has {len(x)} values, which {n} rows cannot share equally")
    width = len(x) // n
    if width > limits.max_width:
        raise WrongWidth(f"{width} values a row; send 1 to {limits.max_width}")
    at = first_infinity(x_raw)
    if at >= 0:
        raise NotFinite(f"row {at // width}, channel {at % width} is infinite; send NaN for a missing channel")
    if t is not None:
        _check_time(max(t), limits, now_ns)
    session = _session(fields.get("session"))
    if isinstance(ids, bytes):
        return Block([ids] * n, x, n, width, t, seq, session, one_id=True)
    return Block(ids, x, n, width, t, seq, session, one_id=False)


def _block_ids(
    fields: dict[str, Any], values: int, t: array[int] | None, seq: array[int] | None, n_in: int | None
) -> tuple[bytes | list[bytes], int]:
    ids, n = fields.get("ids"), fields.get("n")
    if n is not None and (type(n) is not int or n < 0):
        raise Malformed(f"n is {n!r:.60}; send the number of rows")
    if type(ids) is list:
        if n is not None and n != len(ids):
            raise Malformed(f"n is {n} for {len(ids)} ids")
        return [id_bytes(stream) if type(stream) is str else _not_an_id(stream) for stream in ids], len(ids)
    if type(ids) is not str:
        raise Malformed("ids is missing; send an array of str, or one str for all rows")
    if n is None:
        if t is not None:
            n = len(t)
        elif seq is not None:
            n = len(seq)
        elif n_in and not values % n_in:
            n = values // n_in
        else:
            raise Malformed("one id for all rows, but how many rows? send n, t or seq")
    return id_bytes(ids), n


def _not_an_id(value: object) -> bytes:
    raise Malformed(f"{value!r:.60} among ids; send an array of str")


def _column(name: str, typecode: str, raw: object) -> array[Any]:
    size = 4 if typecode == "f" else 8
    if type(raw) is not bytes:
        raise Malformed(f"{name} is {raw!r:.60}; send a bin of {size}-byte items")
    if len(raw) % size:
        raise Malformed(f"{name} is a bin of {len(raw)} bytes, no multiple of {size}")
    return from_wire(typecode, raw)


def _check_time(t: object, limits: Limits, now_ns: int) -> None:
    if type(t) is not int or not INT64_MIN <= t <= INT64_MAX:
        raise BadTime(f"t is {t!r:.60}; send whole nanoseconds since 1970 as an int64")
    if t > now_ns + limits.max_ahead_ns:
        ahead = (t - now_ns) / 1e9
        raise BadTime(
            f"t is {ahead:.0f} s ahead of this clock, at most {limits.max_ahead_ns / 1e9:.0f} s are taken; "
            "send nanoseconds since 1970"
        )


def _session(session: object) -> bytes | None:
    if session is None:
        return None
    raw = session.encode() if type(session) is str else session
    if type(raw) is not bytes or len(raw) > MAX_SESSION:
        raise Malformed(f"session is {session!r:.60}; send a str or bin of at most {MAX_SESSION} bytes")
    return raw
