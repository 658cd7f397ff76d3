"""The daemon: settings, the server that owns the sockets, its control requests and its logs."""

from __future__ import annotations

from .config import Settings, load_settings
from .server import Server, run

__all__ = ["Server", "Settings", "load_settings", "run"]
