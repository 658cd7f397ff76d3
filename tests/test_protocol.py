"""docs/protocol.md is the specification: its example runs, its bytes are the bytes, its tables name what exists."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import msgpack
import pytest

from streamrnn import errors
from streamrnn.daemon import Server, Settings
from streamrnn.wire.limits import MAX_SESSION
from streamrnn.wire.messages import (
    EVENT_KINDS,
    Limits,
    decode_ingest,
    encode_output,
    encode_reply,
    encode_request,
    encode_sample,
)

TEXT = (Path(__file__).parents[1] / "docs" / "protocol.md").read_text()
T = 1_700_000_000_000_000_000
ANY = ("tcp://127.0.0.1:*",)


def test_the_client_in_ten_lines_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    server = Server(Settings(ingest=ANY, outputs=ANY, control=ANY, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        assert server.ready.wait(120)
        for role, usual in (("ingest", "tcp://127.0.0.1:5590"), ("outputs", "tcp://127.0.0.1:5591")):
            assert usual in code
            code = code.replace(usual, server.addresses[role][0])
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    finally:
        server.stop()
        thread.join(20)
    assert "'n': 10" in done.stdout


@pytest.mark.parametrize(
    "body",
    [
        msgpack.packb({"x": [97.0, None]}),
        encode_sample([97.0, None, 18.0], t=T, seq=41, session="a7"),
        encode_output(41, T, [97.5, 88.0, 18.0], 1.25, False, None, 42, 3, T + 100_000, T + 150_000, [1]),
        encode_request("reset", stream="bed1"),
        encode_reply(id="bed1"),
    ],
)
def test_the_bytes_in_the_text_are_what_is_sent(body: bytes) -> None:
    assert body.hex() in re.sub(r"\s", "", TEXT)


def test_both_encodings_of_the_example_are_read() -> None:
    bodies = re.findall(r"^    (8[14] a1 78(?: [0-9a-f]{2})+(?:\n    (?:[0-9a-f]{2} ?)+)*)$", TEXT, re.MULTILINE)
    assert len(bodies) == 2
    for hexed in bodies:
        decode_ingest([b"in/bed1/", bytes.fromhex(hexed)], Limits(), T)


def test_the_tables_are_complete() -> None:
    for kind in EVENT_KINDS:
        assert f"`{kind}`" in TEXT
    for name in errors.__all__:
        error = getattr(errors, name)
        if issubclass(error, errors.InputError) and error is not errors.InputError:
            assert f"| `{error.code}` |" in TEXT


def test_the_limits_are_those_of_the_code() -> None:
    limits = Limits()
    assert f"1 to {limits.max_width}" in TEXT
    assert f"{limits.max_block:,} rows" in TEXT
    assert f"{limits.max_depth} levels" in TEXT
    assert f"at most {MAX_SESSION} bytes" in TEXT
    assert limits.max_message == 1 << 20
    assert "1 MiB" in TEXT
    assert limits.max_ahead_ns == 86_400 * 10**9
    assert "one day ahead" in TEXT
