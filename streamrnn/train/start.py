"""The weights that training starts from."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from streamrnn.model import LayerSpec
from streamrnn.model.layers import GATES

from .network import Network
from .settings import Settings

__all__ = ["initialise"]

COPY = 0.1
"""Input weight of a unit that copies a channel: small, so that tanh is a line there."""

OPEN = 5.0
"""Bias that holds a gate open, or shut where negative: sigmoid(5) = 0.993."""


def initialise(network: Network, settings: Settings, generator: Any) -> None:
    """Give every parameter its first value.

    Recurrent matrices are orthogonal, a block for each gate (Saxe et al. 2014, arXiv:1312.6120), other matrices uniform
    as Glorot and Bengio 2010 have it; forget gates' biases are 1 (Jozefowicz et al. 2015), or as for `chrono`; layer
    norms and embeddings are PyTorch's. With `init` "uniform" all recurrent layers are PyTorch's too.
    """
    depth = 0
    last = None
    for layer, module in zip(network.spec.layers, network.chain, strict=True):
        if isinstance(layer, LayerSpec):
            _recurrent(layer, module, settings, generator)
            last, depth = (layer, module), depth + 1
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=1.0 / math.sqrt(layer.width), generator=generator)
    nn.init.xavier_uniform_(network.readout.weight, generator=generator)
    nn.init.zeros_(network.readout.bias)
    if settings.persist and network.spec.head == "forecast" and not network.spec.tokens and last is not None:
        _persist(network)


def _recurrent(layer: LayerSpec, module: Any, settings: Settings, generator: Any) -> None:
    H, gates = layer.hidden, GATES[layer.cell]
    if settings.init == "uniform":
        bound = 1.0 / math.sqrt(H)
        for p in module.parameters():
            nn.init.uniform_(p, -bound, bound, generator=generator)
    else:
        for k in range(gates):
            rows = slice(k * H, (k + 1) * H)
            nn.init.orthogonal_(module.weight_hh_l0.data[rows], generator=generator)
            nn.init.xavier_uniform_(module.weight_ih_l0.data[rows], generator=generator)
        nn.init.zeros_(module.bias_ih_l0)
        nn.init.zeros_(module.bias_hh_l0)
    with torch.no_grad():
        _memory(layer, module.bias_ih_l0, settings.chrono, generator)


def _memory(layer: LayerSpec, bias: Any, longest: int, generator: Any) -> None:
    """How long a gated layer remembers at first.

    Chrono initialisation (C. Tallec and Y. Ollivier 2018, arXiv:1804.11188): time constants uniform in 1..T, so the
    forget gate's bias is log U(1, T - 1), the input gate's its negative. A GRU forgets by 1 - z, so that the bias of z
    is the same logarithm.
    """
    H = layer.hidden
    if longest:
        span = torch.empty(H).uniform_(1.0, max(longest - 1.0, 1.0 + 1e-6), generator=generator).log().to(bias.device)
        if layer.cell == "lstm":
            bias[H : 2 * H] = span
            bias[:H] = -span
        elif layer.cell == "gru":
            bias[H : 2 * H] = span
    elif layer.cell == "lstm":
        bias[H : 2 * H] = 1.0


def _persist(network: Network) -> None:
    """Let the first units of every layer hand the channels on, so that the first forecast is the last value.

    Where the layers cannot (fewer units than channels, layer norm between) the readout's mean starts as it was.
    """
    n = network.spec.n_in
    if any(not isinstance(layer, LayerSpec) or layer.hidden < n for layer in network.spec.layers):
        return
    with torch.no_grad():
        weight = COPY
        for layer, module in zip(network.spec.layers, network.chain, strict=True):
            _copy(layer, module, n, weight)
            weight = 1.0
        network.readout.weight[:n] = 0.0
        for k in range(n):
            network.readout.weight[k, k] = 1.0 / COPY


def _copy(layer: LayerSpec, module: Any, n: int, weight: float) -> None:
    """Unit k of the layer gives tanh(weight * input k), whatever came before."""
    H, cell = layer.hidden, layer.cell
    # Row block of the candidate, and (block, bias) of the gates.
    candidate, gates = {
        "lstm": (2, ((0, OPEN), (1, -OPEN), (3, OPEN))),
        "gru": (2, ((1, -OPEN),)),
    }.get(cell, (0, ()))
    for k in range(n):
        for block, bias in ((candidate, 0.0), *gates):
            row = block * H + k
            module.weight_ih_l0[row] = 0.0
            module.weight_hh_l0[row] = 0.0
            module.bias_ih_l0[row] = bias
            module.bias_hh_l0[row] = 0.0
        module.weight_ih_l0[candidate * H + k, k] = weight
