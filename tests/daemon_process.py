"""A real daemon process for tests: on Unix sockets of its own, or on free ports, with its log read as it comes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import zmq

from streamrnn.client import Control

__all__ = ["DaemonProcess", "eventually", "flooding", "raw_publisher", "until"]

READY_SECONDS = 180.0
STOP_SECONDS = 15.0

T = TypeVar("T")


def eventually(ask: Callable[[], T], seconds: float = 10.0, what: str = "it") -> T:
    """The first true answer within the time; AssertionError with the last answer otherwise."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s; last: {answer!r}"
        time.sleep(0.005)


class DaemonProcess:
    """`streamrnn serve` with `flags`; a context manager that starts it, waits until it is ready, and stops it.

    `ingest`, `outputs` and `control` are its endpoints; `log` its lines so far, as dicts where they are JSON.
    With `tcp` it listens on free ports of the loopback interface, which are known once it is ready.
    """

    def __init__(
        self,
        *flags: str,
        env: Mapping[str, str] | None = None,
        tcp: bool = False,
        wait: bool = True,
        program: Sequence[str] = ("-m", "streamrnn"),
    ) -> None:
        self.flags = list(flags)
        self.folder = Path(tempfile.mkdtemp(prefix="srnn-"))
        self.log: list[dict[str, Any] | str] = []
        self._wait = wait
        self._program = program
        self._env = {**os.environ, **(env or {})}
        for role in ("ingest", "outputs", "control"):
            setattr(self, role, "tcp://127.0.0.1:*" if tcp else f"ipc://{self.folder}/{role}")
        self.ingest: str
        self.outputs: str
        self.control: str

    def start(self) -> DaemonProcess:
        """Start the process, and with `wait` return when it is ready."""
        where = [f"--{role}={getattr(self, role)}" for role in ("ingest", "outputs", "control")]
        self.process = subprocess.Popen(
            [sys.executable, *self._program, "serve", "--log-format=json", *where, *self.flags],
            stderr=subprocess.PIPE,
            text=True,
            env=self._env,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if self._wait:
            self.wait_ready()
        return self

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(json.loads(line) if line.startswith("{") else line.rstrip("\n"))

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The log's lines of this event."""
        return [line for line in self.log if isinstance(line, dict) and line["event"] == event]

    def wait_ready(self) -> dict[str, Any]:
        """The log line that says ready."""

        def ready() -> list[dict[str, Any]]:
            assert self.process.poll() is None or self.lines("ready"), f"the daemon ended: {self.log}"
            return self.lines("ready")

        line = eventually(ready, READY_SECONDS, "ready")[0]
        for role in ("ingest", "outputs", "control"):
            setattr(self, role, line[role][0])
        return line

    def ask(self, op: str, **args: object) -> dict[str, Any]:
        """The reply to one control request."""
        with Control(self.control, timeout=10.0) as control:
            return control.ask(op, **args)

    @property
    def counters(self) -> dict[str, Any]:
        """The daemon's totals."""
        counters: dict[str, Any] = self.ask("info")["counters"]
        return counters

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        self.process.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """The exit status, once the process has ended and its log is read to the end."""
        status = self.process.wait(seconds)
        self._reader.join(seconds)
        return status

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.wait()

    def __enter__(self) -> DaemonProcess:
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()
        assert self.process.stderr is not None
        self.process.stderr.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def until(messages: Iterable[T], found: Callable[[T], object]) -> list[T]:
    """The messages up to and with the first for which `found` holds."""
    seen = []
    for message in messages:
        seen.append(message)
        if found(message):
            return seen
    raise AssertionError("unreachable")


def raw_publisher(context: zmq.Context[Any], endpoint: str) -> zmq.Socket[bytes]:
    """A socket that may send anything at all, and is connected: the daemon's subscription has arrived."""
    socket = context.socket(zmq.XPUB)
    socket.linger = 5_000
    socket.sndhwm = 100_000
    socket.xpub_nodrop = True
    socket.connect(endpoint.lstrip("@>"))
    assert socket.poll(10_000), "no subscription from the daemon"
    socket.recv()
    return socket


@contextmanager
def flooding(endpoint: str, frames: Sequence[bytes]) -> Iterator[None]:
    """While entered, a thread sends this message again and again, as fast as the daemon takes it."""
    stop = threading.Event()

    def flood() -> None:
        with zmq.Context() as context:
            socket = raw_publisher(context, endpoint)
            while not stop.is_set():
                if socket.poll(50, zmq.POLLOUT):
                    socket.send_multipart(frames, zmq.NOBLOCK)
            socket.close(0)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
