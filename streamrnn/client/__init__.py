"""Talk to a daemon with nothing installed but pyzmq and msgpack: no Numba, no NumPy.

Publisher    sends samples and blocks
Subscriber   receives Output, Flag, BlockOutput and Event
Control      asks and commands
"""

from __future__ import annotations

from ..wire.messages import BlockOutput, Event, Flag, Output, Published
from .control import Control
from .gaps import Gap
from .publisher import Publisher
from .subscriber import Subscriber

__all__ = [
    "BlockOutput",
    "Control",
    "Event",
    "Flag",
    "Gap",
    "Output",
    "Published",
    "Publisher",
    "Subscriber",
]
