"""One recurrent state per live stream, advanced by one step as each sample arrives.

The names below load on first use, so that a client imports without Numba or NumPy:

    Engine, Output, Outputs, StreamState     streamrnn.engine
    Model                                    streamrnn.model
    Publisher, Subscriber, Control           streamrnn.client
    StreamRNNError and its kinds             streamrnn.errors
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from .errors import StreamRNNError, not_installed

if TYPE_CHECKING:
    from .client import Control, Publisher, Subscriber
    from .engine import Engine, Output, Outputs, StreamState
    from .model import Model

__all__ = [
    "Control",
    "Engine",
    "Model",
    "Output",
    "Outputs",
    "Publisher",
    "StreamRNNError",
    "StreamState",
    "Subscriber",
]

try:
    __version__ = version("streamrnn")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+source"

_HOME = {
    "Control": "client",
    "Publisher": "client",
    "Subscriber": "client",
    "Engine": "engine",
    "Output": "engine",
    "Outputs": "engine",
    "StreamState": "engine",
    "Model": "model",
}


def __getattr__(name: str) -> object:
    if name in _HOME:
        try:
            home = import_module(f".{_HOME[name]}", __name__)
        except ModuleNotFoundError as error:
            missing = not_installed(f"streamrnn.{name}", error)
            if missing is None:
                raise
            raise missing from None
        return getattr(home, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
