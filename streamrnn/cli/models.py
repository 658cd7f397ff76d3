"""A model as the command line names it: a file, or the word `adaptive`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigError
from ..model import Model

__all__ = ["ADAPTIVE", "load"]

ADAPTIVE = "adaptive"


def load(name: str, columns: Sequence[str] = ()) -> Model:
    """The model in the file `name`, or the adaptive one for `columns`.

    Raises ModelError for a file that is no model, and ConfigError where there is no such file.
    """
    if name == ADAPTIVE:
        return Model.adaptive(len(columns), features=columns)
    path = Path(name)
    if not path.is_file():
        raise ConfigError(f"there is no model file {name!r}: give one, or the word {ADAPTIVE!r}")
    return Model.load(path)
