"""Tokens over the wire: what a sample and a block of them are, what is refused, and what a publisher sends."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pytest
from fake_daemon import FakeDaemon

from streamrnn.client import Publisher
from streamrnn.errors import BadToken, InputError, Malformed
from streamrnn.wire.messages import Block, Limits, Sample, decode_ingest, encode_block, encode_sample

LIMITS = Limits(tokens=256, max_block=32)


def decode(topic: bytes = b"in/chat/", limits: Limits = LIMITS, **fields: Any) -> Sample | Block:
    return decode_ingest([topic, msgpack.packb(fields)], limits, 0, n_in=1)


def test_a_token_is_an_integer() -> None:
    assert encode_sample(17, seq=1).hex(" ") == "82 a1 78 11 a3 73 65 71 01"
    assert encode_sample(np.uint8(200)).hex(" ") == "81 a1 78 cc c8"
    sample = decode_ingest([b"in/chat/", encode_sample(255, t=-5, seq=3)], LIMITS, 0)
    assert isinstance(sample, Sample)
    assert (sample.x.tolist(), sample.t, sample.seq) == ([255.0], -5, 3)


def test_a_block_of_tokens_is_an_array_of_integers() -> None:
    for ids in (["a", "b", "a"], "a"):
        body = encode_block(ids, [0, 255, 7], 3)
        block = decode_ingest([b"block/", body], LIMITS, 0)
        assert isinstance(block, Block)
        assert (block.x.tolist(), block.n, block.n_in) == ([0.0, 255.0, 7.0], 3, 1)
    alone = decode(b"block/", ids="a", x=[1, 2])  # without n: a row has one token
    assert isinstance(alone, Block)
    assert alone.n == 2


@pytest.mark.parametrize("x", [256, -1, 2**64 - 1, 1.0, None, True, "17", b"\x11", [17], b"\0\0\0\0", [], {"a": 1}])
def test_what_is_no_token_is_refused(x: object) -> None:
    with pytest.raises(BadToken, match="an integer from 0 to 255") as caught:
        decode(x=x)
    assert caught.value.stream == "chat"


@pytest.mark.parametrize("x", [[1, 256], [1, None], [1, 2.0], [True, 1], [[1], [2]], b"\0\0\0\0" * 2, 5, None])
def test_a_block_with_what_is_no_token_is_refused(x: object) -> None:
    with pytest.raises(BadToken, match="integers from 0 to 255"):
        decode(b"block/", ids=["a", "b"], x=x)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"ids": ["a", "b"], "x": [1, 2, 3]}, "malformed"),
        ({"ids": "a", "x": []}, "malformed"),
        ({"ids": "a", "x": [1] * 33}, "too_large"),
        ({"ids": ["a"], "x": [1], "t": b"12345678" * 2}, "malformed"),
    ],
)
def test_a_block_of_tokens_obeys_the_rules_of_form(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(InputError) as caught:
        decode(b"block/", **fields)
    assert caught.value.code == code


def test_a_token_for_a_model_of_channels_is_refused_with_the_reason() -> None:
    with pytest.raises(Malformed, match="x is 17, and the model takes no tokens; send an array"):
        decode(limits=Limits(), x=17)
    with pytest.raises(Malformed, match="send a bin"):
        decode(b"block/", limits=Limits(), ids=["a"], x=[17])


def test_a_publisher_sends_tokens() -> None:
    with FakeDaemon(limits=LIMITS) as daemon, Publisher(daemon.ingest) as publisher:

        def send() -> None:
            publisher.send("chat", 17, t=5)
            publisher.send("chat", np.int64(18))
            publisher.send_block("chat", [1, 2, 3])
            publisher.send_block(["a", "chat"], np.array([4, 5], np.uint8), t=[6, 7])

        first, second, block, named = daemon.meanwhile(send, 4)
        assert isinstance(first, Sample)
        assert isinstance(second, Sample)
        assert isinstance(block, Block)
        assert isinstance(named, Block)
        assert (first.x.tolist(), first.t, first.seq) == ([17.0], 5, 0)
        assert second.x.tolist() == [18.0]
        assert block.x.tolist() == [1.0, 2.0, 3.0]
        assert block.seq is not None
        assert block.seq.tolist() == [2, 3, 4]
        assert named.x.tolist() == [4.0, 5.0]
        assert named.streams == [b"a", b"chat"]


def test_many_tokens_go_in_pieces() -> None:
    limits = Limits(tokens=256, max_block=100)
    with FakeDaemon(limits=limits) as daemon, Publisher(daemon.ingest, limits=limits) as publisher:
        x = np.random.default_rng(0).integers(0, 256, 250)
        blocks = daemon.meanwhile(lambda: publisher.send_block("chat", x), 3)
        assert [v for b in blocks for v in b.x.tolist()] == x.tolist()


def test_a_publisher_refuses_what_no_daemon_takes() -> None:
    with Publisher("@tcp://127.0.0.1:*") as publisher:
        with pytest.raises(BadToken, match="x is -1; a token is an integer from 0"):
            publisher.send("chat", -1)
        with pytest.raises(BadToken, match="row 1 of X is 2.5 among tokens"):
            publisher.send_block("chat", [1, 2.5])  # type: ignore[arg-type, list-item]
        with pytest.raises(Malformed, match="2 tokens for 3 stream ids"):
            publisher.send_block(["a", "b", "c"], [1, 2])
