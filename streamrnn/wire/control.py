"""Control: one msgpack map there, one back."""

from __future__ import annotations

from typing import Any

import msgpack

from .. import errors
from ..errors import BadRequest, Malformed, StreamRNNError

__all__ = ["MAX_REQUEST", "decode_reply", "decode_request", "encode_error", "encode_reply", "encode_request"]

MAX_REQUEST = 1 << 16
"""Longest control request in bytes."""

_MAX_ITEMS = 1024


def encode_request(op: str, **args: object) -> bytes:
    """The body of a request; arguments that are None are left out.

    >>> encode_request("reset", stream="bed1").hex(" ")[:17]
    '82 a2 6f 70 a5 72'
    """
    return bytes(msgpack.packb({"op": op} | {key: value for key, value in args.items() if value is not None}))


def decode_request(body: bytes) -> dict[str, Any]:
    """The request as a map that has a str `op`; BadRequest for anything else."""
    if len(body) > MAX_REQUEST:
        raise BadRequest(f"a request of {len(body)} bytes; at most {MAX_REQUEST} are taken")
    try:
        request = msgpack.unpackb(body, max_array_len=min(_MAX_ITEMS, len(body)))
    except Exception as error:
        raise BadRequest(f"a request is one msgpack map with string keys: {error}") from None
    if type(request) is not dict or any(type(key) is not str for key in request):
        raise BadRequest(f"a request is one msgpack map with string keys, not {request!r:.60}")
    if type(request.get("op")) is not str:
        raise BadRequest(f"op is {request.get('op')!r:.60}; name an operation, such as ping")
    return request


def encode_reply(**fields: object) -> bytes:
    """The reply to a request that was carried out: `ok` true and the fields.

    >>> encode_reply(n=1).hex(" ")
    '82 a2 6f 6b c3 a1 6e 01'
    """
    return bytes(msgpack.packb({"ok": True} | fields))


def encode_error(error: Exception) -> bytes:
    """The reply to a request that was not carried out: the error's code and message."""
    code = error.code if isinstance(error, StreamRNNError) else "error"
    return bytes(msgpack.packb({"ok": False, "error": {"code": code, "message": str(error)}}))


def decode_reply(body: bytes) -> dict[str, Any]:
    """The fields of a reply; raises the error that it carries, as the class that has its code.

    >>> decode_reply(encode_error(errors.UnknownStream("no stream 'bed9'")))
    Traceback (most recent call last):
    streamrnn.errors.UnknownStream: no stream 'bed9'
    """
    try:
        reply = msgpack.unpackb(body)
    except Exception as error:
        raise Malformed(f"the reply is no msgpack map: {error}; is the peer a streamrnn daemon?") from None
    if type(reply) is not dict or type(reply.get("ok")) is not bool:
        raise Malformed(f"the reply is {reply!r:.60}; is the peer a streamrnn daemon?")
    if reply.pop("ok"):
        return reply
    told = reply.get("error")
    told = told if type(told) is dict else {}
    raise _error_of(str(told.get("code", "error")), str(told.get("message", "no reason given")))


def _error_of(code: str, message: str) -> StreamRNNError:
    for name in errors.__all__:
        kind = getattr(errors, name)
        if vars(kind).get("code") == code:
            found: StreamRNNError = kind(message)
            return found
    unknown = StreamRNNError(message)
    unknown.code = code
    return unknown
