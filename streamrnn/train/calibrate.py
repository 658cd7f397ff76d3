"""The detector's threshold for a stated rate of false alarms, found on validation data and verified on test data.

Every flag on these recordings counts as false: they must show what is ordinary. The flags are the engine's own, of the
exported model, so that episodes, warm-up and the margins that shrink with age are all in the count.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from streamrnn.engine import Engine
from streamrnn.errors import ConfigError
from streamrnn.kernels.score import RANGES, SETTINGS
from streamrnn.model import Model

from .recording import Recording

__all__ = ["Rate", "alarms", "allowance", "amount", "calibrate", "parse_rate", "usual_surprise"]

ROUNDS = 11
"""Halvings of the octave in which the threshold lies: to within 0.04 % of it."""

LOWEST = 1e-3
"""Least threshold that is tried: any news at all."""


@dataclass(frozen=True)
class Rate:
    """So many alarms in each `per`: "h", an hour of a stream, or "k", 1,000 samples."""

    value: float
    per: str

    def __str__(self) -> str:
        return f"{self.value:g} {_PER[self.per]}"


_PER = {"h": "an hour of a stream", "k": "in 1,000 samples"}
_UNITS = {"h": "stream-hours", "k": "thousand samples"}
_WRITTEN = {"h": "/h", "k": "/1000"}


def parse_rate(text: str) -> Rate:
    """What false_alarms (--false-alarms) says; ConfigError for anything else.

    >>> parse_rate("0.5/h"), parse_rate("2/1000")
    (Rate(value=0.5, per='h'), Rate(value=2.0, per='k'))
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?(?:e[+-]?\d+)?)\s*/\s*(h|hour|1000|1k|k)\s*", text.lower())
    if match is None or not 0 < float(match[1]) < math.inf:
        raise ConfigError(
            f"false_alarms is {text!r:.40}; write 0.5/h (one in two hours of a stream) or 2/1000 (two in 1,000 samples)"
        )
    return Rate(float(match[1]), "h" if match[2].startswith("h") else "k")


def alarms(model: Model, recordings: Sequence[Recording]) -> int:
    """How many flags the engine raises where the recordings count."""
    return _flags(model, recordings)[0]


def _flags(model: Model, recordings: Sequence[Recording]) -> tuple[int, int]:
    """(flags that the engine raises where the recordings count, samples there at which one stands)."""
    engine = Engine(model, capacity=max(len(recordings), 1), ring=0)
    raised = standing = 0
    for i, r in enumerate(recordings):
        handles = np.repeat(engine.handles([f"r{i}"]), len(r))
        out = engine.step_many(handles, r.x, r.t)
        raised += int((out.edge[r.start : r.stop] > 0).sum())
        standing += int(out.flag[r.start : r.stop].sum())
    return raised, standing


def _exposure(recordings: Sequence[Recording], per: str) -> float:
    """Hours of streams, or thousands of samples, that count."""
    if per == "k":
        return sum(r.counted for r in recordings) / 1000
    hours = 0.0
    for r in recordings:
        if r.t is None:
            raise ConfigError(
                f"stream {r.stream!r} has no times, so no hours are known: say 2/1000 (samples) with --false-alarms, "
                "or name the column of times with --time"
            )
        if r.counted > 1:
            own = r.t[r.start : r.stop]
            hours += float(own[-1] - own[0]) * (1 + 1 / (len(own) - 1)) / 3.6e12
    return hours


def _facts(model: Model, recordings: Sequence[Recording], rate: Rate) -> dict[str, Any]:
    """What came of a threshold on some recordings: alarms, the 95 % interval of their rate, and the share of samples at
    which a flag stands.
    """
    exposure = _exposure(recordings, rate.per)
    n, standing = _flags(model, recordings)
    if exposure <= 0:
        return {}
    low, high = _poisson(n)
    return {
        "unit": _UNITS[rate.per],
        "alarms": n,
        "exposure": float(f"{exposure:.6g}"),
        "rate": float(f"{n / exposure:.6g}"),
        "rate_low": float(f"{low / exposure:.6g}"),
        "rate_high": float(f"{high / exposure:.6g}"),
        "flagged": float(f"{standing / sum(r.counted for r in recordings):.4g}"),
    }


def _poisson(n: int) -> tuple[float, float]:
    """The exact 95 % interval of the expectation of a Poisson count (F. Garwood 1936), by bisection."""

    def below(mean: float, k: int) -> float:
        """Probability of at most k."""
        if k < 0:
            return 0.0
        logs = np.arange(k + 1) * math.log(mean) - mean - np.array([math.lgamma(i + 1) for i in range(k + 1)])
        return float(np.exp(logs).sum())

    def solve(target: float, k: int) -> float:
        low, high = 1e-9, 10.0 * (n + 5)
        for _ in range(80):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if below(middle, k) > target else (low, middle)
        return low

    return (solve(0.975, n - 1) if n else 0.0), solve(0.025, n)


