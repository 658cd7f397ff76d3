"""What may come in from the network: samples and blocks, good, bad and random."""

from __future__ import annotations

import contextlib
import struct
from array import array
from math import inf, isnan, nan
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.errors import InputError
from streamrnn.wire import ingest
from streamrnn.wire.messages import (
    BLOCK_TOPIC,
    Block,
    Limits,
    Sample,
    decode_ingest,
    encode_block,
    encode_sample,
    sample_topic,
)

NOW = 1_800_000_000 * 10**9
LIMITS = Limits(max_message=4096, max_width=16, max_block=32, max_depth=4)

float32 = st.floats(width=32, allow_infinity=False) | st.none()
ids = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=50)
int64 = st.integers(-(2**63), NOW)
uint64 = st.integers(0, 2**64 - 1)
sessions = st.binary(max_size=64) | st.text(max_size=16)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def decode(body: bytes, topic: bytes = b"in/bed1/", limits: Limits = LIMITS) -> Sample | Block:
    return decode_ingest([topic, body], limits, NOW)


def pack(**fields: object) -> bytes:
    return bytes(msgpack.packb(fields))


def code_of(body: bytes, topic: bytes = b"in/bed1/", limits: Limits = LIMITS) -> str:
    with pytest.raises(InputError) as caught:
        decode(body, topic, limits)
    assert str(caught.value)
    return caught.value.code


def bits(values: array[float]) -> bytes:
    """The float32 bytes with every NaN alike."""
    return array("f", [nan if isnan(v) else v for v in values]).tobytes()


@given(ids, st.lists(float32, min_size=1, max_size=16), st.none() | int64, st.none() | uint64, sessions, st.booleans())
def test_a_sample_comes_back_as_it_was(
    stream: str, x: list[float | None], t: int | None, seq: int | None, session: bytes | str, reset: bool
) -> None:
    got = decode_ingest([sample_topic(stream), encode_sample(x, t, seq, session, reset)], LIMITS, NOW)
    assert isinstance(got, Sample)
    assert got.stream == stream.encode()
    assert bits(got.x) == bits(array("f", [nan if v is None else v for v in x]))
    assert (got.t, got.seq, got.reset) == (t, seq, reset)
    assert got.session == (session.encode() if isinstance(session, str) else session)


@given(st.lists(float32 | st.integers(-(2**63), 2**64 - 1), min_size=1, max_size=16))
def test_an_array_and_a_bin_are_the_same_values(x: list[float | None]) -> None:
    listed, binned = decode(pack(x=x)), decode(encode_sample(x))
    assert isinstance(listed, Sample)
    assert isinstance(binned, Sample)
    assert bits(listed.x) == bits(binned.x)


def test_values_keep_their_bits() -> None:
    """The sign of zero, subnormals and the largest float32 survive; a float64 is rounded once, to even."""
    for value in (-0.0, 1e-45, 3.4028234663852886e38, 16777217.0, 0.1):
        got = decode(pack(x=[value]))
        assert isinstance(got, Sample)
        assert got.x.tobytes() == np.float32(value).tobytes()


@pytest.mark.parametrize("absent", ["t", "seq", "session", "reset"])
def test_nil_is_the_same_as_absent(absent: str) -> None:
    full: dict[str, object] = {"x": [1.0], "t": 5, "seq": 6, "session": b"s", "reset": True}
    del full[absent]
    assert decode(pack(**full)) == decode(pack(**(full | {absent: None})))


