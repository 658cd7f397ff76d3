"""The libraries that read other libraries' files: imported when they are needed, missed in words."""

from __future__ import annotations

import hashlib
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from streamrnn.errors import SourceError

__all__ = ["file_facts", "installed", "need", "reason"]

_EXTRA = {"onnx": "import", "onnxruntime": "import", "h5py": "import"}

MAX_SOURCE = 2**31
"""Bytes of the largest file that is opened."""


_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
"""Codes by which a terminal is told to print in bold or in colour (ECMA-48)."""


def reason(error: Exception, most: int = 160) -> str:
    """What another library says is wrong: one plain line of at most so many characters.

    >>> reason(ValueError("do \\x1b[1mnot\\x1b[0m\\n  do this"))
    'do not do this'
    """
    said = " ".join(_COLOURS.sub("", str(error)).split())
    return said if len(said) <= most else said[: most - 3].rpartition(" ")[0] + " ..."


def need(module: str, what: str) -> Any:
    """The module, or a SourceError that says what needs it and how to get it."""
    try:
        return import_module(module)
    except ImportError as error:
        package = f"'streamrnn[{_EXTRA[module]}]'" if module in _EXTRA else module
        raise SourceError(f"{what} needs the package {module} ({error}): pip install {package}") from None


def installed(module: str) -> bool:
    """Whether a package is there; nothing is imported."""
    return find_spec(module) is not None


def file_facts(path: Path) -> dict[str, str]:
    """Name and SHA-256 of a source file for the provenance; SourceError where it cannot be read or is too large."""
    try:
        size = path.stat().st_size
        if size > MAX_SOURCE:
            raise SourceError(f"{path} has {size} bytes; {MAX_SOURCE} are read at most")
        return {"source": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from None
