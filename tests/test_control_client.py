"""The control client: questions asked again, commands sent once, errors raised as what they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fake_daemon import Background, FakeDaemon

from streamrnn.client import Control
from streamrnn.errors import Malformed, Timeout, UnknownStream
from streamrnn.wire.messages import decode_request, encode_error, encode_reply


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    with FakeDaemon() as fake:
        yield fake


def take(daemon: FakeDaemon) -> tuple[list[bytes], dict[str, Any]]:
    assert daemon.router.poll(10_000)
    *envelope, body = daemon.router.recv_multipart()
    return envelope, decode_request(body)


def answer(daemon: FakeDaemon, *replies: bytes) -> list[dict[str, Any]]:
    asked = []
    for reply in replies:
        envelope, request = take(daemon)
        asked.append(request)
        daemon.router.send_multipart([*envelope, reply])
    return asked


def test_every_operation_asks_for_itself(daemon: FakeDaemon) -> None:
    asked: list[dict[str, Any]] = []
    replies = [encode_reply(now=1, streams=[{"id": "a"}])] * 7
    with Control(daemon.control) as control, Background(lambda: asked.extend(answer(daemon, *replies))):
        assert control.ping()["now"] == 1
        control.info()
        assert control.streams("ward3/", limit=5, after="ward3/a") == [{"id": "a"}]
        control.stream("bed1")
        control.reset("bed1")
        control.evict("bed1")
        control.stop()
    assert asked == [
        {"op": "ping"},
        {"op": "info"},
        {"op": "streams", "prefix": "ward3/", "limit": 5, "after": "ward3/a"},
        {"op": "stream", "stream": "bed1"},
        {"op": "reset", "stream": "bed1"},
        {"op": "evict", "stream": "bed1"},
        {"op": "stop"},
    ]


def test_an_error_is_raised_as_its_class(daemon: FakeDaemon) -> None:
    replies = [encode_error(UnknownStream("no stream 'bed9' is alive")), b"\xc1", encode_reply()]
    with Control(daemon.control) as control, Background(lambda: answer(daemon, *replies)):
        with pytest.raises(UnknownStream, match="bed9"):
            control.stream("bed9")
        with pytest.raises(Malformed):
            control.ping()
        assert control.ping() == {}


def test_all_streams_turns_pages(daemon: FakeDaemon) -> None:
    pages = [["a", "b"], ["c"], []]
    replies = [encode_reply(streams=[{"id": name} for name in page]) for page in pages]
    asked: list[dict[str, Any]] = []
    with Control(daemon.control) as control, Background(lambda: asked.extend(answer(daemon, *replies))):
        assert [stream["id"] for stream in control.all_streams(page=2)] == ["a", "b", "c"]
    assert [request["after"] for request in asked] == ["", "b", "c"]


def test_a_question_is_asked_again(daemon: FakeDaemon) -> None:
    """The first reply is lost; a reply that comes too late is not taken for the next one."""

    def serve() -> None:
        envelope, _ = take(daemon)
        again, request = take(daemon)
        daemon.router.send_multipart([*envelope, encode_reply(which="late")])
        daemon.router.send_multipart([*again, encode_reply(which=request["op"])])

    with Control(daemon.control, timeout=0.2) as control, Background(serve):
        assert control.ping() == {"which": "ping"}


def test_a_command_is_sent_once(daemon: FakeDaemon) -> None:
    with Control(daemon.control, timeout=0.1) as control:
        with pytest.raises(Timeout, match="not known") as caught:
            control.reset("bed1")
        assert daemon.control in str(caught.value)
        assert take(daemon)[1]["op"] == "reset"
        control.timeout = 10.0
        with Background(lambda: answer(daemon, encode_reply())):
            control.ping()
        assert not daemon.router.poll(0)


def test_nobody_there_is_a_timeout_and_not_a_hang() -> None:
    with FakeDaemon() as gone:
        address = gone.control
    with Control(address, timeout=0.05) as control, pytest.raises(Timeout, match="nobody answered ping"):
        control.ping()


def test_a_question_asked_once_leaves_no_doubt() -> None:
    with Control("tcp://127.0.0.1:1", timeout=0.05, retries=0) as control, pytest.raises(Timeout) as caught:
        control.ping()
    assert "nobody answered ping at tcp://127.0.0.1:1 within 0.05 s" in str(caught.value)
    assert "not known" not in str(caught.value)
