"""A program in a terminal of its own, whose screen is read as it is written."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence

__all__ = ["Terminal"]


class Terminal:
    """Runs `command` in a terminal of `columns` and `lines`; a context manager that ends it.

    `shown` is all that it wrote so far, control sequences included.
    """

    def __init__(self, command: Sequence[str], columns: int = 100, lines: int = 30, **environment: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        plain = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS", "LINES"}}
        settings = {**plain, "TERM": "xterm-256color", **environment}
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=settings)
        os.close(theirs)
        self.shown = ""

    def read(self, seconds: float = 0.1) -> bool:
        """Take in what it writes within the time; False once it has ended."""
        if not select.select([self._ours], [], [], seconds)[0]:
            return True
        try:
            piece = os.read(self._ours, 65536)
        except OSError:  # Linux: the other side has closed
            return False
        self.shown += piece.decode(errors="replace")
        return bool(piece)

    def until(self, text: str, seconds: float = 30.0) -> None:
        """Read until `text` is there; what was read before it is forgotten."""
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            assert time.monotonic() < deadline, f"{text!r} was not shown: {self.shown[-2000:]!r}"
            assert self.read() or text in self.shown, f"it ended without {text!r}: {self.shown[-2000:]!r}"
        self.shown = self.shown.partition(text)[2]

    def status(self) -> int:
        """Its exit status, once it has ended."""
        while self.read():
            pass
        return self.process.wait(30)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