X = [1.0, 2.0]
BIG_MAP = b"\xdf\xff\xff\xff\xff"
BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "malformed"),
    "no map": (msgpack.packb([1, 2]), "malformed"),
    "no x": (pack(seq=1), "malformed"),
    "x is nil": (pack(x=None), "malformed"),
    "x is a number": (pack(x=1.0), "malformed"),
    "x is a token": (pack(x=1), "malformed"),
    "x is text": (pack(x="abcd"), "malformed"),
    "a bool in x": (pack(x=[1.0, True]), "malformed"),
    "text in x": (pack(x=[1.0, "2"]), "malformed"),
    "an array in x": (pack(x=[[1.0]]), "malformed"),
    "an extension in x": (pack(x=[msgpack.ExtType(5, b"ab")]), "malformed"),
    "a timestamp in x": (pack(x=[msgpack.Timestamp(1)]), "malformed"),
    "a torn bin": (pack(x=b"\0\0\0"), "malformed"),
    "bin key": (msgpack.packb({b"x": X}), "malformed"),
    "trailing byte": (pack(x=X) + b"\0", "malformed"),
    "second map": (pack(x=X) * 2, "malformed"),
    "truncated": (pack(x=X)[:-1], "malformed"),
    "a key twice": (b"\x82" + pack(x=X)[1:] * 2, "malformed"),
    "never used byte": (b"\x81\xc1\xc0", "malformed"),
    "four billion entries": (BIG_MAP + pack(x=X)[1:], "malformed"),
    "four billion values": (b"\x81\xa1x\xdd\xff\xff\xff\xff", "wrong_width"),
    "four billion bytes": (b"\x81\xa1x\xc6\xff\xff\xff\xff", "malformed"),
    "deep": (b"\x82\xa1z" + b"\x91" * 1000 + b"\xc0" + pack(x=X)[1:], "malformed"),
    "deeper than any stack": (b"\x91" * 4000, "malformed"),
    "x is deep": (b"\x81\xa1x" + b"\x91" * 3000 + b"\xc0", "malformed"),
    "no values": (pack(x=[]), "wrong_width"),
    "no bytes": (pack(x=b""), "wrong_width"),
    "too wide": (pack(x=[0.0] * 17), "wrong_width"),
    "too wide, bin": (pack(x=bytes(4 * 17)), "wrong_width"),
    "inf": (pack(x=[1.0, inf]), "not_finite"),
    "-inf": (pack(x=[-inf, nan]), "not_finite"),
    "inf beside nan, bin": (pack(x=struct.pack("<2f", nan, inf)), "not_finite"),
    "float64 above float32": (pack(x=[1e39]), "not_finite"),
    "t is a float": (pack(x=X, t=1.5), "bad_time"),
    "t is a bool": (pack(x=X, t=True), "bad_time"),
    "t is text": (pack(x=X, t="now"), "bad_time"),
    "t is an array": (pack(x=X, t=[1]), "bad_time"),
    "t is a timestamp": (pack(x=X, t=msgpack.Timestamp(1)), "bad_time"),
    "t above int64": (pack(x=X, t=2**63), "bad_time"),
    "t two days ahead": (pack(x=X, t=NOW + 2 * 86_400 * 10**9), "bad_time"),
    "seq negative": (pack(x=X, seq=-1), "malformed"),
    "seq a float": (pack(x=X, seq=1.0), "malformed"),
    "seq a bool": (pack(x=X, seq=True), "malformed"),
    "session a number": (pack(x=X, session=1), "malformed"),
    "session long": (pack(x=X, session=b"s" * 65), "malformed"),
    "session no UTF-8": (b"\x82\xa1x\x91\x01\xa7session\xa1\xff", "malformed"),
    "reset a number": (pack(x=X, reset=1), "malformed"),
    "too large": (pack(x=X, pad=bytes(5000)), "too_large"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_sample_has_its_code(name: str) -> None:
    body, code = BAD[name]
    assert code_of(body) == code


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        (b"", "bad_topic"),
        (b"in/", "bad_topic"),
        (b"in/bed1", "bad_topic"),
        (b"in", "bad_topic"),
        (b"out/bed1/", "bad_topic"),
        (b"block", "bad_topic"),
        (b"block/bed1/", "bad_topic"),
        (b"\xff\xfe", "bad_topic"),
        (b"in//", "bad_id"),
        (b"in/a\nb/", "bad_id"),
        (b"in/a\x7fb/", "bad_id"),
        (b"in/a\0b/", "bad_id"),
        ("in/a\x85b/".encode(), "bad_id"),
        (b"in/\xff/", "bad_id"),
        (b"in/\xed\xa0\x80/", "bad_id"),
        (b"in/" + b"a" * 201 + b"/", "bad_id"),
    ],
)
def test_a_bad_topic_has_its_code(topic: bytes, code: str) -> None:
    assert code_of(pack(x=X), topic) == code


def test_the_longest_id_and_odd_ids_pass() -> None:
    for stream in ("a" * 200, "/", "a/", "ward 3/bed 7", "床", "🛏"):
        got = decode(pack(x=X), sample_topic(stream))
        assert isinstance(got, Sample)
        assert got.stream.decode() == stream


@pytest.mark.parametrize("frames", [[], [b"in/bed1/"], [b"in/bed1/", pack(x=X), b""]])
def test_any_other_number_of_frames_is_malformed(frames: list[bytes]) -> None:
    with pytest.raises(InputError) as caught:
        decode_ingest(frames, LIMITS, NOW)
    assert caught.value.code == "malformed"


def test_an_error_names_the_stream() -> None:
    with pytest.raises(InputError) as caught:
        decode(pack(x=[inf]))
    assert caught.value.stream == "bed1"
    with pytest.raises(InputError) as caught:
        decode(pack(x=[1.0]), b"in/bed1")
    assert caught.value.stream is None


