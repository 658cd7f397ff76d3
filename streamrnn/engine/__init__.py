"""What a stream is: its state, its life, and the step that advances it."""

from .engine import Engine
from .outputs import Event, Output, Outputs, StreamState

__all__ = ["Engine", "Event", "Output", "Outputs", "StreamState"]
