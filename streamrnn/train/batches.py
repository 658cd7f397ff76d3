"""Series side by side: pieces of like lengths, padded at their ends, cut into chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from .series import Series
from .settings import Settings

__all__ = ["Batch", "Chunk", "Piece", "plan", "whole_batches"]

Piece = tuple[int, int, int]
"""A series, its first sample, and the one behind its last."""


@dataclass(frozen=True)
class Chunk:
    """Some steps of a batch on the device: x (T, B, n), use bool (T, B, n) or None, its steps `gaps`, goal and mask;
    clock (T, B, 2) or None.
    """

    x: Any
    use: Any
    gaps: list[int]
    goal: Any
    mask: Any
    clock: Any


class Batch:
    """Pieces side by side, in arrays (T, B, ...) with time first; what is beyond a piece's end does not count."""

    def __init__(self, series: Sequence[Series], pieces: Sequence[Piece], burn_in: int = 0) -> None:
        self.pieces = list(pieces)
        T, B = max(b - a for _, a, b in pieces), len(pieces)
        first = series[pieces[0][0]]
        self.x = np.zeros((T, B, first.x.shape[1]), np.float32)
        some = any(series[i].use is not None for i, _, _ in pieces)
        self.use = np.zeros(self.x.shape, bool) if some else None
        self.goal = np.zeros((T, B, *first.goal.shape[1:]), first.goal.dtype)
        self.mask = np.zeros(self.goal.shape, bool)
        self.clock = None if first.clock is None else np.zeros((T, B, 2), np.float32)
        for j, (i, a, b) in enumerate(pieces):
            s, n = series[i], b - a
            self.x[:n, j] = s.x[a:b]
            self.x[n:, j] = s.x[b - 1]
            if self.use is not None and s.use is not None:
                self.use[:n, j] = s.use[a:b]
            if self.clock is not None and s.clock is not None:
                self.clock[:n, j] = s.clock[a:b]
            self.goal[:n, j] = s.goal[a:b]
            self.mask[burn_in:n, j] = s.mask[a + burn_in : b]
        self._gaps = np.flatnonzero(self.use.any((1, 2))) if self.use is not None else np.zeros(0, np.int64)

    def __len__(self) -> int:
        return self.x.shape[1]

    def chunks(self, size: int, device: Any, horizon: int) -> Iterator[Chunk]:
        """Its chunks of `size` steps. What is within `horizon` of the beginning has no forecast to be filled with."""
        for a in range(0, len(self.x), size):
            b = min(a + size, len(self.x))
            gaps = [int(s) - a for s in self._gaps[(self._gaps >= max(a, horizon)) & (self._gaps < b)]]
            use = None
            if gaps and self.use is not None:
                part = self.use[a:b].copy()
                part[: max(horizon - a, 0)] = False
                use = torch.from_numpy(part).to(device)
            x, goal, mask = (torch.from_numpy(v[a:b]).to(device) for v in (self.x, self.goal, self.mask))
            clock = None if self.clock is None else torch.from_numpy(self.clock[a:b]).to(device)
            yield Chunk(x, use, gaps, goal, mask, clock)


def _cut(series: Sequence[Series], size: int, rng: np.random.Generator) -> list[Piece]:
    """Pieces of at most `size` samples, whose first cut is somewhere else each time."""
    pieces: list[Piece] = []
    for i, s in enumerate(series):
        if not size or len(s) <= size:
            pieces.append((i, 0, len(s)))
            continue
        first = int(rng.integers(size // 2, size + 1))
        bounds = [0, *range(first, len(s), size), len(s)]
        if len(bounds) > 3 and bounds[-1] - bounds[-2] < size // 4:
            del bounds[-2]
        pieces += [(i, a, b) for a, b in pairwise(bounds)]
    return [p for p in pieces if series[p[0]].mask[p[1] : p[2]].any()]


MOST = 64
"""Pieces side by side, where nobody says how many."""

STEPS = 50
"""Steps of an epoch that nobody's choice of `batch` aims at: so few samples still move the weights often enough."""


def side_by_side(series: Sequence[Series], settings: Settings) -> int:
    """How many pieces a batch has."""
    chunks = sum(-(-len(s) // settings.chunk) for s in series)
    return settings.batch or min(MOST, max(1, chunks // STEPS))


def plan(series: Sequence[Series], settings: Settings, rng: np.random.Generator) -> list[list[Piece]]:
    """The batches of one epoch in random order: pieces of about the same length together, so that little is padded."""
    pieces = _cut(series, settings.piece, rng)
    noise = rng.random(len(pieces))
    # Lengths that differ by less than a chunk are alike: so the company of a piece changes from epoch to epoch.
    order = sorted(range(len(pieces)), key=lambda k: ((pieces[k][2] - pieces[k][1]) // settings.chunk, noise[k]))
    size = side_by_side(series, settings)
    groups = [order[k : k + size] for k in range(0, len(order), size)]
    return [[pieces[k] for k in groups[g]] for g in rng.permutation(len(groups))]


def whole_batches(series: Sequence[Series], size: int) -> Iterator[Batch]:
    """Whole series, at most `size` side by side, the longest first."""
    order = sorted(range(len(series)), key=lambda i: -len(series[i]))
    for k in range(0, len(order), size):
        yield Batch(series, [(i, 0, len(series[i])) for i in order[k : k + size]])
