"""Means and scales, of training data alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamrnn.errors import ConfigError

from .recording import Array, Recording, held

__all__ = ["LEAST_DEVIATION", "Scaling", "roundings_of", "scaling_of", "steps_of"]

LEAST_DEVIATION = 1e-2
"""Least deviation that a Gaussian forecast is rewarded for, in standard deviations of its channel."""


@dataclass(frozen=True)
class Scaling:
    """u = (x - mean) / scale; `mean` and `scale` float32 (n,)."""

    mean: Array
    scale: Array

    def apply(self, x: Array) -> Array:
        """As the engine does it, in float32."""
        return (x - self.mean) / self.scale


def _moments(rows: Sequence[npt.NDArray[np.float32]]) -> tuple[npt.NDArray[np.float64], ...]:
    """(how many, mean, variance, least, largest) of each column, NaN left out; two passes."""
    n = sum(np.isfinite(r).sum(0) for r in rows)
    mean = sum(np.nansum(r, 0, dtype=np.float64) for r in rows) / np.maximum(n, 1)
    var = sum(np.nansum((r.astype(np.float64) - mean) ** 2, 0) for r in rows) / np.maximum(n, 1)
    low = np.min([np.min(np.where(np.isnan(r), np.inf, r), 0, initial=np.inf) for r in rows], 0)
    high = np.max([np.max(np.where(np.isnan(r), -np.inf, r), 0, initial=-np.inf) for r in rows], 0)
    return np.asarray(n), np.asarray(mean), np.asarray(var), low, high


def scaling_of(recordings: Sequence[Recording], names: Sequence[str], what: str = "channel") -> Scaling:
    """Mean and standard deviation of each channel, or of each target; ConfigError for one that is constant or empty."""
    rows = [r.x if what == "channel" else r.target for r in recordings]
    n, mean, var, low, high = _moments([r for r in rows if r is not None])
    remedy = "leave it out (--columns)" if what == "channel" else "there is nothing to learn (--target)"
    split = ", or split otherwise (--split, --parts)"
    for k, name in enumerate(names):
        if n[k] == 0:
            raise ConfigError(f"{what} {name!r} has no value in the training data: {remedy}{split}")
        if not high[k] > low[k]:
            raise ConfigError(
                f"{what} {name!r} is {low[k]:g} in all {int(n[k]):,} samples of the training data: it must vary; "
                f"{remedy}"
            )
    return Scaling(mean.astype(np.float32), np.sqrt(var).astype(np.float32))


LEAST_STEP = 0.02
"""Of a channel's deviation: the least spread that a forecast starts with."""


def steps_of(recordings: Sequence[Recording], scaling: Scaling, horizon: int) -> Array:
    """How far the last value is from what comes `horizon` samples later: its root mean square, normalised."""
    total, count = np.zeros(len(scaling.mean)), np.zeros(len(scaling.mean))
    for r in recordings:
        step = (
            (r.x[horizon:] - held(r.x, scaling.mean)[0][: len(r) - horizon]) / scaling.scale
            if len(r) > horizon
            else r.x[:0]
        )
        total += np.nansum(step.astype(np.float64) ** 2, 0)
        count += (~np.isnan(step)).sum(0)
    return np.maximum(np.sqrt(total / np.maximum(count, 1)), LEAST_STEP).astype(np.float32)


def roundings_of(recordings: Sequence[Recording], scaling: Scaling) -> Array:
    """How far a reading may be from the quantity that it stands for: root mean square of each channel, normalised.

    A monitor that shows whole numbers shows 72 for all from 71.5 to 72.5, which is uniform with a variance of 1/12. The
    width of that interval is taken to be the smallest difference between two values of the channel.
    """
    least = np.full(len(scaling.mean), np.inf)
    for k in range(len(least)):
        values = np.unique(np.concatenate([r.x[:, k] for r in recordings]).astype(np.float64))  # NaN is one of them
        steps = np.diff(values[~np.isnan(values)])
        least[k] = steps.min() if len(steps) else 0.0
    found: Array = np.maximum(least / np.sqrt(12.0) / scaling.scale, LEAST_DEVIATION).astype(np.float32)
    return found
