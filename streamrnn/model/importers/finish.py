"""From a source to a model: the comparison with the original, and the metadata that the source lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from streamrnn.errors import ModelError, SourceError

from ..model import Model
from ..spec import QUANTILES
from ..weights import MAX_WEIGHT
from .parity import compare
from .parts import Source, assemble

__all__ = ["TOLERANCE", "Metadata", "finish"]

TOLERANCE = 1e-4
"""Above this difference from the original an import fails."""


@dataclass(frozen=True)
class Metadata:
    """What a network does not say of itself; `mean` and `scale` (n_in,) normalise inputs: u = (x - mean) / scale.

    `horizon`, `spread` and `quantiles` are a forecast's, as in ModelSpec.
    """

    features: Sequence[str] = ()
    units: Sequence[str] = ()
    head: str | None = None
    mean: Sequence[float] | None = None
    scale: Sequence[float] | None = None
    detector: Mapping[str, float] = field(default_factory=dict)
    horizon: int = 1
    spread: str = "none"
    quantiles: Sequence[float] = QUANTILES


def finish(source: Source, metadata: Metadata, *, check: bool = True, tolerance: float = TOLERANCE) -> Model:
    """The model, compared with the original where that can run; SourceError where they differ by more than `tolerance`.

    The provenance says what was compared and the largest difference, or why nothing was.
    """
    try:
        raw = Model(*assemble(source))
    except SourceError:
        raise
    except ModelError as error:
        raise SourceError(str(error)) from None
    provenance: dict[str, Any] = {**source.provenance}
    notes = list(source.notes)
    if source.window is not None and source.window > 1:
        notes.append(
            f"the original sees {source.window} steps at a time, from a state of zero; here the state runs on, so that "
            f"outputs agree on the first {source.window} steps of a stream"
        )
    if notes:
        provenance["notes"] = notes
    if not check:
        provenance["parity"] = "not compared: switched off"
    elif source.reference is None:
        provenance["parity"] = f"not compared: {source.why_not}"
    else:
        parity = compare(raw, source.reference)
        provenance["parity"] = parity.as_dict()
        if not np.isfinite(parity.difference):
            raise SourceError(
                f"the original ({parity.against}) gives infinite or undefined numbers within {parity.steps} steps of "
                "inputs of ordinary size: its recurrence grows without bound. Train it with bounded activations, or "
                "leave the comparison out with check=False (--no-check)"
            )
        if not parity.difference <= tolerance:
            raise SourceError(
                f"the imported model differs from the original ({parity.against}) by {parity.difference:.3g} over "
                f"{parity.steps} steps; the limit is {tolerance:g}. Something of the original was not understood, such "
                "as a function between its layers (order, --order, can name one in PyTorch): report it, or accept the "
                "difference with tolerance (--tolerance)"
            )
    return _described(raw, metadata, provenance)


def _described(raw: Model, metadata: Metadata, provenance: Mapping[str, Any]) -> Model:
    """The model with its metadata."""
    spec, arrays = raw.spec, dict(raw.arrays)
    head = metadata.head or spec.head
    if spec.head == "classify" and head not in ("classify", "forecast" if spec.tokens else "classify"):
        raise SourceError(f"the source ends in softmax, so its head is 'classify'; {head!r} was asked for")
    normaliser = spec.normaliser
    if (metadata.mean is None) != (metadata.scale is None):
        raise SourceError("a normaliser needs mean and scale; only one of them was given")
    if metadata.mean is not None and metadata.scale is not None:
        if normaliser == "fixed":
            raise SourceError("the source normalises its inputs itself; leave mean and scale out")
        normaliser = "fixed"
        for name, values in (("mean", metadata.mean), ("scale", metadata.scale)):
            if len(values) != spec.n_in:
                raise SourceError(f"{name} has {len(values)} values; the model has {spec.n_in} channels")
            for k, value in enumerate(values):
                if not abs(value) <= MAX_WEIGHT or (name == "scale" and not value > 0):
                    span = f"{'above 0' if name == 'scale' else 'finite'} and at most {MAX_WEIGHT:g} in size"
                    raise SourceError(f"{name} (--{name}) is {value:g} for channel {k}; it must be {span}")
            arrays[f"normaliser.{name}"] = np.array(values, np.float32)
    try:
        described = replace(
            spec,
            head=head,
            normaliser=normaliser,
            features=tuple(metadata.features),
            units=tuple(metadata.units),
            detector=metadata.detector,
            horizon=metadata.horizon,
            spread=metadata.spread,
            quantiles=tuple(metadata.quantiles),  # type: ignore[arg-type]  # checked there
            provenance=provenance,
        )
        return Model(described, arrays)
    except ModelError as error:
        raise SourceError(str(error)) from None
