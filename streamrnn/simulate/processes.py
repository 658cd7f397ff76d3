"""Random processes that signals are built from. Time steps are `dt` seconds; arrays are float64 `(n,)`."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["Signal", "average", "lag", "ornstein_uhlenbeck", "ramp"]

Signal = npt.NDArray[np.float64]


def ornstein_uhlenbeck(rng: np.random.Generator, n: int, dt: float, tau: float, sd: float) -> Signal:
    """A stationary Ornstein-Uhlenbeck process around 0: correlation time `tau`, standard deviation `sd`.

    Exact at any step: x' = a x + sd sqrt(1 - a^2) N(0, 1), a = exp(-dt / tau) (Gillespie 1996,
    doi:10.1103/PhysRevE.54.2084).
    """
    a = math.exp(-dt / tau)
    kick = sd * math.sqrt(1.0 - a * a)
    noise = rng.standard_normal(n + 1).tolist()
    x = sd * noise[n]
    out = []
    for i in range(n):
        out.append(x)
        x = a * x + kick * noise[i]
    return np.array(out)


def lag(x: Signal, dt: float, tau: float) -> Signal:
    """`x` through a first-order lag of `tau` seconds that starts settled at `x[0]`."""
    k = 1.0 - math.exp(-dt / tau)
    out = []
    y = float(x[0]) if len(x) else 0.0
    for value in x.tolist():
        y += k * (value - y)
        out.append(y)
    return np.array(out)


def average(x: Signal, steps: int) -> Signal:
    """The mean of the last `steps` values; near the beginning, of those there are."""
    total = np.concatenate(([0.0], np.cumsum(x)))
    last = np.arange(1, len(x) + 1)
    first = np.maximum(0, last - steps)
    return np.asarray((total[last] - total[first]) / (last - first))


def ramp(seconds: Signal, start: float, end: float, rise: float, fall: float) -> Signal:
    """0 before `start`, then to 1 with time constant `rise`; from `end` on back to 0 with `fall`."""
    up = 1.0 - np.exp(-np.clip(seconds - start, 0.0, end - start) / rise)
    return np.asarray(up * np.exp(-np.clip(seconds - end, 0.0, None) / fall))
