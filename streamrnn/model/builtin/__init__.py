"""The models that come with the package: a file each beside this one, and a card that says what it is for."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from streamrnn.errors import ConfigError, ModelError

__all__ = ["BUILTINS", "builtin_path", "card_path", "model_path"]

BUILTINS: Final = ("text", "vitals")
"""Their names, in order."""


def builtin_path(name: str) -> Path:
    """The file of a model that comes with the package; a ModelError that lists the names for any other.

    >>> builtin_path("vitals").name
    'vitals.safetensors'
    """
    if name not in BUILTINS:
        raise ModelError(f"there is no built-in model {name!r:.60}; there are {', '.join(BUILTINS)}")
    return Path(__file__).with_name(f"{name}.safetensors")


def card_path(name: str) -> Path | None:
    """The file beside a built-in model that says what it is for and what it cannot do; None for any other model.

    >>> card_path("vitals").name
    'vitals.md'
    """
    return builtin_path(name).with_suffix(".md") if name in BUILTINS else None


def model_path(name: str) -> Path:
    """The file that is meant where a model is named: one of the package by its name, else a path.

    A file of one's own that has such a name is meant by ./vitals. Raises ConfigError where there is no such file.
    """
    if name in BUILTINS:
        return builtin_path(name)
    path = Path(name).expanduser()
    if not path.is_file():
        raise ConfigError(
            f"there is no model file {name!r}: give one, 'adaptive', or a built-in one: {', '.join(BUILTINS)}"
        )
    return path
