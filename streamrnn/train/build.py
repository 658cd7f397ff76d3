"""From settings to a model's specification, and from a trained network to a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from streamrnn.model import EmbeddingSpec, LayerSpec, Model, ModelSpec, NormSpec
from streamrnn.model.layers import AnyLayer
from streamrnn.model.spec import QUANTILES, SPREADS

from .changes import front_of
from .recording import Array
from .scaling import Scaling
from .settings import Settings

__all__ = ["model_of", "spec_of"]

_CELLS = {"elman": "rnn_tanh"}


def spec_of(settings: Settings, n_in: int, n_targets: int) -> ModelSpec:
    """The specification of the network that the settings ask for; `n_targets` classes, or numbers of a regression."""
    layers: list[AnyLayer] = []
    width = n_in + 2 * settings.clock
    if settings.tokens:
        layers.append(EmbeddingSpec(settings.tokens, settings.embedding))
        width = settings.embedding
    if settings.changes:
        layers += front_of(n_in, settings.changes)
        width = layers[-1].width
    for hidden in settings.widths:
        layers.append(LayerSpec(_CELLS.get(settings.cell, settings.cell), width, hidden))
        width = hidden
        if settings.layer_norm:
            layers.append(NormSpec(hidden))
    forecast = settings.head == "forecast"
    n_out = n_targets
    if forecast:
        n_out = settings.tokens or SPREADS[settings.spread] * n_in
    return ModelSpec(
        n_in=n_in,
        n_out=n_out,
        layers=tuple(layers),
        head=settings.head,
        features=settings.features,
        units=settings.units,
        normaliser="none" if settings.tokens else "fixed",
        clock=settings.clock,
        horizon=settings.horizon,
        spread=settings.spread,
        quantiles=settings.quantiles if settings.spread == "quantile" else QUANTILES,
        detector=settings.detector,
    )


def model_of(
    spec: ModelSpec,
    arrays: Mapping[str, Array],
    inputs: Scaling | None,
    targets: Scaling | None,
    provenance: Mapping[str, Any],
    detector: Mapping[str, float] | None = None,
) -> Model:
    """The model of a network's arrays. A regression's scale goes into the readout: y is in the target's own units."""
    out = dict(arrays)
    if targets is not None:
        scale = targets.scale.astype(np.float64)
        out["readout.weight"] = (arrays["readout.weight"] * scale[:, None]).astype(np.float32)
        out["readout.bias"] = (arrays["readout.bias"] * scale + targets.mean).astype(np.float32)
    if inputs is not None:
        out["normaliser.mean"], out["normaliser.scale"] = inputs.mean, inputs.scale
    described = replace(spec, provenance=provenance, detector={**spec.detector, **(detector or {})})
    return Model(described, out)
