"""A recording as a network learns from it: what goes in, what should come out, and where that counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamrnn.kernels.clock import DAY
from streamrnn.model import ModelSpec

from .recording import Array, Recording, held
from .scaling import Scaling

__all__ = ["Series", "day_phases", "series_of"]


@dataclass(frozen=True, eq=False)
class Series:
    """`x` float32 (T, n), a missing channel held at its last value, at first at the mean; `use` bool (T, n), where the
    engine puts the forecast in its place, or None where nowhere; `goal` (T, k) float32 in normalised units, or int64
    (T,); `mask` bool of the goal's shape: where it counts. `clock` float32 (T, 2) is the time of day, or None where the
    network does not see it.
    """

    x: Array
    use: npt.NDArray[np.bool_] | None
    goal: npt.NDArray[np.float32] | npt.NDArray[np.int64]
    mask: npt.NDArray[np.bool_]
    clock: Array | None = None

    def __len__(self) -> int:
        return len(self.x)

    def beginning(self, n: int) -> Series:
        """Its first n samples."""
        use = None if self.use is None else self.use[:n]
        clock = None if self.clock is None else self.clock[:n]
        return Series(self.x[:n], use, self.goal[:n], self.mask[:n], clock)


def day_phases(t: npt.NDArray[np.int64]) -> Array:
    """float32 (T, 2): sine and cosine of the time of day (UTC) at t (T,), ns since the epoch, as the engine has them
    (kernels.clock, to 1e-7).

    >>> day_phases(20_000 * DAY + np.array([0, DAY // 4])).round(6).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    angle = 2 * np.pi * ((t % DAY) / DAY)
    return np.stack([np.sin(angle), np.cos(angle)], 1).astype(np.float32)


def _counts(recording: Recording) -> npt.NDArray[np.bool_]:
    inside = np.zeros(len(recording), bool)
    inside[recording.start : recording.stop] = True
    return inside


def series_of(
    recordings: Sequence[Recording], spec: ModelSpec, inputs: Scaling | None, targets: Scaling | None
) -> list[Series]:
    """The recordings for a network of this specification."""
    return [_series(r, spec, inputs, targets) for r in recordings]


def _series(recording: Recording, spec: ModelSpec, inputs: Scaling | None, targets: Scaling | None) -> Series:
    x, T = recording.x, len(recording)
    missing = np.isnan(x)
    filled, seen = held(x, np.zeros(spec.n_in, np.float32) if inputs is None else inputs.mean)
    use = None
    counts = _counts(recording)
    h = spec.horizon
    if spec.head == "forecast" and not spec.tokens and missing.any():
        use = missing & seen
        use[:h] = False
    goal: npt.NDArray[np.float32] | npt.NDArray[np.int64]
    if spec.head == "forecast":
        ahead = np.full_like(x, np.nan)
        ahead[: max(T - h, 0)] = x[h:]
        mask = ~np.isnan(ahead) & counts[:, None]
        if spec.tokens:
            mask = mask[:, 0]
            goal = np.where(mask, ahead[:, 0], 0).astype(np.int64)
        else:
            assert inputs is not None
            goal = np.where(mask, inputs.apply(ahead), np.float32(0)).astype(np.float32)
    elif spec.head == "classify":
        label = np.full(T, -1) if recording.target is None else recording.target
        mask = (label >= 0) & counts
        goal = np.where(mask, label, 0).astype(np.int64)
    else:
        assert targets is not None and recording.target is not None
        mask = ~np.isnan(recording.target) & counts[:, None]
        goal = np.where(mask, targets.apply(recording.target), np.float32(0)).astype(np.float32)
    clock = None
    if spec.clock:
        assert recording.t is not None
        clock = day_phases(recording.t)
    return Series(filled, use, goal, mask, clock)
