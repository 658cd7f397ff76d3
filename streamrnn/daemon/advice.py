"""What the log advises at the start: settings that cannot help."""

from __future__ import annotations

import os

from ..engine.core import SHARE
from .config import Settings
from .logs import Log

__all__ = ["warn_of_threads"]


def warn_of_threads(log: Log, settings: Settings, device: str, rows: int) -> None:
    """Say where `threads` asks for what cannot help, with bursts of so many rows on that device."""
    threads, processors = settings.threads, os.cpu_count() or 1
    if device == "cuda":
        if threads > 1:
            log.warning("threads_idle", threads=threads, hint="a GPU steps all rows; leave threads out")
        return
    if threads > processors:
        hint = f"threads wait for each other; set threads to {processors} at most"
        log.warning("threads_exceed_processors", threads=threads, processors=processors, hint=hint)
    if rows < SHARE * threads and threads > 1:
        hint = f"a burst of {rows} is too small to share; leave burst out, or set it to {SHARE * threads}"
        log.warning("threads_idle", threads=threads, burst=settings.burst, hint=hint)