def unknown(depth: int) -> bytes:
    """A sample with an unknown key whose value is nested this deep."""
    return b"\x82\xa1z" + b"\x91" * (depth - 1) + b"\x90" + pack(x=X)[1:]


def test_unknown_keys_are_ignored_whatever_they_hold() -> None:
    plain = decode(pack(x=X, seq=3))
    for value in (1, None, 2.5, "text", b"bin", [1, [2]], {"a": {}}, msgpack.ExtType(9, b""), msgpack.Timestamp(3)):
        assert decode(pack(x=X, seq=3, other=value)) == plain
    odd_keys = b"\x87" + pack(x=X, seq=3)[1:] + bytes.fromhex("01c0 01c0 ca00000000c0 91c001 80c0")
    assert decode(odd_keys) == plain
    torn_text = b"\x83\xa1z\xa2\xff\xff" + pack(x=X, seq=3)[1:]
    assert decode(torn_text) == plain
    assert decode(unknown(4)) == decode(pack(x=X))
    assert code_of(unknown(5)) == "malformed"


def test_other_sizes_of_the_same_map_pass() -> None:
    plain = pack(x=X, seq=3)
    for head in (b"\xde\x00\x02", b"\xdf\x00\x00\x00\x02"):
        assert decode(head + plain[1:]) == decode(plain)


def outcome(body: bytes, topic: bytes) -> tuple[Any, ...]:
    try:
        got = decode(body, topic)
    except InputError as error:
        return error.code, str(error)
    return (repr(got),)


keys = st.sampled_from(["x", "t", "seq", "session", "reset", "ids", "n"]) | st.text(max_size=3)


@given(
    st.binary(max_size=60) | st.dictionaries(keys, anything).map(msgpack.packb),
    st.sampled_from([b"in/bed1/", BLOCK_TOPIC]),
)
def test_random_bodies_are_accepted_or_refused_and_nothing_else(body: bytes, topic: bytes) -> None:
    outcome(body, topic)


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_random_frames_raise_nothing_but_input_errors(frames: list[bytes]) -> None:
    with contextlib.suppress(InputError):
        decode_ingest(frames, LIMITS, NOW)


@given(st.data())
def test_a_damaged_message_raises_nothing_but_input_errors(data: st.DataObject) -> None:
    """Also: the quick way and the rules agree on it, in the answer and in the words of the refusal."""
    body = bytearray(
        data.draw(
            st.sampled_from(
                [
                    pack(x=[1.0, None], t=5, seq=6, session="s", reset=False),
                    pack(x=[1, 2.5], seq=6, more={"a": [1, 2], "b": None}),
                    encode_sample([1.0, None], 5, 6, b"session", True),
                ]
            )
        )
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        how = data.draw(st.integers(0, 2))
        byte = data.draw(st.integers(0, 255))
        body[at : at + (how < 2)] = bytes([byte] * (how != 1))
        body = body or bytearray(1)
    quick = outcome(bytes(body), b"in/bed1/")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest, "_unpack", None)
        assert outcome(bytes(body), b"in/bed1/") == quick


def block(streams: str | list[str], n: int, n_in: int, **columns: Any) -> bytes:
    return encode_block(streams, np.arange(n * n_in, dtype="<f4").tobytes(), n, **columns)


@given(st.lists(ids, min_size=1, max_size=8), st.integers(1, 16), st.booleans(), st.booleans())
def test_a_block_comes_back_as_it_was(streams: list[str], n_in: int, with_t: bool, with_seq: bool) -> None:
    n = len(streams)
    t = array("q", range(-3, n - 3)) if with_t else None
    seq = array("Q", [2**64 - 1 - i for i in range(n)]) if with_seq else None
    got = decode(block(streams, n, n_in, t=t, seq=seq, session=b"s"), BLOCK_TOPIC)
    assert isinstance(got, Block)
    assert [s.decode() for s in got.streams] == streams
    assert (got.n, got.n_in, got.one_id, got.session) == (n, n_in, False, b"s")
    assert got.x == array("f", range(n * n_in))
    assert (got.t, got.seq) == (t, seq)


