"""What the daemon sends: outputs, flags, answers to blocks, events, replies."""

from __future__ import annotations

import contextlib
from array import array
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamrnn import errors
from streamrnn.errors import BadRequest, BadTopic, Malformed, StreamRNNError, UnknownStream
from streamrnn.wire.messages import (
    BLOCK_TOPIC,
    BlockOutput,
    Event,
    Flag,
    Output,
    decode_published,
    decode_reply,
    decode_request,
    encode_block_output,
    encode_error,
    encode_event,
    encode_output,
    encode_reply,
    encode_request,
    flag_topic,
    output_topic,
)
from streamrnn.wire.packer import OUTPUT_ROOM

finite32 = st.floats(width=32, allow_infinity=False, allow_nan=False)
counts = st.integers(0, 2**63 - 1)
names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)


@given(
    names,
    st.none() | st.integers(0, 2**64 - 1),
    st.lists(finite32, min_size=1, max_size=8),
    finite32,
    st.none() | names,
    counts,
    st.lists(st.integers(0, 4095), max_size=3),
)
def test_an_output_comes_back_as_it_was(
    stream: str, seq: int | None, y: list[float], score: float, cause: str | None, n: int, missing: list[int]
) -> None:
    flag = cause is not None
    body = encode_output(seq, -5, y, score, flag, cause, n, 2, 3, 4, missing)
    got = decode_published([output_topic(stream), body])
    assert got == Output(stream, -5, y, score, flag, n, 2, seq, cause, 3, 4, tuple(missing))
    for edge in ("raised", "cleared"):
        body = encode_output(seq, -5, y, score, flag, cause, n, 2, 3, 4, missing, edge)
        got = decode_published([flag_topic(stream), body])
        assert got == Flag(stream, -5, y, score, flag, n, 2, seq, cause, 3, 4, tuple(missing), edge)


def test_the_bytes_of_an_output_are_fixed() -> None:
    """A compiled twin must write the same: key order, and float32 for y and score."""
    body = encode_output(7, 5, [0.5, -1.0], 2.0, True, "hr:level", 300, 1, 2, 3, [1], "raised")
    assert list(msgpack.unpackb(body)) == [
        "seq", "t", "y", "score", "flag", "cause", "n", "epoch", "recv", "sent", "missing", "edge",
    ]  # fmt: skip
    assert body.hex() == (
        "8c" "a373657107" "a17405" "a17992ca3f000000cabf800000" "a573636f7265ca40000000" "a4666c6167c3"
        "a56361757365a868723a6c6576656c" "a16ecd012c" "a565706f636801" "a47265637602" "a473656e7403"
        "a76d697373696e679101" "a465646765a6726169736564"
    )  # fmt: skip


def test_what_has_nothing_to_say_is_left_out() -> None:
    body = msgpack.unpackb(encode_output(None, 5, [0.5], 0.0, False, "ignored", 1, 0, 2, 3, [], None))
    assert list(body) == ["t", "y", "score", "flag", "n", "epoch", "recv", "sent"]


@pytest.mark.parametrize("one", [True, False])
def test_the_answer_to_a_block_comes_back_as_it_was(one: bool) -> None:
    t, seq, y = array("q", [1, -2]), array("Q", [2**64 - 1, 0]), array("f", [1, 2, 3, 4, 5, 6])
    score, flag = array("f", [0.5, 0.0]), bytes([1, 0])
    body = encode_block_output(
        "a" if one else ["a", "b"], seq.tobytes(), t.tobytes(), y.tobytes(), score.tobytes(), flag, 8, 9
    )
    assert list(msgpack.unpackb(body)) == ["ids", "seq", "t", "y", "score", "flag", "recv", "sent"]
    got = decode_published([BLOCK_TOPIC, body])
    streams = ["a", "a"] if one else ["a", "b"]
    assert got == BlockOutput(streams, t, y, score, array("B", flag), 2, 3, seq, 8, 9)
    assert got.row(1) == array("f", [4, 5, 6])


@pytest.mark.parametrize("change", [{"t": bytes(8)}, {"y": b""}, {"score": bytes(3)}, {"flag": None}, {"ids": ["a"]}])
def test_a_torn_answer_to_a_block_is_malformed(change: dict[str, object]) -> None:
    good: dict[str, object] = {"ids": "a", "t": bytes(16), "y": bytes(8), "score": bytes(8), "flag": bytes(2)}
    assert isinstance(decode_published([BLOCK_TOPIC, msgpack.packb(good)]), BlockOutput)
    if change == {"y": b""}:
        change = {"y": bytes(12)}
    with pytest.raises(Malformed):
        decode_published([BLOCK_TOPIC, msgpack.packb(good | change)])


