"""Stream ids: the one rule for what may name a stream, for the wire and the library alike."""

from __future__ import annotations

import re

from .errors import BadId

__all__ = ["MAX_ID", "check_id"]

MAX_ID = 200
"""Longest stream id in bytes of UTF-8."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


def check_id(stream: str) -> bytes:
    """The id as bytes of UTF-8; BadId unless it is 1 to 200 bytes without control characters (C0, DEL, C1).

    >>> check_id("ward3/bed7")
    b'ward3/bed7'
    """
    if not isinstance(stream, str):
        raise BadId(f"a stream id is text, not {type(stream).__name__}: {stream!r:.60}")
    try:
        raw = stream.encode()
    except UnicodeEncodeError:
        raise BadId(f"stream id {stream!r:.60} holds a lone surrogate; use valid Unicode text") from None
    if not 1 <= len(raw) <= MAX_ID:
        raise BadId(f"stream id of {len(raw)} bytes; use 1 to {MAX_ID} bytes of UTF-8")
    if _CONTROL.search(stream):
        raise BadId(f"stream id {stream!r:.60} holds a control character; use printable text")
    return raw