def _with(model: Model, **detector: float) -> Model:
    return Model(replace(model.spec, detector={**model.spec.detector, **detector}), model.arrays)


def allowance(rate: Rate, validation: Sequence[Recording]) -> float:
    """How many alarms validation data may raise; ConfigError where that is less than one, so that none could be."""
    exposure = _exposure(validation, rate.per)
    allowed = rate.value * exposure
    if allowed < 1:
        unit, written = _UNITS[rate.per], _WRITTEN[rate.per]
        least = f"--false-alarms {_least(exposure):.12g}{written} or more, or " if exposure > 0 else ""
        raise ConfigError(
            f"validation data is {amount(exposure, unit)}, in which {rate} is {allowed:.2g} of an alarm, and at least "
            f"one is needed: give {least}recordings with {amount(1 / rate.value, unit)} for validation (--parts)"
        )
    return allowed


def amount(size: float, unit: str) -> str:
    """Hours of streams or thousands of samples, in three digits.

    >>> amount(1.0, "stream-hours"), amount(1.0, "thousand samples"), amount(0.1234, "stream-hours")
    ('1 stream-hour', '1 thousand samples', '0.123 stream-hours')
    """
    return f"{size:.3g} {unit}" if (f"{size:.3g}", unit) != ("1", _UNITS["h"]) else "1 stream-hour"


def _least(exposure: float) -> float:
    """The least rate, in two digits, that allows an alarm.

    >>> _least(0.72), _least(0.0036), _least(0.5)
    (1.4, 280.0, 2.0)
    """
    digit = 10.0 ** (math.floor(math.log10(1 / exposure)) - 1)
    return float(f"{math.ceil(1 / exposure / digit * (1 - 1e-9)) * digit:.2g}")


def calibrate(
    model: Model, rate: Rate, validation: Sequence[Recording], test: Sequence[Recording]
) -> tuple[Model, dict[str, Any]]:
    """(the model with the least threshold down to which alarms on validation data are no more than stated, and facts).

    It is looked for from the highest down, an octave at a time, and then by halving: further down flags never clear,
    and a flag that is always up is one alarm. Where no threshold raises as many as stated, the highest that raises the
    most is taken, and `reached` is False. Raises as `allowance` does.
    """
    allowed = allowance(rate, validation)

    def count(log: float) -> int:
        return alarms(_with(model, threshold=math.exp(log)), validation)

    low, high = math.log(LOWEST), math.log(RANGES["threshold"][1])
    most, at, reached = 0, min(max(0.0, low), high), False
    while high > low:
        below = max(high - math.log(2.0), low)
        n = count(below)
        if n > allowed:
            reached = True
            break
        if n > most:
            most, at = n, below
        high = below
    if reached:
        for _ in range(ROUNDS):
            middle = 0.5 * (below + high)
            below, high = (below, middle) if count(middle) <= allowed else (middle, high)
    else:
        high = at
    threshold = float(f"{math.exp(high) * (1 + 1e-4):.4g}")
    chosen = _with(model, threshold=threshold)
    return chosen, {
        "stated": rate.value,
        "per": _PER[rate.per],
        "threshold": threshold,
        "reached": reached,
        "validation": _facts(chosen, validation, rate),
        "test": _facts(chosen, test, rate) if test else {},
        "test_at_default": _facts(_with(model, threshold=SETTINGS["threshold"]), test, rate) if test else {},
    }


def usual_surprise(model: Model, validation: Sequence[Recording]) -> dict[str, float]:
    """The detector's surprise_mean and surprise_scale of a model of tokens: bits a token on validation data, and how
    far their running average strays from that, as the detector takes it.
    """
    rate = model.spec.detector.get("surprise_rate", SETTINGS["surprise_rate"])
    h = model.spec.horizon
    every: list[np.ndarray] = []
    for r in validation:
        if len(r) <= h:
            continue
        y = Engine(model, capacity=1, ring=0).step_many(["s"] * len(r), r.x).y
        token = r.x[h:, 0].astype(np.int64)
        every.append(-np.log2(np.maximum(y[:-h][np.arange(len(token)), token].astype(np.float64), 2.0**-126)))
    mean = float(np.concatenate(every).mean())
    averages: list[float] = []
    for bits in every:
        d = 0.0
        for b in bits.tolist():
            d += rate * ((b - mean) - d)
            averages.append(d)
    scale = max(float(np.std(averages)), 1e-3)
    return {"surprise_mean": float(f"{mean:.6g}"), "surprise_scale": float(f"{scale:.6g}")}
