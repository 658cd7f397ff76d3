"""A model as the command line names it: a file, a built-in model, or the word `adaptive`."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ConfigError
from ..model import Model
from ..model.builtin import model_path

__all__ = ["ADAPTIVE", "check_width", "load", "load_sized"]

ADAPTIVE = "adaptive"


def load(name: str, columns: Sequence[str] = ()) -> Model:
    """The built-in model or the file `name`, or the adaptive one for `columns`.

    Raises ModelError for a file that is no model, and ConfigError where there is no such file.
    """
    if name == ADAPTIVE:
        return Model.adaptive(len(columns), features=columns)
    return Model.load(model_path(name))


def load_sized(name: str, n_in: int | None) -> Model:
    """`load`, where --n-in says how many channels the adaptive model has (4 where it is None).

    Raises ConfigError where it is said of another model, which has channels of its own.
    """
    model = load(name, [f"x{i}" for i in range(n_in or 4)])
    if name != ADAPTIVE and n_in is not None:
        raise ConfigError(f"--n-in is for the adaptive model; {name} takes {model.spec.n_in} channels: leave it out")
    return model


def check_width(model: Model, columns: Sequence[str]) -> None:
    """Raise ConfigError where the model takes another number of columns."""
    if model.spec.n_in != len(columns):
        raise ConfigError(
            f"the model takes {model.spec.n_in} columns ({', '.join(model.spec.features)}) where the feed "
            f"has {len(columns)} ({', '.join(columns)}): choose with --columns"
        )
