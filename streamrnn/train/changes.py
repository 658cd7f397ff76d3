"""A front of two fixed layers that shows a network how its channels change, whatever their level.

A patient's heart rate is 64 or 124, and what a forecast must know is how it moves: two steps a minute or two a second.
A recurrent layer that is given levels has to learn differences of a hundredth of their range, and knows each stream of
the training data by its level. So the first layer keeps running averages of each channel, the second gives its
distances from them, in units of what the last value usually errs by, through tanh. Both are ordinary layers of the
model file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from streamrnn.model import DenseSpec, LayerSpec
from streamrnn.model.layers import AnyLayer

from .network import Network
from .recording import Array

__all__ = ["TINY", "front_of", "start_front"]

TINY = 1e-4
"""What stands for one standard deviation of a channel on its way through tanh, which is a line there to 1e-7."""

REACH = 3.0
"""Usual errors of the last value at which tanh begins to bend."""


def front_of(n: int, spans: Sequence[int]) -> list[AnyLayer]:
    """The two layers for n channels: each hands on the channels, and then n numbers a span."""
    width = n * (1 + len(spans))
    return [LayerSpec("rnn_tanh", n, width), DenseSpec(width, width, "tanh")]


def start_front(network: Network, spans: Sequence[int], step: Array) -> None:
    """Give the front its weights, for good; `step` float32 (n,) is what the last value usually errs by, normalised.

    A running average over a span of s is e += (x - e) / s. The distance is that from the average before the sample.
    """
    n = network.spec.n_in
    averages: Any = network.chain[0]
    distances: Any = network.chain[1]
    with torch.no_grad():
        for p in (*averages.parameters(), *distances.parameters()):
            p.zero_()
        averages.weight_ih_l0[range(n), range(n)] = TINY
        distances.weight[range(n), range(n)] = 1.0
        for i, span in enumerate(spans, 1):
            for k in range(n):
                unit = i * n + k
                averages.weight_ih_l0[unit, k] = TINY / span
                averages.weight_hh_l0[unit, unit] = 1.0 - 1.0 / span
                weight = 1.0 / (TINY * REACH * float(step[k]) * (1.0 - 1.0 / span))
                distances.weight[unit, k] = weight
                distances.weight[unit, unit] = -weight
    for p in (*averages.parameters(), *distances.parameters()):
        network.pin(p, torch.ones_like(p, dtype=torch.bool))
