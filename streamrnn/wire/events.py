"""Events: `event/<kind>/<stream>/`, and everything else that the daemon publishes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgpack

from ..errors import BadTopic, Malformed
from .ids import BLOCK_TOPIC, topic
from .outputs import BlockOutput, Flag, Output, block_from, flag_from, output_from

__all__ = ["EVENT_KINDS", "Event", "Published", "decode_published", "encode_event"]

EVENT_KINDS = (
    "created", "reset", "evicted", "gap", "late", "duplicate", "rejected", "stale", "daemon",
)  # fmt: skip
"""What an event can be; docs/protocol.md lists the keys of each."""


@dataclass(slots=True)
class Event:
    """Something that happened to a stream or, where `stream` is None, to the daemon.

    `at` is the daemon's clock in ns since the Unix epoch, `data` the other keys of the event, such as
    `missing` of a `gap`, `code` and `reason` of `rejected`.
    """

    kind: str
    stream: str | None
    at: int | None
    data: dict[str, Any] = field(default_factory=dict)


Published: TypeAlias = Output | Flag | BlockOutput | Event
"""All that a subscriber can receive."""


def encode_event(kind: str, stream: str | bytes | None, at: int, **data: object) -> tuple[bytes, bytes]:
    """Topic and body of an event; `data` are its own keys, of which those that are None are left out.

    An event of no stream (`daemon`, or `rejected` where the id was not readable) has the topic
    `event/<kind>/`.

    >>> encode_event("gap", "bed1", 5, missing=2)[0]
    b'event/gap/bed1/'
    """
    body = {"at": at} | {key: value for key, value in data.items() if value is not None}
    name = f"event/{kind}"
    return (name.encode() + b"/" if stream is None else topic(name, stream)), bytes(msgpack.packb(body))


def decode_published(frames: Sequence[bytes]) -> Published:
    """What the daemon published; BadTopic for a topic that this version does not know, Malformed for a torn
    body.

    >>> decode_published(encode_event("gap", "bed1", 5, missing=2))
    Event(kind='gap', stream='bed1', at=5, data={'missing': 2})
    """
    if len(frames) != 2:
        raise Malformed(f"a message of {len(frames)} frames; the daemon sends two, topic and body")
    topic_, body = frames
    try:
        name = topic_.decode()
    except UnicodeDecodeError:
        raise BadTopic(f"topic {topic_[:60]!r} is not UTF-8") from None
    try:
        fields = msgpack.unpackb(body)
    except (ValueError, TypeError) as error:
        raise Malformed(f"the body of {name!r} is no msgpack map with string keys: {error}") from None
    if type(fields) is not dict:
        raise Malformed(f"the body of {name!r} is {type(fields).__name__}, not a map")
    if name.startswith("out/") and len(name) > 5:
        return output_from(name[4:-1], fields)
    if name.startswith("flag/") and len(name) > 6:
        return flag_from(name[5:-1], fields)
    if topic_ == BLOCK_TOPIC:
        return block_from(fields)
    if name.startswith("event/") and name.endswith("/"):
        kind, _, stream = name[6:-1].partition("/")
        return Event(kind, stream or None, fields.pop("at", None), fields)
    raise BadTopic(f"topic {name!r:.60} is none of out/, flag/, block/ and event/")
