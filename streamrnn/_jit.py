"""The only place with Numba flags.

`error_model="numpy"` keeps loops with a division free of the zero check that stops them from vectorising.
There is no `fastmath`, ever: it would let two compilations of one sum differ, and equal bits are a promise
(docs/design.md). `nogil` lets other threads run while a burst is stepped; `cache` makes the second start fast.
"""

from __future__ import annotations

from numba import njit

__all__ = ["FLAGS", "kernel"]

FLAGS = {"error_model": "numpy", "fastmath": False, "nogil": True, "cache": True}

kernel = njit(**FLAGS)
"""The decorator of every compiled function."""
