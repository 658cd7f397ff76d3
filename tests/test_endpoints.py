"""Endpoint strings."""

from __future__ import annotations

import pytest

from streamrnn.errors import ConfigError
from streamrnn.wire.endpoints import CONTROL, INGEST, OUTPUTS, Endpoint, parse_endpoint


@pytest.mark.parametrize(
    ("text", "address", "binds"),
    [
        ("tcp://127.0.0.1:5590", "tcp://127.0.0.1:5590", None),
        ("@tcp://127.0.0.1:5590", "tcp://127.0.0.1:5590", True),
        (">tcp://127.0.0.1:5590", "tcp://127.0.0.1:5590", False),
        (" >tcp://ward-3.example:1\n", "tcp://ward-3.example:1", False),
        ("@tcp://*:5590", "tcp://*:5590", True),
        ("@tcp://127.0.0.1:*", "tcp://127.0.0.1:*", True),
        ("@tcp://eth0:0", "tcp://eth0:0", True),
        ("tcp://[::1]:5590", "tcp://[::1]:5590", None),
        ("ipc:///tmp/a b", "ipc:///tmp/a b", None),
        ("inproc://x", "inproc://x", None),
    ],
)
def test_signs_and_roles(text: str, address: str, binds: bool | None) -> None:
    for role in (True, False):
        assert parse_endpoint(text, bind=role) == Endpoint(address, role if binds is None else binds)


def test_an_endpoint_reads_itself_back() -> None:
    for text in (INGEST, OUTPUTS, CONTROL, "@ipc://x"):
        endpoint = parse_endpoint(text)
        assert parse_endpoint(str(endpoint), bind=not endpoint.bind) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "5590",
        "127.0.0.1:5590",
        "http://127.0.0.1:5590",
        "tcp:127.0.0.1:5590",
        "tcp://",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:",
        "tcp://:5590",
        "tcp://127.0.0.1:port",
        "tcp://127.0.0.1:70000",
        "tcp://127.0.0.1:5590/x",
        "tcp://a b:5590",
        "tcp://::1:5590",
        ">tcp://*:5590",
        ">tcp://127.0.0.1:*",
        "tcp://127.0.0.1:0",
        "@@tcp://127.0.0.1:1",
        "ipc://",
        "ipc://" + "x" * 108,
    ],
)
def test_a_wrong_endpoint_is_named(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_endpoint(text)
    assert repr(text)[:60] in str(caught.value)
