"""A recording as a network learns from it: what goes in, what should come out, and where that counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamrnn.model import ModelSpec

from .recording import Array, Recording, held
from .scaling import Scaling

__all__ = ["Series", "series_of"]


@dataclass(frozen=True, eq=False)
class Series:
    """`x` float32 (T, n), a missing channel held at its last value, at first at the mean; `use` bool (T, n), where the
    engine puts the forecast in its place, or None where nowhere; `goal` (T, k) float32 in normalised units, or int64
    (T,); `mask` bool of the goal's shape: where it counts.
    """

    x: Array
    use: npt.NDArray[np.bool_] | None
    goal: npt.NDArray[np.float32] | npt.NDArray[np.int64]
    mask: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.x)


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
    return Series(filled, use, goal, mask)
