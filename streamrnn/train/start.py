"""The weights that training starts from."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from streamrnn.errors import ConfigError
from streamrnn.model import LayerSpec
from streamrnn.model.layers import GATES

from .changes import TINY, front_of, start_front
from .network import Network
from .recording import Array
from .settings import Settings

__all__ = ["initialise", "start_recurrent"]

COPY = 0.02
"""Input weight of a unit that copies a channel: small, so that tanh is a line there."""

LIFT = 10.0
"""Deviations by which a channel is lifted for rectified units, which hand on nothing below 0."""

OPEN = 16.0
"""Bias that holds a gate open, or shut where negative: sigmoid(16) is 1 to 1e-7. With 5 an LSTM handed on 99 %."""


def initialise(network: Network, settings: Settings, generator: Any, spread: Array | None = None) -> None:
    """Give every parameter its first value.

    Recurrent matrices are orthogonal, a block for each gate (Saxe et al. 2014, arXiv:1312.6120), other matrices uniform
    as Glorot and Bengio 2010 have it; the biases of an LSTM's forget gate (Jozefowicz et al. 2015), and of a GRU's
    update gate, which keeps h where it is high, are 1, or as for `chrono`. With `init` "uniform" all of a recurrent
    layer's weights are uniform in ±1/sqrt(hidden), as PyTorch has them, and those biases on top. `spread` float32
    (n_in,) is how far the last value is from the forecast's goal, normalised.
    """
    for layer, module in zip(network.spec.layers, network.chain, strict=True):
        if isinstance(layer, LayerSpec):
            start_recurrent(layer, module, settings, generator)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=1.0 / math.sqrt(layer.width), generator=generator)
    nn.init.xavier_uniform_(network.readout.weight, generator=generator)
    nn.init.zeros_(network.readout.bias)
    if spread is not None and network.spec.head == "forecast":
        _units(network, spread)
        if settings.changes:
            start_front(network, settings.changes, spread)
        if settings.persist:
            _persist(network, len(front_of(1, settings.changes)) if settings.changes else 0)


def _units(network: Network, spread: Array) -> None:
    """Let raw outputs be of the size of what is left when the last value was said, and the spread begin there.

    squareplus(a) = s where a = s - 1 / s, and its relative slope there is s / (s^2 + 1): the gain makes it 1.
    """
    n = network.spec.n_in
    s = torch.from_numpy(np.tile(spread, network.spec.n_out // n)).to(network.mean.device)
    with torch.no_grad():
        network.gain[:n] = s[:n]
        network.gain[n:] = (s + 1 / s)[n:]
        network.readout.weight[n:] *= 0.1
        network.readout.bias[n:] = ((s - 1 / s) / network.gain)[n:]


def start_recurrent(layer: LayerSpec, module: Any, settings: Settings, generator: Any) -> None:
    """Give one recurrent layer its first weights."""
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
    elif layer.cell in ("lstm", "gru"):
        bias[H : 2 * H] = 1.0


def _persist(network: Network, front: int) -> None:
    """Let the first units of every layer hand the channels on, for ever, so that the others learn what to add to the
    last value: to learn the copy itself to the last digit takes longer than all the rest. `front` layers do so already.

    Nothing of the kind where the layers cannot: fewer than two units a channel, or a layer norm between.
    """
    n = network.spec.n_in
    able = [layer for layer in network.spec.layers[front:] if isinstance(layer, LayerSpec) and layer.hidden >= 2 * n]
    if len(able) < len(network.spec.layers) - front:
        if front:
            raise ConfigError(f"hidden must be at least {2 * n}, two units a channel, where changes are what is seen")
        return
    copy = TINY if front else COPY
    network.whole, network.front = n, front
    with torch.no_grad():
        weight = 1.0 if front else copy
        for layer, module in zip(able, list(network.chain)[front:], strict=True):
            _copy(network, layer, module, n, weight)
            weight = 1.0
        readout = network.readout.weight
        readout[:n] = 0.0
        if able[0].cell == "rnn_relu":
            first = network.chain[0].bias_ih_l0
            first[:n] = copy * LIFT
            network.readout.bias[:n] = -LIFT / network.gain[:n]
        readout[range(n), range(n)] = 1.0 / (copy * network.gain[:n])
        held = torch.zeros_like(readout, dtype=torch.bool)
        held[: None if front else n, :n] = True  # behind a front, nothing else sees the level
        if front:
            readout[n:, :n] = 0.0
        network.pin(readout, held)


def _copy(network: Network, layer: LayerSpec, module: Any, n: int, weight: float) -> None:
    """Unit k of the layer gives tanh(weight * input k), whatever came before; a linear unit is a line by itself."""
    H = layer.hidden
    # Row block of the candidate, and (block, bias) of the gates.
    candidate, gates = {
        "lstm": (2, ((0, OPEN), (1, -OPEN), (3, OPEN))),
        "gru": (2, ((1, -OPEN),)),
    }.get(layer.cell, (0, ()))
    for name, blocks in (("weight_ih_l0", (candidate,)), ("weight_hh_l0", ()), ("bias_ih_l0", ()), ("bias_hh_l0", ())):
        p = getattr(module, name)
        held = torch.zeros_like(p, dtype=torch.bool)
        for block in (candidate, *(block for block, _ in gates)):
            held[block * H : block * H + n] = True
        p[held] = 0.0
        for block in blocks:
            p[range(block * H, block * H + n), range(n)] = weight
        if name == "bias_ih_l0":
            for block, bias in gates:
                p[block * H : block * H + n] = bias
        network.pin(p, held)