def test_one_id_for_a_block_needs_its_rows_told() -> None:
    body = block("bed1", 3, 2)
    got = decode(body, BLOCK_TOPIC)
    assert isinstance(got, Block)
    assert (got.streams, got.n, got.n_in, got.one_id) == ([b"bed1"] * 3, 3, 2, True)
    untold = msgpack.unpackb(body)
    del untold["n"]
    assert code_of(pack(**untold), BLOCK_TOPIC) == "malformed"
    known = decode_ingest([BLOCK_TOPIC, pack(**untold)], LIMITS, NOW, n_in=2)
    assert known == got
    for told in ({"t": bytes(24)}, {"seq": bytes(24)}):
        by_column = decode(pack(**untold, **told), BLOCK_TOPIC)
        assert isinstance(by_column, Block)
        assert by_column.n == 3


BAD_BLOCKS: dict[str, tuple[dict[str, object], str]] = {
    "no ids": ({"ids": None}, "malformed"),
    "ids are numbers": ({"ids": [1, 2]}, "malformed"),
    "ids are nested": ({"ids": [["a"], ["b"]]}, "malformed"),
    "an id is empty": ({"ids": ["a", ""]}, "bad_id"),
    "an id is long": ({"ids": ["a", "b" * 201]}, "bad_id"),
    "too few ids": ({"ids": ["a"], "n": None}, "malformed"),
    "no rows": ({"ids": [], "n": None, "x": b"", "t": None, "seq": None}, "malformed"),
    "too many ids": ({"ids": ["a"] * 33, "n": None, "t": None, "seq": None}, "too_large"),
    "too many rows": ({"ids": "a", "n": 33, "x": bytes(4 * 33), "t": None, "seq": None}, "too_large"),
    "n disagrees": ({"n": 3}, "malformed"),
    "n is a bool": ({"n": True}, "malformed"),
    "n is negative": ({"ids": "a", "n": -2}, "malformed"),
    "no x": ({"x": None}, "malformed"),
    "x is a list": ({"x": [1.0, 2.0]}, "malformed"),
    "x is empty": ({"x": b""}, "malformed"),
    "x is torn": ({"x": bytes(7)}, "malformed"),
    "x does not divide": ({"x": bytes(12)}, "malformed"),
    "too wide": ({"x": bytes(2 * 4 * 17)}, "wrong_width"),
    "an infinity": ({"x": struct.pack("<4f", 1, nan, 2, -inf)}, "not_finite"),
    "t is short": ({"t": bytes(8)}, "malformed"),
    "t is torn": ({"t": bytes(15)}, "malformed"),
    "t is a list": ({"t": [1, 2]}, "malformed"),
    "t is ahead": ({"t": struct.pack("<2q", 1, NOW * 2)}, "bad_time"),
    "seq is long": ({"seq": bytes(24)}, "malformed"),
    "session is a map": ({"session": {}}, "malformed"),
}


@pytest.mark.parametrize("name", BAD_BLOCKS)
def test_a_bad_block_has_its_code(name: str) -> None:
    change, code = BAD_BLOCKS[name]
    good: dict[str, object] = {
        "ids": ["a", "b"], "n": 2, "x": bytes(16), "t": bytes(16), "seq": bytes(16),
    }  # fmt: skip
    assert isinstance(decode(pack(**good), BLOCK_TOPIC), Block)
    assert code_of(pack(**(good | change)), BLOCK_TOPIC) == code


def test_an_infinity_is_found_only_where_it_is() -> None:
    """The bytes of an infinity across two values are none."""
    across = bytes.fromhex("01 00 00 80 7f 00 00 00")
    assert isinstance(decode(pack(x=across)), Sample)
    assert code_of(pack(x=across + struct.pack("<f", inf))) == "not_finite"


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "u1", ">f4", "?"])
def test_arrays_of_any_kind_can_be_sent(dtype: str) -> None:
    x = np.array([1, 0, 1, 1], dtype)
    for vector in (x, x[::-1], x[::2]):
        got = decode(encode_sample(vector))
        assert isinstance(got, Sample)
        assert list(got.x) == vector.astype("f4").tolist()


@pytest.mark.parametrize(
    ("x", "code"),
    [
        ([1.0, "a"], "malformed"),
        (5.0, "malformed"),
        (b"abcd", "malformed"),
        (np.zeros((2, 2)), "malformed"),
        ([1e39], "not_finite"),
        ([10**400], "not_finite"),
        (np.array([inf]), "not_finite"),
        ([], "wrong_width"),
    ],
)
def test_a_client_hears_at_once_what_is_wrong_with_x(x: Any, code: str) -> None:
    with pytest.raises(InputError) as caught:
        encode_sample(x)
    assert caught.value.code == code


@pytest.mark.parametrize("t", [1.5, "now", 2**63])
def test_a_client_hears_at_once_what_is_wrong_with_t(t: Any) -> None:
    with pytest.raises(InputError) as caught:
        encode_sample([1.0], t=t)
    assert caught.value.code == "bad_time"
