"""The functions of streams' rows that are one source for both targets, and who of a block's threads calls them.

In a kernel they are compiled for the GPU. In the simulator they are the CPU's compiled functions, called with arrays
that the simulator wraps, whose elements they touch unseen: `shared_rows` tells `touch` what they write.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from streamrnn._cuda import SIMULATED, block_function, cuda

from .product import THREADS, TILE

__all__ = ["alone", "shared_rows", "touch"]

_APART = THREADS // TILE
"""Threads from one that takes a stream to the next: so every warp has some, and few wait for a branch of another."""


def touch(array: np.ndarray) -> None:
    """What a checker of data races listens to: this thread writes to all elements of an array, or to some of them."""


def _plain(arg: Any) -> Any:
    """The NumPy array that the simulator, or the checker, has wrapped."""
    item = getattr(arg, "_item", arg)
    return getattr(item, "_ary", getattr(item, "_array", item))


def shared_rows(function: Callable[..., Any], written: Callable[..., tuple[Any, ...]]) -> Callable[..., Any]:
    """A function of arrays as kernels call it; `written(*args)` are those parts of them that it writes to."""
    if not SIMULATED:
        return function

    def call(*args: Any) -> Any:
        plain = [_plain(arg) for arg in args]
        for array in written(*plain):
            touch(array)
        return function(*plain)

    return call


@block_function
def alone(m):
    """Which of the m streams of a tile this thread takes by itself, -1 where none."""
    s, rest = cuda.threadIdx.x // _APART, cuda.threadIdx.x % _APART
    return s if rest == 0 and s < m else -1
