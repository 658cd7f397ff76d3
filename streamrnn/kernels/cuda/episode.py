"""When a flag rises and when it clears, on the GPU: the very function of `kernels.episode`."""

from __future__ import annotations

from streamrnn.kernels import episode
from streamrnn.kernels.signals import HEAD

from .rows import shared_rows

__all__ = ["decide"]

decide = shared_rows(episode.decide, lambda *args: (args[0][:HEAD],))
