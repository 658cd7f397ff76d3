"""Networks that several tests share: those that the benchmarks time, and every cell in odd sizes and depths."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from streamrnn import Model
from streamrnn.model import ActivationSpec, DenseSpec, EmbeddingSpec, LayerSpec, ModelSpec, NormSpec
from streamrnn.model.weights import random_weights

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from cases import CELLS, Case, samples
from cases import PARITY as CASES

__all__ = ["CASES", "CELLS", "FORMS", "case_id", "forecaster", "form", "network", "samples", "speaker"]


def case_id(case: Case) -> str:
    return case.name


def network(case: Case, seed: int = 0):
    return case.model(seed)


# Every kind of layer and every form of cell, in odd sizes: (layers, whether a linear readout follows).
FORMS = {
    "lstm_proj": ((LayerSpec("lstm", 3, 19, proj=5), LayerSpec("lstm", 5, 33, proj=33)), True),
    "lstm_clip": ((LayerSpec("lstm", 3, 37, clip=0.4),), True),
    "lstm_acts": ((LayerSpec("lstm", 3, 17, activations=("sigmoid", "relu", "linear")),), True),
    "lstm_proj_clip": ((LayerSpec("lstm", 3, 100, proj=40, clip=0.5),), False),
    "gru_before": ((LayerSpec("gru_reset_before", 3, 33), LayerSpec("gru_reset_before", 33, 1)), True),
    "gru_before_wide": ((LayerSpec("gru_reset_before", 3, 100, clip=0.7),), True),
    "gru_clip": ((LayerSpec("gru", 3, 31, clip=0.3),), True),
    "gru_acts": ((LayerSpec("gru", 3, 16, activations=("sigmoid", "relu")),), True),
    "rnn_sigmoid": ((LayerSpec("rnn_sigmoid", 3, 21),), True),
    "rnn_linear_clip": ((LayerSpec("rnn_linear", 3, 5, clip=0.6), LayerSpec("rnn_tanh", 5, 40, clip=0.2)), True),
    "norms": (
        (NormSpec(3), LayerSpec("lstm", 3, 50), NormSpec(50, 1e-3), LayerSpec("gru", 50, 9), NormSpec(9)),
        True,
    ),
    "dense": (
        (
            DenseSpec(3, 35, "relu"),
            DenseSpec(35, 8, "linear"),
            LayerSpec("lstm", 8, 20),
            ActivationSpec(20, "relu"),
            DenseSpec(20, 33, "tanh"),
            NormSpec(33),
            DenseSpec(33, 4, "sigmoid"),
        ),
        False,
    ),
    "softmax": ((LayerSpec("gru", 3, 20), DenseSpec(20, 18, "softmax")), False),
}


def form(name, seed=0):
    """A random network of FORMS."""
    layers, readout = FORMS[name]
    spec = ModelSpec(3, 2 if readout else layers[-1].width, layers, readout="linear" if readout else "none")
    return Model(spec, random_weights(spec, seed))


def forecaster(spread="none", n=3, horizon=1, normaliser="fixed", seed=0, scale=2.0, **more):
    """A random forecaster of n channels, whose units are far from the network's own."""
    wide = {"none": 1, "gaussian": 2, "quantile": 3}[spread]
    layers = (LayerSpec("gru", n, 21),)
    spec = ModelSpec(n, wide * n, layers, "forecast", normaliser=normaliser, horizon=horizon, spread=spread, **more)
    arrays = random_weights(spec, seed)
    arrays["readout.weight"] *= 3
    if normaliser == "fixed":
        arrays |= {"normaliser.mean": 0.25 * np.arange(n), "normaliser.scale": scale + np.arange(n)}
    return Model(spec, {name: np.asarray(a, np.float32) for name, a in arrays.items()})


def speaker(n_tokens=37, head="forecast", n_out=None, horizon=1, readout="linear", seed=0, **detector):
    """A random network of tokens, sure enough of itself to be surprised."""
    layers = [EmbeddingSpec(n_tokens, 9), LayerSpec("lstm", 9, 20)]
    if readout == "none":
        layers.append(DenseSpec(20, n_out or n_tokens, "softmax"))
    spec = ModelSpec(1, n_out or n_tokens, tuple(layers), head, readout=readout, horizon=horizon, detector=detector)
    arrays = random_weights(spec, seed)
    for name in ("weight_l0", "readout.weight", "weight_l2"):
        if name in arrays:
            arrays[name] *= np.float32(5)
    return Model(spec, arrays)
