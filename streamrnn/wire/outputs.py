"""What the daemon publishes for accepted samples: `out/<stream>/`, `flag/<stream>/` and the answer to a
block.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from ..errors import Malformed
from .floats import from_wire
from .ids import topic

__all__ = [
    "BlockOutput",
    "Flag",
    "Output",
    "block_from",
    "encode_block_output",
    "encode_output",
    "flag_from",
    "flag_topic",
    "output_from",
    "output_topic",
]

_pack = msgpack.Packer(use_single_float=True).pack


@dataclass(slots=True)
class _Answer:
    stream: str
    t: int
    y: list[float]
    score: float
    flag: bool
    n: int
    epoch: int
    seq: int | None = None
    cause: str | None = None
    recv: int | None = None
    sent: int | None = None
    missing: tuple[int, ...] = ()


@dataclass(slots=True)
class Output(_Answer):
    """The model's answer to one sample.

    `y` `(n_out,)` and `score` are float32 values; `t`, `recv` and `sent` are ns since the Unix epoch; `n`
    counts samples since the stream's state began; `missing` are the channels that were filled in; `lost`
    says how many outputs of this stream the subscriber missed just before this one.
    """

    lost: int = 0


@dataclass(slots=True)
class Flag(_Answer):
    """A flag that has just changed: `edge` is `raised` or `cleared`, the rest is the output that changed
    it.
    """

    edge: str = ""


@dataclass(slots=True)
class BlockOutput:
    """The answers to the accepted rows of one block, in order.

    `streams` has an id a row; `y` is `n * n_out` float32, `t` int64, `seq` uint64 or None, `score` float32
    and `flag` uint8, each with one item a row.
    """

    streams: list[str]
    t: array[int]
    y: array[float]
    score: array[float]
    flag: array[int]
    n: int
    n_out: int
    seq: array[int] | None = None
    recv: int | None = None
    sent: int | None = None

    def row(self, i: int) -> array[float]:
        """`y` of row `i`, `(n_out,)`."""
        return self.y[i * self.n_out : (i + 1) * self.n_out]


def output_topic(stream: str | bytes) -> bytes:
    """`out/<stream>/`."""
    return topic("out", stream)


def flag_topic(stream: str | bytes) -> bytes:
    """`flag/<stream>/`."""
    return topic("flag", stream)


def encode_output(
    seq: int | None,
    t: int,
    y: Sequence[float],
    score: float,
    flag: bool,
    cause: str | None,
    n: int,
    epoch: int,
    recv: int,
    sent: int,
    missing: Sequence[int] | None = None,
    edge: str | None = None,
) -> bytes:
    """The body of `out/`, or of `flag/` where there is an `edge`.

    Keys in this order, with `seq`, `cause`, `missing` and `edge` only where there is something to say:
    seq, t, y, score, flag, cause, n, epoch, recv, sent, missing, edge. Floats are packed as float32.
    `y` is a list of Python floats (`array.tolist()`), finite as `score` is.

    >>> encode_output(None, 1, [0.5], 0.0, False, None, 1, 0, 2, 3)[:12].hex(" ")
    '88 a1 74 01 a1 79 91 ca 3f 00 00 00'
    """
    body: dict[str, object] = {} if seq is None else {"seq": seq}
    body["t"] = t
    body["y"] = y
    body["score"] = score
    body["flag"] = flag
    if cause is not None and flag:
        body["cause"] = cause
    body["n"] = n
    body["epoch"] = epoch
    body["recv"] = recv
    body["sent"] = sent
    if missing:
        body["missing"] = missing
    if edge is not None:
        body["edge"] = edge
    packed: bytes = _pack(body)
    return packed


def encode_block_output(
    ids: str | Sequence[str],
    seq: bytes | memoryview | None,
    t: bytes | memoryview,
    y: bytes | memoryview,
    score: bytes | memoryview,
    flag: bytes | memoryview,
    recv: int,
    sent: int,
) -> bytes:
    """The body of the answer to a block, topic `block/`: its accepted rows, at least one.

    `ids` is one str where the block named one. The columns are little-endian bytes: `seq` uint64, `t`
    int64, `y` float32 `(n, n_out)`, `score` float32, `flag` uint8. Keys in this order: ids, seq, t, y,
    score, flag, recv, sent.
    """
    body: dict[str, object] = {"ids": ids}
    if seq is not None:
        body["seq"] = seq
    body |= {"t": t, "y": y, "score": score, "flag": flag, "recv": recv, "sent": sent}
    packed: bytes = _pack(body)
    return packed


def output_from(stream: str, body: dict[str, Any]) -> Output:
    """The output in a body that was published under `out/<stream>/`."""
    return Output(*_answer(stream, body))


def flag_from(stream: str, body: dict[str, Any]) -> Flag:
    """The flag change in a body that was published under `flag/<stream>/`."""
    edge = body.get("edge")
    if edge not in ("raised", "cleared"):
        raise Malformed(f"edge is {edge!r:.60}; it must be raised or cleared")
    flag = Flag(*_answer(stream, body))
    flag.edge = edge
    return flag


def _answer(stream: str, body: dict[str, Any]) -> tuple[Any, ...]:
    get = body.get
    y, missing = get("y"), get("missing")
    if type(y) is not list or type(get("n")) is not int or type(get("t")) is not int:
        raise Malformed(f"an output of {stream!r} without y, n or t; is the peer a streamrnn daemon?")
    filled = tuple(missing) if type(missing) is list else ()
    return (
        stream, get("t"), y, get("score", 0.0), get("flag", False), get("n"), get("epoch", 0),
        get("seq"), get("cause"), get("recv"), get("sent"), filled,
    )  # fmt: skip


def block_from(body: dict[str, Any]) -> BlockOutput:
    """The answer to a block in a body that was published under `block/`."""
    try:
        score, flag = from_wire("f", body["score"]), from_wire("B", body["flag"])
        t, y = from_wire("q", body["t"]), from_wire("f", body["y"])
        seq = None if body.get("seq") is None else from_wire("Q", body["seq"])
        ids = body["ids"]
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise Malformed(f"the answer to a block is incomplete or torn: {error}") from None
    n = len(score)
    streams = [ids] * n if isinstance(ids, str) else ids
    if not n or len(y) % n or {len(t), len(flag), len(streams), len(seq) if seq is not None else n} != {n}:
        raise Malformed(f"the columns of an answer to a block disagree: {n} scores, {len(y)} values of y")
    return BlockOutput(streams, t, y, score, flag, n, len(y) // n, seq, body.get("recv"), body.get("sent"))
