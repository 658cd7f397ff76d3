"""An imported model, run by the engine, against the original, run by its own library, on the same input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..model import Model
from .parts import Array, Reference

__all__ = ["STEPS", "Parity", "compare", "probe"]

STEPS = 1000
"""Steps of the comparison."""


@dataclass(frozen=True)
class Parity:
    """`difference` is the largest |ours - theirs| / max(1, |theirs|) over `steps` steps; NaN where one is NaN."""

    against: str
    steps: int
    difference: float

    def as_dict(self) -> dict[str, object]:
        """For the provenance; JSON knows no NaN."""
        finite = bool(np.isfinite(self.difference))
        return {
            "against": self.against,
            "steps": self.steps,
            "max_difference": float(f"{self.difference:.3g}") if finite else "not a number",
        }


def probe(n_in: int, steps: int = STEPS, tokens: int = 0) -> Array:
    """Inputs float32 (steps, n_in) of ordinary size that never settle: a random walk that is pulled back to 0.

    Where there are tokens, any of them.
    """
    rng = np.random.default_rng(20)
    if tokens:
        return rng.integers(0, tokens, (steps, 1)).astype(np.float32)
    x = np.zeros((steps, n_in))
    for i in range(1, steps):
        x[i] = 0.9 * x[i - 1] + rng.normal(size=n_in)
    return x.astype(np.float32)


def _difference(ours: Array, theirs: Array) -> float:
    with np.errstate(invalid="ignore"):
        return float(np.max(np.abs(ours - theirs) / np.maximum(1, np.abs(theirs))))


def _prefixes(steps: int) -> list[int]:
    """Lengths from 1 to `steps` in octaves and thirds of them, for a reference that gives only its last output."""
    return sorted({min(steps, round(2 ** (k / 3))) for k in range(3 * steps.bit_length() + 1)})


def compare(model: Model, reference: Reference, steps: int = STEPS) -> Parity:
    """Run both on `steps` steps.

    A reference that takes a number of steps of its own gets as many sequences as needed, each from the beginning. One
    that gives only its last output is run on the beginnings of the sequence, up to the whole of it.
    """
    # The engine is a layer above: this is the one place that looks up, when it is called (pyproject.toml).
    from streamrnn.engine import Engine  # noqa: PLC0415

    engine = Engine(model, capacity=1, ring=0)
    mean, scale = (model.arrays.get(f"normaliser.{name}") for name in ("mean", "scale"))
    x = probe(model.spec.n_in, steps, model.spec.tokens)
    if mean is not None and scale is not None:
        x = (x * scale + mean).astype(np.float32)
    length = reference.length or steps
    worst = 0.0
    for start in range(0, steps, length):
        part = x[start : start + length]
        if len(part) < length:
            part = np.concatenate([part, x[: length - len(part)]])
        reset = np.zeros(len(part), bool)
        reset[0] = True
        ours = engine.step_many(["s"] * len(part), part, reset=reset).y
        theirs = reference(part)
        if len(theirs) == len(part):
            found = [_difference(ours, theirs)]
        elif reference.length is not None:
            found = [_difference(ours[-1:], theirs)]
        else:
            found = [_difference(ours[n - 1 : n], reference(part[:n])) for n in _prefixes(steps)]
        worst = float(np.max([worst, *found]))  # NaN wins
    return Parity(reference.against, steps, worst)
