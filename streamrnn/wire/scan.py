"""A small msgpack reader that works on the bytes themselves.

The msgpack library is quicker, and reads every ordinary sample. This one settles all the rest by rules that
are written down (docs/protocol.md) and that a compiled reader can follow to the letter: it takes no memory
for a length that is only claimed, walks past values that are not ours whatever they hold, and tells a
repeated key.

Format: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

from struct import Struct, error
from typing import Any, Final

from ..errors import Malformed, TooLarge

__all__ = ["OTHER", "read_map"]

NIL, BOOL, INT, FLOAT, STR, BIN, ARRAY, MAP, EXT, NEVER = range(10)


class _Other:
    """A value of a kind that no key of ours takes: a map, an extension, an array inside an array."""

    def __repr__(self) -> str:
        return "a nested value or an extension"


OTHER: Final = _Other()

_U8, _U16, _U32, _U64 = Struct(">B"), Struct(">H"), Struct(">I"), Struct(">Q")
_I8, _I16, _I32, _I64 = Struct(">b"), Struct(">h"), Struct(">i"), Struct(">q")
_F32, _F64 = Struct(">f"), Struct(">d")

_Head = tuple[int, "Struct | None", Any]


def _heads() -> list[_Head]:
    """For each first byte: the kind, how to read what follows, and the value or length where nothing
    follows.
    """
    heads: list[_Head] = [(INT, None, b) for b in range(0x80)]
    heads += [(MAP, None, n) for n in range(16)]
    heads += [(ARRAY, None, n) for n in range(16)]
    heads += [(STR, None, n) for n in range(32)]
    heads += [(NIL, None, None), (NEVER, None, None), (BOOL, None, False), (BOOL, None, True)]
    heads += [(BIN, _U8, 0), (BIN, _U16, 0), (BIN, _U32, 0)]
    heads += [(EXT, _U8, 0), (EXT, _U16, 0), (EXT, _U32, 0)]
    heads += [(FLOAT, _F32, 0), (FLOAT, _F64, 0)]
    heads += [(INT, _U8, 0), (INT, _U16, 0), (INT, _U32, 0), (INT, _U64, 0)]
    heads += [(INT, _I8, 0), (INT, _I16, 0), (INT, _I32, 0), (INT, _I64, 0)]
    heads += [(EXT, None, n) for n in (1, 2, 4, 8, 16)]
    heads += [(STR, _U8, 0), (STR, _U16, 0), (STR, _U32, 0)]
    heads += [(ARRAY, _U16, 0), (ARRAY, _U32, 0), (MAP, _U16, 0), (MAP, _U32, 0)]
    heads += [(INT, None, b) for b in range(-32, 0)]
    return heads


_HEADS = _heads()


def _head(buf: bytes, pos: int) -> tuple[int, Any, int]:
    """Kind, value (a scalar's) or length, and the position after the head."""
    kind, fmt, value = _HEADS[buf[pos]]
    pos += 1
    if fmt is not None:
        (value,) = fmt.unpack_from(buf, pos)
        pos += fmt.size
    if kind == NEVER:
        raise Malformed(f"byte 0xc1 at {pos - 1}, which msgpack never uses")
    if kind == EXT:
        value += 1  # the extension's type byte
    if kind in (STR, BIN, EXT) and pos + value > len(buf):
        raise IndexError
    return kind, value, pos


class _Budget:
    """How deep values that are not ours may be nested, and how many more of them may come."""

    __slots__ = ("depth", "left", "limit")

    def __init__(self, depth: int, limit: int) -> None:
        self.depth = depth
        self.limit = self.left = limit


def _skip(buf: bytes, pos: int, budget: _Budget) -> int:
    """The position after the value at `pos`, which is not looked at otherwise."""
    left = [1]  # values still to come on each open level
    while left:
        if not left[-1]:
            left.pop()
            continue
        left[-1] -= 1
        budget.left -= 1
        if budget.left < 0:
            raise Malformed(f"more than {budget.limit} values under keys that are not of the protocol; leave them out")
        kind, value, pos = _head(buf, pos)
        if kind in (STR, BIN, EXT):
            pos += value
        elif kind in (ARRAY, MAP):
            if len(left) > budget.depth:
                raise Malformed(f"nested more than {budget.depth} levels deep; flatten the value")
            left.append(value if kind == ARRAY else 2 * value)
    return pos


def _scalar(buf: bytes, pos: int, budget: _Budget) -> tuple[Any, int]:
    kind, value, after = _head(buf, pos)
    if kind == STR:
        return buf[after : after + value].decode(), after + value
    if kind == BIN:
        return buf[after : after + value], after + value
    if kind in (ARRAY, MAP, EXT):
        return OTHER, _skip(buf, pos, budget)
    return value, after


def _value(buf: bytes, pos: int, max_items: int, budget: _Budget) -> tuple[Any, int]:
    kind, count, after = _head(buf, pos)
    if kind != ARRAY or max_items < 0:
        return _scalar(buf, pos, budget)
    if count > max_items:
        raise TooLarge(f"an array of {count} values; at most {max_items} are taken")
    items = []
    for _ in range(count):
        item, after = _scalar(buf, after, budget)
        items.append(item)
    return items, after


def read_map(buf: bytes, known: dict[str, int], max_depth: int, max_skipped: int) -> dict[str, Any]:
    """The known keys of the one map that fills `buf`; Malformed for anything else, TooLarge for a long array.

    `known` gives for each key the longest array it may hold, -1 for a key that takes none. Scalars come back as
    Python values, an array as a list of scalars, all other values as `OTHER`. Keys that are not known are skipped
    with their values, whatever their type, down to `max_depth` levels and up to `max_skipped` keys and values in all.

    >>> read_map(bytes([0x82, 0xA1, 0x78, 0x91, 0x07, 0xC0, 0x90]), {"x": 8}, max_depth=4, max_skipped=10)
    {'x': [7]}
    """
    found: dict[str, Any] = {}
    budget = _Budget(max_depth, max_skipped)
    try:
        kind, count, pos = _head(buf, 0)
        if kind != MAP:
            raise Malformed("the body is not a msgpack map; send one map with string keys")
        for _ in range(count):
            kind, length, after = _head(buf, pos)
            key = _name(buf[after : after + length]) if kind == STR else None
            if key not in known:
                pos = _skip(buf, _skip(buf, pos, budget), budget)
            elif key in found:
                raise Malformed(f"the key {key!r} is there twice")
            else:
                found[key], pos = _value(buf, after + length, known[key], budget)
    except (IndexError, error):
        raise Malformed(f"the body of {len(buf)} bytes ends inside its map") from None
    except UnicodeDecodeError:
        raise Malformed("a str is not UTF-8; use bin for bytes") from None
    if pos != len(buf):
        raise Malformed(f"{len(buf) - pos} bytes after the map; send one map and nothing else")
    return found


def _name(raw: bytes) -> str | None:
    return raw.decode("ascii") if raw.isascii() else None
