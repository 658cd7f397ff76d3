"""What stands where in the GPU's memory, and in the packets that travel to it and back.

All of an engine's memory on the GPU is one allocation, and a kernel sees it as one array of each kind of number: every
array that is an argument costs microseconds of every launch. Where things are is data. The memory begins with a frame,
as `streamrnn.frames` has them, but with places in the memory instead of addresses; so does each packet.

    frame | program | blank row | scratch | packets: 2 x (frame, down, up) | rows of all slots
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.frames import FIELDS

__all__ = ["PACKET", "PARTS", "TILE", "Lot", "Part", "class_of", "frame_of", "packet"]

TILE = 16
"""Streams that a block of a grid steps together: kernels.cuda.product.TILE, which only a GPU's engine may import."""

ALIGNED = 256
"""Bytes at whose multiples parts begin: what the widest copy and the longest line of a cache want."""

PARTS = (
    "sizes",
    "layers",
    "weights",
    "settings",
    "learning",
    "blank_state",
    "blank_adapt",
    "blank_detector",
    "rows",
    "u",
    "z",
    "filled",
    "phi",
    "gain",
    "state",
    "adapt",
    "detector",
    "ring",
)
"""The parts of the memory's frame, in order: the program, a row that was cleared, rows int64 (wave,) = 0, 1, ...,
scratch of `sample` and `chain` (u and filled a row of the wave, the others a row for each stream that blocks hold at
once), and the rows of all slots."""

PACKET = ("t", "slots", "counts", "x", "has", "y", "score", "cause", "done", "flag", "edge", "missing")
"""The parts of a packet's frame, in order: those of waves.Down, then those of waves.Up."""

HEAD = 2
"""Numbers in front of a packet's frame: how many rows of the packet are streams, and the wave's ticket."""


@dataclass(frozen=True)
class Part:
    """An array in a memory: its first byte, its kind of number, its shape."""

    at: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def stop(self) -> int:
        return self.at + math.prod(self.shape) * self.dtype.itemsize

    def of(self, memory: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """This part of a memory on the host."""
        return memory[self.at : self.stop].view(self.dtype).reshape(self.shape)


class Lot:
    """Parts, one behind the other from a byte on; `stop` is where the next one may begin."""

    def __init__(self, start: int, aligned: int = ALIGNED) -> None:
        self.parts: dict[str, Part] = {}
        self._aligned = aligned
        self.start = self.stop = start

    def place(self, name: str, dtype: npt.DTypeLike, *shape: int) -> Part:
        part = self.parts[name] = Part(self.stop, np.dtype(dtype), shape)
        self.stop = -(-part.stop // self._aligned) * self._aligned
        return part


def frame_of(parts: Mapping[str, Part], names: tuple[str, ...], base: int = 0) -> npt.NDArray[np.int64]:
    """The frame that tells a kernel where the parts are in a memory, `base` bytes further on; FIELDS numbers each."""
    frame = np.zeros(FIELDS * len(names), np.int64)
    for k, name in enumerate(names):
        part = parts[name]
        numbers = [(base + part.at) // part.dtype.itemsize, *part.shape]
        frame[FIELDS * k : FIELDS * k + len(numbers)] = numbers
    return frame


def class_of(n: int) -> int:
    """Rows of the packet in which n streams travel: a power of two, so that a few packets serve all waves."""
    return max(TILE, 1 << (n - 1).bit_length())


def packet(m: int, n_in: int, n_out: int) -> tuple[Lot, Lot]:
    """A packet of m rows, from its first byte on: what goes down, its frame included, and what comes up, behind it."""
    down = Lot(0, 8)
    down.place("head", np.int64, HEAD + FIELDS * len(PACKET))
    for name in ("t", "slots", "counts"):
        down.place(name, np.int64, m)
    down.place("x", np.float32, m, n_in)
    down.place("has", np.int8, m)
    up = Lot(-(-down.stop // ALIGNED) * ALIGNED, 4)
    up.place("y", np.float32, m, n_out)
    up.place("score", np.float32, m)
    up.place("cause", np.int32, m)
    up.place("done", np.int32, m // TILE)
    up.place("flag", np.int8, m)
    up.place("edge", np.int8, m)
    up.place("missing", np.int8, m, n_in)
    return down, up
