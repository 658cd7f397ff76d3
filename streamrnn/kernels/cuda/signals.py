"""What a sample does to one channel's signals, on the GPU: the very functions of `kernels.signals`.

A channel belongs to one thread. `row` is a head of the thread's own, so that channels are judged side by side.
"""

from __future__ import annotations

from streamrnn.kernels import signals

from .rows import shared_rows

__all__ = ["absent", "daily", "seen"]

seen = shared_rows(signals.seen, lambda *args: (args[1][:, args[2]],))
absent = shared_rows(signals.absent, lambda *args: (args[1][:, args[2]],))
daily = shared_rows(signals.daily, lambda *args: (args[1],))
