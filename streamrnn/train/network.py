"""The twin in PyTorch of what the engine computes for a model: the same equations, from a sample to y.

Where channels are missing, the engine puts the forecast that was made for that sample in their place, so the input of a
step depends on the output of an earlier one: such a chunk is run in spans, each up to the next sample whose filling
depends on the span itself. All other chunks run at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from streamrnn.model import DenseSpec, EmbeddingSpec, LayerSpec, ModelSpec, NormSpec

from .recording import Array
from .scaling import Scaling

__all__ = ["Network", "State", "squareplus"]

Tensor = Any


def squareplus(a: Tensor) -> Tensor:
    """(a + sqrt(a^2 + 4)) / 2, positive and smooth (J. T. Barron 2021, arXiv:2112.11687), without cancellation."""
    root = torch.sqrt(a * a + 4)
    return torch.where(a < 0, 2 / (root - a), (a + root) / 2)


@dataclass
class State:
    """What is carried from chunk to chunk: each layer's state, and the last `horizon` forecasts (h, B, n)."""

    layers: list[Tensor]
    kept: Tensor | None = None

    def detach(self) -> State:
        """The same numbers, through which no gradient flows."""
        layers = [
            tuple(s.detach() for s in x) if isinstance(x, tuple) else x if x is None else x.detach()
            for x in self.layers
        ]
        return State(layers, None if self.kept is None else self.kept.detach())


