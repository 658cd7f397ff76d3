"""A daemon of one's own: a child process on sockets that nobody else uses, which never outlives its parent.

The child holds the reading end of a pipe whose other end the parent keeps open. However the parent ends, the
pipe closes, and the child stops as if it had been sent SIGTERM. This needs no help from the system beyond
pipes.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from ..errors import StreamRNNError, Timeout

__all__ = ["OwnDaemon"]

STOP_SECONDS = 10.0
"""How long a daemon may take to drain before it is killed."""

LOG_LINES = 3
"""Lines of a failed daemon's log that are worth showing."""


class OwnDaemon:
    """`streamrnn serve` in a child process on Unix sockets in a directory of its own, with no settings inherited.

    A context manager: entering starts the process, leaving stops it and removes the directory. `ingest`,
    `outputs` and `control` are the endpoints for clients.
    """

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        self._arguments = list(arguments)

    def __enter__(self) -> OwnDaemon:
        self._folder = Path(tempfile.mkdtemp(prefix="streamrnn-"))
        self.ingest, self.outputs, self.control = (
            f"ipc://{self._folder}/{name}" for name in ("ingest", "outputs", "control")
        )
        self._log = self._folder / "log"
        endpoints = ["--ingest", self.ingest, "--outputs", self.outputs, "--control", self.control]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", __name__, str(self._folder), "serve", *self._arguments, *endpoints],
                stdin=subprocess.PIPE,
                env={name: value for name, value in os.environ.items() if not name.startswith("STREAMRNN_")},
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the parent, which stops the child in its own time
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def check(self) -> None:
        """Raise StreamRNNError with the end of the daemon's log if it is no longer running."""
        status = self._process.poll()
        if status is not None:
            last = self._log.read_text(errors="replace").strip().splitlines()[-LOG_LINES:]
            raise StreamRNNError(f"the daemon ended with status {status}: {' | '.join(last) or 'no log'}")

    def wait_ready(self, timeout: float) -> None:
        """Return when the daemon answers; Timeout after `timeout` seconds."""
        from ..client import Control

        deadline = time.monotonic() + timeout
        while True:
            self.check()
            try:
                with Control(self.control, timeout=0.25) as control:
                    control.ping()
                    return
            except Timeout:
                if time.monotonic() > deadline:
                    raise Timeout(f"the daemon was not ready after {timeout:.0f} s") from None

    def stop(self) -> int:
        """Stop the daemon, gracefully if it can, and return its exit status."""
        process = self._process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()
        return process.returncode


def _stop_with_parent(orphaned: threading.Event) -> None:
    """Wait until the pipe on stdin closes, then ask this process to stop."""
    while os.read(0, 1024):
        pass
    orphaned.set()
    os.kill(os.getpid(), signal.SIGTERM)


def _main() -> None:
    from . import run

    orphaned = threading.Event()
    threading.Thread(target=_stop_with_parent, args=(orphaned,), name="tether", daemon=True).start()
    try:
        sys.exit(run(sys.argv[2:]))
    finally:
        if orphaned.is_set():  # nobody is left to do it
            shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    _main()