def test_events_name_their_stream_or_none() -> None:
    topic, body = encode_event("gap", "ward3/bed7", 5, missing=2, seq=None)
    assert topic == b"event/gap/ward3/bed7/"
    assert decode_published([topic, body]) == Event("gap", "ward3/bed7", 5, {"missing": 2})
    for kind, data in (("daemon", {"state": "ready"}), ("rejected", {"code": "bad_topic", "reason": "why"})):
        topic, body = encode_event(kind, None, 6, **data)
        assert topic == f"event/{kind}/".encode()
        assert decode_published([topic, body]) == Event(kind, None, 6, data)


@pytest.mark.parametrize("topic", [b"", b"in/bed1/", b"out/", b"other/bed1/", b"\xff", b"event"])
def test_topics_of_another_version_are_told_apart(topic: bytes) -> None:
    with pytest.raises(BadTopic):
        decode_published([topic, msgpack.packb({})])


@given(
    st.lists(st.binary(max_size=40), max_size=3)
    | st.tuples(
        st.sampled_from([b"out/a/", b"flag/a/", b"block/", b"event/gap/a/"]),
        st.dictionaries(
            st.sampled_from(["t", "y", "n", "edge", "ids", "score", "flag", "missing", "seq", "at"]),
            st.none() | st.integers(0, 9) | st.binary(max_size=8) | st.lists(st.integers(-9, 9), max_size=2),
        ).map(msgpack.packb),
    )
)
@example((b"block/", msgpack.packb({"t": b"", "y": b"", "score": b"", "flag": [-1]})))
def test_a_subscriber_meets_nothing_but_input_errors(frames: Any) -> None:
    with contextlib.suppress(errors.InputError):
        decode_published(frames)


def test_requests_and_replies_come_back_as_they_were() -> None:
    assert decode_request(encode_request("reset", stream="bed1", other=None)) == {"op": "reset", "stream": "bed1"}
    assert decode_reply(encode_reply(n=3, streams=[])) == {"n": 3, "streams": []}


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc1", b"\x80", bytes(70_000), msgpack.packb([1]), msgpack.packb({"op": 1}), msgpack.packb({1: 2}),
     msgpack.packb({b"op": "ping"}), b"\xdf\xff\xff\xff\xff", b"\x91" * 5000,
     b"\x82\xa2op\xa1x\xa1a\xdd\x00\x00\xff\xff"],
)  # fmt: skip
def test_a_bad_request_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequest):
        decode_request(body)


@given(st.binary(max_size=80))
def test_random_requests_and_replies_raise_nothing_unexpected(body: bytes) -> None:
    with contextlib.suppress(BadRequest):
        decode_request(body)
    with contextlib.suppress(StreamRNNError):
        decode_reply(body)


@pytest.mark.parametrize("name", sorted(set(errors.__all__) - {"InputError"}))
def test_an_error_arrives_as_the_class_that_was_raised(name: str) -> None:
    kind = getattr(errors, name)
    with pytest.raises(kind, match="why it failed") as caught:
        decode_reply(encode_error(kind("why it failed")))
    assert type(caught.value) is kind


def test_a_code_of_a_later_version_is_kept() -> None:
    reply = msgpack.packb({"ok": False, "error": {"code": "too_tired", "message": "later"}})
    with pytest.raises(StreamRNNError, match="later") as caught:
        decode_reply(reply)
    assert caught.value.code == "too_tired"


def test_the_message_of_an_unknown_stream_is_not_quoted_twice() -> None:
    with pytest.raises(UnknownStream) as caught:
        decode_reply(encode_error(UnknownStream("no stream 'x'")))
    assert str(caught.value) == "no stream 'x'"


def test_the_compiled_path_has_room_for_the_longest_output():
    most, causes = (1 << 63) - 1, "c" * 40
    for width in (1, 35, 300, 4096):
        missing = list(range(width))
        body = encode_output(
            (1 << 64) - 1, -most, [0.5] * width, 0.5, True, causes, most, most, most, most, missing, "cleared"
        )
        needed = len(b"flag/" + b"i" * 200 + b"/") + len(body) + 7
        assert needed <= OUTPUT_ROOM + 5 * width + 3 * width + len(causes)
