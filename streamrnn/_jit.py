"""The only place with Numba flags, and with the rules of its cache.

`error_model="numpy"` keeps loops with a division free of the zero check that stops them from vectorising.
There is no `fastmath`, ever: it would let two compilations of one sum differ, and equal bits are a promise
(docs/design.md). `nogil` lets other threads run while a burst is stepped.

Compiled code is cached on disk, which makes the second start fast. Numba notices when a function's own file changes,
but not when a function that it calls does; so the cache's folder carries a digest of all our compiled sources, and a
change to any of them starts a new folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from numba import config, njit

__all__ = ["FLAGS", "cache_dir", "kernel"]

FLAGS = {"error_model": "numpy", "fastmath": False, "nogil": True}

_PACKAGE = Path(__file__).parent
_COMPILED = ("_jit.py", "burst.py", "kernels", "engine")  # where compiled functions and their constants live
_KEEP = 4  # folders of earlier sources that stay, for switching back and forth


def _digest() -> str:
    found = hashlib.sha256()
    for part in _COMPILED:
        path = _PACKAGE / part
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            found.update(file.relative_to(_PACKAGE).as_posix().encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:16]


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _prune(base: Path, keep: Path) -> None:
    """Remove the oldest folders of other sources."""
    others = [p for p in base.glob("streamrnn-*") if p != keep and p.is_dir()]
    for old in sorted(others, key=lambda p: p.stat().st_mtime)[: -_KEEP or None]:
        shutil.rmtree(old, ignore_errors=True)


@lru_cache(maxsize=1)
def cache_dir() -> Path | None:
    """Where compiled code is kept: under NUMBA_CACHE_DIR if set, else beside the package, else in the user's cache.

    None, with a warning, where none of them can be written: then every start compiles.
    """
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    name = f"streamrnn-{_digest()}"
    for base in [Path(chosen)] if chosen else [_PACKAGE / "__pycache__", user / "streamrnn"]:
        folder = base / name
        if _writable(folder):
            _prune(base, folder)
            return folder
    warnings.warn(
        "no folder for compiled code can be written, so every start takes the time of a first start; "
        "set NUMBA_CACHE_DIR to a writable folder",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def kernel(function: Callable) -> Callable:
    """The decorator of every compiled function."""
    folder = cache_dir()
    before = config.CACHE_DIR
    config.CACHE_DIR = str(folder or "")
    try:
        return njit(**FLAGS, cache=folder is not None)(function)
    finally:
        config.CACHE_DIR = before
