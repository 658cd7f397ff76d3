"""A client needs pyzmq and msgpack, and nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("numba", "numpy", "llvmlite", "pydantic", "structlog", "typer", "rich", "safetensors")

USE = """
from streamrnn.client import Control, Publisher, Subscriber
import streamrnn, streamrnn.wire.messages
from array import array
assert streamrnn.Publisher is Publisher
with Publisher("@tcp://127.0.0.1:*") as publisher, Subscriber(publisher.address, "out/"), Control("tcp://127.0.0.1:1"):
    pass
streamrnn.wire.messages.encode_sample([1.0, None])
streamrnn.wire.messages.encode_sample(array("d", [1.0]))
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_the_client_imports_nothing_heavy() -> None:
    done = run(f"{USE}\nimport sys\nprint(sorted(set({HEAVY!r}) & set(sys.modules)))")
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_client_works_where_nothing_heavy_is_installed() -> None:
    done = run(f"import sys\nfor name in {HEAVY!r}:\n    sys.modules[name] = None\n{USE}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("module", ["streamrnn", "streamrnn.wire.messages", "streamrnn.wire.endpoints"])
def test_bytes_need_no_sockets(module: str) -> None:
    done = run(f"import sys\nsys.modules['zmq'] = None\nimport {module}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["Engine", "Model", "Output"])
def test_what_needs_more_says_what_is_missing(name: str) -> None:
    done = run(f"import sys\nfor name in {HEAVY!r}:\n    sys.modules[name] = None\nfrom streamrnn import {name}")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert f"streamrnn.{name} needs " in last
    assert "install streamrnn with its requirements" in last
    done = run(
        f"import sys\nfor name in {HEAVY!r}:\n    sys.modules[name] = None\nimport streamrnn\n"
        f"try:\n    streamrnn.{name}\nexcept ImportError:\n    print('as expected')"
    )
    assert (done.stdout, done.stderr) == ("as expected\n", "")


def test_the_command_says_in_one_line_that_it_needs_more() -> None:
    done = run(
        f"import sys\nfor name in {HEAVY!r}:\n    sys.modules[name] = None\nfrom streamrnn.__main__ import main\nmain()"
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("streamrnn: the command streamrnn needs typer, which is not installed: ")
    assert done.stderr.count("\n") == 1