class Network(nn.Module):
    """A chain of layers and a linear readout, with the names and shapes of a model's arrays.

    `inputs` is the fixed normaliser, or None for tokens; `targets` what a regression's raw outputs are scaled back by,
    which the exported readout does itself. Sequences are (T, B, ...): time first.
    """

    def __init__(
        self, spec: ModelSpec, inputs: Scaling | None, targets: Scaling | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.spec = spec
        self.dropout = dropout
        self.chain = nn.ModuleList([_module(layer) for layer in spec.layers])
        self.readout = nn.Linear(spec.layers[-1].width, spec.n_out)
        n = spec.n_in
        self.register_buffer("mean", torch.zeros(n) if inputs is None else torch.from_numpy(inputs.mean.copy()))
        self.register_buffer("scale", torch.ones(n) if inputs is None else torch.from_numpy(inputs.scale.copy()))
        # A spread's raw output must move far before a small spread moves at all; in training it is scaled up.
        self.register_buffer("gain", torch.ones(spec.n_out))
        self.targets = targets
        self._names = _names(self, spec)
        self._pinned: list[tuple[Tensor, Tensor]] = []
        # Dropout spares the units that hand the last value on, and layers in front that learn nothing.
        self.whole = self.front = 0

    def begin(self, batch: int) -> State:
        """The state of streams that have seen nothing."""
        kept = None
        if self.spec.head == "forecast" and not self.spec.tokens:
            kept = self.mean.new_zeros((self.spec.horizon, batch, self.spec.n_in))
        return State([None] * len(self.chain), kept)

    def pin(self, parameter: Tensor, held: Tensor) -> None:
        """Let no gradient reach the entries of a parameter where `held`, bool of its shape, is set."""
        self._pinned.append((parameter, held))
        parameter.register_hook(lambda gradient: torch.where(held.to(gradient.device), 0.0, gradient))

    def pinned(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """(parameter, where it is held, its values there)."""
        return [(p, held.to(p.device), p.detach()[held.to(p.device)].clone()) for p, held in self._pinned]

    def _raw(self, features: Tensor) -> Tensor:
        return self.readout(features) * self.gain

    def layers(self, u: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Normalised inputs (T, B, n), or tokens (T, B), through all layers: (T, B, width of the last), new states."""
        after: list[Tensor] = []
        for i, (layer, module, before) in enumerate(zip(self.spec.layers, self.chain, state, strict=True)):
            if isinstance(layer, LayerSpec):
                u, now = module(u, before)
            else:
                u, now = module(u), None
            after.append(now)
            if self.dropout and isinstance(layer, LayerSpec) and i >= self.front:
                dropped = nn.functional.dropout(u[..., self.whole :], self.dropout, self.training)
                u = torch.cat([u[..., : self.whole], dropped], -1) if self.whole else dropped
        return u, after

    def point(self, raw: Tensor) -> Tensor:
        """The forecast in the channels' units, of raw outputs (..., n_out)."""
        return raw[..., : self.spec.n_in] * self.scale + self.mean

    def _inputs(self, x: Tensor, clock: Tensor | None) -> Tensor:
        """What the first layer is given: channels, normalised, and the time of day as it is."""
        u = (x - self.mean) / self.scale
        return u if clock is None else torch.cat([u, clock], -1)

    def forward(
        self, x: Tensor, use: Tensor | None, gaps: Sequence[int], state: State, clock: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Raw outputs (T, B, n_out) for samples (T, B, n), whose missing channels hold their last value.

        `use` bool (T, B, n) says where the forecast takes their place, and `gaps` in which steps that is, ascending.
        `clock` (T, B, 2) is the time of day, where the specification has it.
        """
        if self.spec.tokens:
            features, layers = self.layers(x[..., 0].long(), state.layers)
            return self._raw(features), State(layers)
        if state.kept is None or use is None or not len(gaps):
            features, layers = self.layers(self._inputs(x, clock), state.layers)
            raw = self._raw(features)
            return raw, State(layers, self._keep(state.kept, raw))
        made, layers = state.kept, state.layers
        out: list[Tensor] = []
        for a, b in self._spans(len(x), gaps):
            known = min(b, len(made))  # forecasts that were made before this span; no later one is used in it
            span = torch.cat([torch.where(use[a:known], made[a:known], x[a:known]), x[known:b]])
            seen = self._inputs(span, None if clock is None else clock[a:b])
            features, layers = self.layers(seen, layers)
            out.append(self._raw(features))
            made = torch.cat([made, self.point(out[-1])])
        return torch.cat(out), State(layers, made[-self.spec.horizon :])

    def _spans(self, T: int, gaps: Sequence[int]) -> list[tuple[int, int]]:
        """Where a chunk is cut: the forecast of step s was made in step s - horizon, before the span of s begins."""
        bounds = [0]
        for s in gaps:
            if s - self.spec.horizon >= bounds[-1]:
                bounds.append(s)
        return list(zip(bounds, [*bounds[1:], T], strict=True))

    def _keep(self, kept: Tensor | None, raw: Tensor) -> Tensor | None:
        if kept is None:
            return None
        h = self.spec.horizon
        point = self.point(raw)
        return point[-h:] if len(point) >= h else torch.cat([kept, point])[-h:]

    def outputs(self, raw: Tensor) -> Tensor:
        """What the engine calls y, of raw outputs."""
        spec = self.spec
        if spec.head == "classify" or spec.tokens:
            return torch.softmax(raw, -1)
        if spec.head != "forecast":
            if self.targets is None:
                return raw
            return raw * raw.new_tensor(self.targets.scale) + raw.new_tensor(self.targets.mean)
        n = spec.n_in
        m, parts = raw[..., :n], [self.point(raw)]
        if spec.spread == "gaussian":
            parts.append(squareplus(raw[..., n:]) * self.scale)
        elif spec.spread == "quantile":
            low, high = m - squareplus(raw[..., n : 2 * n]), m + squareplus(raw[..., 2 * n :])
            parts += [low * self.scale + self.mean, high * self.scale + self.mean]
        return torch.cat(parts, -1)

    def arrays(self) -> dict[str, Array]:
        """The parameters as arrays by the model's names, float32; copies."""
        out = {name: np.array(p.detach().cpu().numpy(), np.float32) for name, p in self._names}
        gain = self.gain.cpu().numpy()
        out["readout.weight"] *= gain[:, None]
        out["readout.bias"] *= gain
        return out

    def tensors(self) -> dict[str, Tensor]:
        """The parameters by the model's names for its arrays."""
        return dict(self._names)

    def take(self, arrays: Mapping[str, Any]) -> None:
        """Put other numbers in the place of the parameters."""
        with torch.no_grad():
            for name, p in self._names:
                given = torch.as_tensor(arrays[name])
                if name.startswith("readout"):
                    gain = self.gain.to(given.device)
                    given = given / (gain[:, None] if given.dim() > 1 else gain)
                p.copy_(given)


def _module(layer: Any) -> Any:
    """The module of one layer; a recurrent one of one layer, time first."""
    if isinstance(layer, LayerSpec):
        kinds = {"gru": nn.GRU, "lstm": nn.LSTM}
        if layer.cell in kinds:
            return kinds[layer.cell](layer.n_in, layer.hidden)
        return nn.RNN(layer.n_in, layer.hidden, nonlinearity=layer.cell.removeprefix("rnn_"))
    if isinstance(layer, NormSpec):
        return nn.LayerNorm(layer.n_in, layer.epsilon)
    if isinstance(layer, EmbeddingSpec):
        return nn.Embedding(layer.n_tokens, layer.width)
    assert isinstance(layer, DenseSpec) and layer.activation in ("linear", "tanh")
    return (nn.Linear if layer.activation == "linear" else _Tanh)(layer.n_in, layer.n_out)


class _Tanh(nn.Linear):
    """A dense layer with tanh, under the names of one without."""

    def forward(self, u: Tensor) -> Tensor:
        return torch.tanh(super().forward(u))


def _names(network: Network, spec: ModelSpec) -> list[tuple[str, Tensor]]:
    found: list[tuple[str, Tensor]] = []
    for i, (layer, module) in enumerate(zip(spec.layers, network.chain, strict=True)):
        for name in layer.shapes(i):
            own = name.replace(f"_l{i}", "_l0") if isinstance(layer, LayerSpec) else name.removesuffix(f"_l{i}")
            found.append((name, getattr(module, own)))
    return [*found, ("readout.weight", network.readout.weight), ("readout.bias", network.readout.bias)]
