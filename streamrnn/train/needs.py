"""The libraries of the extra `train`: imported when they are needed, missed in words."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from streamrnn.errors import NotInstalled

__all__ = ["installed", "need"]

_INSTALL = "pip install 'streamrnn[train]'"


def need(module: str, what: str) -> Any:
    """The module, or NotInstalled, which says what needs it and how to get it.

    >>> need("no_such_module", "training")
    Traceback (most recent call last):
    streamrnn.errors.NotInstalled: training needs no_such_module, which is not installed: pip install 'streamrnn[train]'
    """
    try:
        return import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise NotInstalled(f"{what} needs {package}, which is not installed: {_INSTALL}") from None


def installed(module: str) -> bool:
    """Whether a package is there; nothing is imported."""
    return find_spec(module) is not None
