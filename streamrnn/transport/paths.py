"""Which data path a daemon takes, and its compilation beside the engine's."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, Literal

import zmq

from .._jit import cache_dir
from ..errors import ConfigError
from ..wire.messages import Limits
from .fleet import Fleet
from .native import Library, find_library
from .outlet import Outlet
from .pump import Pump

__all__ = ["Choice", "Companion", "open_path"]

Choice = Literal["auto", "compiled", "pyzmq"]


def open_path(
    choice: Choice,
    ingest: zmq.Socket[bytes],
    outputs: zmq.Socket[bytes],
    outlet: Outlet,
    fleet: Fleet,
    limits: Limits,
    limit: int,
    budget: int = 0,
) -> tuple[Pump, str | None]:
    """The data path between two sockets, and why it is not the compiled one where that was to be had if possible.

    `limit` is the most messages of a burst, and `budget` how long one that is not full may wait for more, ns.

    Raises ConfigError where the compiled one was asked for and cannot be had.
    """
    library = find_library() if choice != "pyzmq" else "the slower path was asked for"
    if isinstance(library, Library):
        from .express import Express  # noqa: PLC0415 - begins to compile

        path = Express(ingest, outlet, fleet, limits, limit, library, outputs, budget)
        path.compile()
        return path, None
    if choice == "compiled":
        raise ConfigError(f"data_path is 'compiled', but {library}; use 'auto' or 'pyzmq'")
    return Pump(ingest, outlet, fleet, limits, limit, budget), library if choice == "auto" else None


class Companion:
    """A process that compiles the data path into the cache while this one compiles the engine: the first start then
    takes no longer with it than without, where there are two processors. A start after that needs none."""

    def __init__(self, choice: Choice) -> None:
        self._process: subprocess.Popen[Any] | None = None
        folder = cache_dir()
        self._done = None if folder is None else folder / "data_path"
        if self._done is None or self._done.exists() or choice == "pyzmq" or (os.cpu_count() or 1) < 2:
            return
        code = "from streamrnn.transport.express import compile_path; compile_path()"
        none = subprocess.DEVNULL
        self._process = subprocess.Popen([sys.executable, "-c", code], stdin=none, stdout=none, stderr=none)  # noqa: S603

    def wait(self) -> None:
        """Wait until it is done; if it failed, what it was to compile will be compiled here."""
        if self._process is not None and self._process.wait() == 0 and self._done is not None:
            self._done.touch()
        self._process = None

    def end(self) -> None:
        """End it, done or not."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
