"""Logs: one line an occurrence on stderr, for people on a terminal and as JSON otherwise."""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import structlog

__all__ = ["Log", "make_log"]

Log = structlog.typing.FilteringBoundLogger


def make_log(form: str = "auto", level: str = "info", file: TextIO | None = None) -> Log:
    """A logger that writes to `file` (stderr by default).

    `form` is "human", "json", or "auto": human where the file is a terminal. Nothing global is touched.
    """
    out = sys.stderr if file is None else file
    human = form == "human" or (form == "auto" and out.isatty())
    render: Any
    if human:
        render = structlog.dev.ConsoleRenderer(colors=out.isatty())
        stamp = structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)
    else:
        render = structlog.processors.JSONRenderer()
        stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    processors: list[Any] = [structlog.processors.add_log_level, stamp]
    if not human:
        processors.append(structlog.processors.format_exc_info)
    log: Log = structlog.wrap_logger(
        structlog.WriteLogger(out),
        processors=[*processors, render],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        cache_logger_on_first_use=True,
    )
    return log
