"""Stream ids, and the topics that carry them."""

from __future__ import annotations

from functools import lru_cache

from ..errors import BadId, BadTopic
from ..ids import check_id

__all__ = ["BLOCK_TOPIC", "check_id", "id_bytes", "id_of_topic", "sample_topic", "topic"]

BLOCK_TOPIC = b"block/"

_SAMPLE = b"in/"
_CACHED = 1 << 16

id_bytes = lru_cache(maxsize=_CACHED)(check_id)
"""`check_id` with a memory, for ids that come again and again."""


@lru_cache(maxsize=_CACHED)
def id_of_topic(topic_: bytes) -> bytes:
    """The stream id inside `in/<stream>/`; BadTopic or BadId where there is none.

    >>> id_of_topic(b"in/ward3/bed7/")
    b'ward3/bed7'
    """
    if len(topic_) < 4 or not topic_.startswith(_SAMPLE) or not topic_.endswith(b"/"):
        raise BadTopic(f"topic {bytes(topic_[:60])!r} is neither in/<stream>/ nor block/")
    raw = topic_[3:-1]
    try:
        return check_id(raw.decode())
    except UnicodeDecodeError:
        raise BadId(f"stream id {raw[:60]!r} is not UTF-8") from None


@lru_cache(maxsize=_CACHED)
def sample_topic(stream: str) -> bytes:
    """The topic that a sample of this stream travels under.

    >>> sample_topic("bed1")
    b'in/bed1/'
    """
    return b"in/%b/" % check_id(stream)


def topic(kind: str, stream: str | bytes) -> bytes:
    """`<kind>/<stream>/`, where the daemon has already checked the id.

    >>> topic("out", "bed1"), topic("event/gap", b"bed1")
    (b'out/bed1/', b'event/gap/bed1/')
    """
    raw = stream if isinstance(stream, bytes) else stream.encode()
    return b"%b/%b/" % (kind.encode(), raw)
