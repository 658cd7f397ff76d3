"""SIGTERM and Ctrl-C: the first one asks to stop, the second one ends the process at once."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Signals", "Waker"]

_ENDING = (signal.SIGTERM, signal.SIGINT)


class Waker:
    """A pair of sockets that interrupts a poll from another thread."""

    def __init__(self) -> None:
        self._reading, self._writing = socket.socketpair()
        self._reading.setblocking(False)
        self._writing.setblocking(False)

    def fileno(self) -> int:
        """What to poll for reading."""
        return self._reading.fileno()

    def wake(self) -> None:
        """Let the poll return; safe from any thread."""
        try:
            self._writing.send(b"\0")
        except OSError:  # full, so the poll is returning anyway; or closed, so nobody polls
            return

    def clear(self) -> None:
        """Forget that it was woken."""
        try:
            while self._reading.recv(1024):
                continue
        except BlockingIOError:
            return

    def close(self) -> None:
        """Let go of both sockets."""
        self._reading.close()
        self._writing.close()


class Signals:
    """While entered, in the main thread: the first SIGTERM or SIGINT calls `stop(name)`, the second ends the process.

    Python calls a handler once for several signals, and not before compiled code returns. So a thread counts the bytes
    that C's handler writes, and ends the process whatever the main thread is at.
    """

    def __init__(self, waker: Waker, stop: Callable[[str], None]) -> None:
        self._waker = waker
        self._stop = stop
        self._seen = False
        self._before: dict[int, Any] = {}
        self._fd_before = -1
        self._counting, self._counted = socket.socketpair()

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            self._counted.setblocking(False)
            threading.Thread(target=self._count, name="streamrnn-signals", daemon=True).start()
            self._fd_before = signal.set_wakeup_fd(self._counted.fileno(), warn_on_full_buffer=False)
            for number in _ENDING:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._before:
            signal.set_wakeup_fd(self._fd_before)
        self._counted.close()  # which ends the thread
        if not self._before:
            self._counting.close()

    def _count(self) -> None:
        seen = 0
        with self._counting as counting:
            while numbers := counting.recv(64):
                for number in numbers:
                    seen += number in _ENDING
                    if seen == 2:
                        os._exit(128 + number)
                self._waker.wake()

    def _handle(self, number: int, _: FrameType | None) -> None:
        if not self._seen:
            self._seen = True
            self._stop(signal.Signals(number).name)
