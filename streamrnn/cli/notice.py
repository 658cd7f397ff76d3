"""Words to people on stderr, which leave stdout to the results."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import Timeout
from ..words import count

__all__ = ["COMPILING", "count", "hint", "patience", "say", "say_skipped", "wait_for_daemon"]

COMPILING = "compiling, once: this may take a minute; later starts load what was compiled"

SLOW = 3.0
"""Seconds that a start takes where everything is compiled already, generously."""

PATIENCE = 0.5
"""Seconds that nobody minds to wait without a word."""


def say(text: str) -> None:
    """What must be known, also by those who read a log later."""
    print(f"streamrnn: {text}", file=sys.stderr, flush=True)


def hint(text: str) -> None:
    """What is of use only while somebody looks: nothing where stderr is no terminal."""
    if sys.stderr.isatty():
        say(text)


def say_skipped(skipped: int, first: Exception | None) -> None:
    """How many rows were left out, if any, and what was wrong with the first."""
    if skipped:
        say(f"{count(skipped, 'row')} could not be read and left out (first: {first})")


@contextmanager
def patience(text: str, seconds: float = SLOW) -> Iterator[Callable[[], None]]:
    """A hint, unless the function that is yielded was called within so many seconds, or the block left."""
    timer = threading.Timer(seconds, hint, [text])
    timer.daemon = True
    timer.start()
    try:
        yield timer.cancel
    finally:
        timer.cancel()


def wait_for_daemon(wait: Callable[[float], None], endpoint: str, timeout: float) -> None:
    """Call `wait(seconds)`, which raises Timeout, for `timeout` seconds in all; say so once it takes long."""
    soon = min(PATIENCE, timeout)
    try:
        wait(soon)
    except Timeout:
        if timeout <= soon:
            raise
        hint(f"waiting for a daemon at {endpoint}")
        wait(timeout - soon)
