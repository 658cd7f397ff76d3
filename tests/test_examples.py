"""Every file in examples/ runs as it says, against a real daemon."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamrnn.daemon import Server, Settings

EXAMPLES = Path(__file__).parents[1] / "examples"
ANY = ("tcp://127.0.0.1:*",)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Server]:
    server = Server(Settings(ingest=ANY, outputs=ANY, control=ANY, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert server.ready.wait(120)
    yield server
    server.stop()
    thread.join(20)
    assert not thread.is_alive()


def start(name: str, *args: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(child: subprocess.Popen[str]) -> str:
    try:
        output, errors = child.communicate(timeout=120)
    finally:
        child.kill()
        child.wait()
    assert (child.returncode, errors) == (0, ""), errors
    return output


def test_publisher_and_subscriber(daemon: Server) -> None:
    (ingest,), (outputs,) = daemon.addresses["ingest"], daemon.addresses["outputs"]
    subscriber = start("subscriber.py", outputs, "800")
    try:
        assert subscriber.stdout is not None
        assert subscriber.stdout.readline() == "connected\n"
        assert finished(start("publisher.py", ingest)) == "sent 600 samples and a block of 200\n"
        said = finished(subscriber)
    finally:
        subscriber.kill()
        subscriber.communicate()
    assert said.endswith("800 outputs, 0 lost\n")
    assert "a block of 200" in said
    for bed in ("bed1", "bed2", "bed3"):
        assert f"example/{bed}         created" in said
    assert "example/bed3     151 FLAG raised" in said


def test_minimal_client(daemon: Server) -> None:
    (ingest,), (outputs,) = daemon.addresses["ingest"], daemon.addresses["outputs"]
    said = finished(start("minimal_client.py", ingest, outputs))
    assert "under out/minimal/" in said
    assert "'n': 100" in said


def test_library() -> None:
    assert "the same bits" in finished(start("library.py"))


def test_no_example_is_left_out() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        "library.py", "minimal_client.py", "publisher.py", "subscriber.py",
    }  # fmt: skip
