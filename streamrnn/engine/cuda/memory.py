"""What stands where in the GPU's memory, and in the packets that travel to it and back.

All of an engine's memory on the GPU is one allocation, and a kernel sees it as one array of each kind of number: every
array that is an argument costs microseconds of every launch. Where things are it is told in numbers, `Places`, and
`Sizes` of the program beside them. They are arguments and not a part of the memory, since arguments stand in constant
memory, from where an instruction takes them as they are: kept in registers they would crowd out the sums.

    program | blank row | scratch | packets: 2 x (down, up) | rows of all slots
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["TILE", "Lot", "Part", "Places", "class_of", "packet", "packet_places"]

TILE = 16
"""Streams that a block of a grid steps together: kernels.cuda.product.TILE, which only a GPU's engine may import."""

ALIGNED = 256
"""Bytes at whose multiples parts begin: what the widest copy and the longest line of a cache want."""


class Places(NamedTuple):
    """Where the parts of the memory begin, each in elements of its own kind, and how large they are.

    The program, of `depth` layers; a row that was cleared; rows int64 (wave,) = 0, 1, ...; scratch of `sample` and
    `chain`: u and filled float32 (wave, ...), a row for each stream of a wave, z float32, phi and gain float64 (held,
    ...), one for each that the blocks hold at once; and the rows of all slots.
    """

    capacity: int
    wave: int
    held: int
    depth: int
    layers: int
    weights: int
    n_weights: int
    settings: int
    learning: int
    blank_state: int
    blank_adapt: int
    blank_detector: int
    rows: int
    u: int
    u_width: int
    z: int
    z_width: int
    filled: int
    phi: int
    phi_width: int
    gain: int
    gain_width: int
    state: int
    state_width: int
    adapt: int
    adapt_width: int
    detector: int
    detector_width: int
    ring: int

    @classmethod
    def of(cls, parts: dict[str, Part], **sizes: int) -> Places:
        """The places of the parts of these names, their widths, and what else there is to tell."""
        found = dict(sizes)
        for name in set(cls._fields) & set(parts):
            part = parts[name]
            found[name] = part.at // part.dtype.itemsize
            if f"{name}_width" in cls._fields:
                found[f"{name}_width"] = part.shape[1]
        return cls(**found)


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


def class_of(n: int) -> int:
    """Rows of the packet in which n streams travel: a power of two, so that a few packets serve all waves."""
    return max(TILE, 1 << (n - 1).bit_length())


def packet(m: int, n_in: int, n_out: int) -> tuple[Lot, Lot]:
    """A packet of m rows, from its first byte on: what goes down, and what comes up, behind it."""
    down = Lot(0, 1)
    for name in ("t", "slots", "counts"):
        down.place(name, np.int64, m)
    down.place("x", np.float32, m, n_in)
    down.place("has", np.int8, m)
    up = Lot(-(-down.stop // ALIGNED) * ALIGNED, 1)
    up.place("y", np.float32, m, n_out)
    up.place("score", np.float32, m)
    up.place("cause", np.int32, m)
    up.place("done", np.int32, m // TILE)
    up.place("flag", np.int8, m)
    up.place("edge", np.int8, m)
    up.place("missing", np.int8, m, n_in)
    return down, up


def packet_places(base: int, m: int, n_in: int, n_out: int) -> tuple[int, ...]:
    """Where the parts of such a packet are which begins at a byte, in elements of each, in the order of `packet`: the
    same in the arithmetic of a kernel, which for m = 2^k and a base that is aligned takes a few shifts and sums."""
    up = base + ((m * (25 + 4 * n_in) + ALIGNED - 1) & -ALIGNED)
    y = up >> 2
    score = y + m * n_out
    flag = up + 4 * (m * (n_out + 2) + m // TILE)
    return (
        base >> 3, (base >> 3) + m, (base >> 3) + 2 * m, (base >> 2) + 6 * m, base + m * (24 + 4 * n_in),
        y, score, score + m, score + 2 * m, flag, flag + m, flag + 2 * m,
    )  # fmt: skip
