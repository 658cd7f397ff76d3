"""A model as the command line names it: a file, or the word `adaptive`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigError
from ..model import Model

__all__ = ["ADAPTIVE", "check_width", "load"]

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


def check_width(model: Model, columns: Sequence[str]) -> None:
    """Raise ConfigError where the model takes another number of columns."""
    if model.spec.n_in != len(columns):
        raise ConfigError(
            f"the model takes {model.spec.n_in} columns ({', '.join(model.spec.features)}) where the feed "
            f"has {len(columns)} ({', '.join(columns)}): choose with --columns"
        )
