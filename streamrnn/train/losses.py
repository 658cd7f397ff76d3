"""What is minimised: one number for a chunk, in normalised units, over what counts in it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional

from streamrnn.model import ModelSpec

from .network import squareplus
from .scaling import LEAST_DEVIATION
from .settings import Settings

__all__ = ["Loss"]

Tensor = Any


class Loss:
    """sum and count of the losses where `mask` is set, for raw outputs (T, B, n_out) and goals (T, B, ...).

    `weights` float32 (classes,), what an error in each class counts, or None. `unit` float32 (n,) is what the error of
    each channel's forecast is measured in (not that of the Gaussian, which finds its own): with that of the last value,
    channels that move much and little count alike, and a loss of 1 is no better than the last value. `rounding` float32
    (n,) is how far a reading may be from what it stands for (`scaling.roundings_of`): a Gaussian's loss is what is to
    be expected over that, or readings in whole numbers that stand still would reward a deviation of 0 without bound.
    """

    def __init__(
        self,
        spec: ModelSpec,
        settings: Settings,
        weights: Tensor | None = None,
        unit: Tensor | None = None,
        rounding: Tensor | None = None,
    ) -> None:
        self._spec, self._kind, self._delta = spec, settings.loss, settings.huber
        self._quantiles = (spec.quantiles[0], spec.quantiles[1])
        self._weights = weights
        self._unit = 1.0 if unit is None else unit
        self._rounding = LEAST_DEVIATION**2 if rounding is None else rounding**2

    def __call__(self, raw: Tensor, goal: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count), both scalars; the mean is the loss."""
        each = self._each(raw, goal)
        count = mask.sum()
        if self._weights is not None:
            w = self._weights[goal] * mask
            return (each * w).sum(), w.sum()
        return torch.where(mask, each, torch.zeros_like(each)).sum(), count

    def _each(self, raw: Tensor, goal: Tensor) -> Tensor:
        n = self._spec.n_in
        if self._kind == "cross_entropy":
            return functional.cross_entropy(raw.flatten(0, -2), goal.flatten(), reduction="none").view_as(goal)
        if self._kind == "gaussian":
            variance = squareplus(raw[..., n:]) ** 2
            square = (raw[..., :n] - goal) ** 2 + self._rounding
            return 0.5 * (square / variance + torch.log(variance) + math.log(2 * math.pi))
        if self._kind == "quantile":
            m = raw[..., :n]
            low = m - squareplus(raw[..., n : 2 * n])
            high = m + squareplus(raw[..., 2 * n :])
            q = self._quantiles
            total = _pinball(m, goal, 0.5) + _pinball(low, goal, q[0]) + _pinball(high, goal, q[1])
            return total / self._unit
        if self._kind == "huber":
            return functional.huber_loss(raw / self._unit, goal / self._unit, reduction="none", delta=self._delta)
        return ((raw - goal) / self._unit) ** 2


def _pinball(forecast: Tensor, goal: Tensor, q: float) -> Tensor:
    """The quantile loss (R. Koenker and G. Bassett 1978): its minimum over forecasts is the q-quantile of the goal."""
    error = goal - forecast
    return torch.maximum(q * error, (q - 1) * error)
