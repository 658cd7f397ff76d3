"""PyTorch as the reference: the user's own module where it can be called, else the same layers built from nn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from streamrnn.errors import SourceError

from ..layers import DenseSpec, EmbeddingSpec, LayerSpec, NormSpec
from .needs import need
from .parts import Array, Part

__all__ = ["ChainReference", "ModuleReference"]


class ChainReference:
    """The parts as modules of torch.nn, one after the other."""

    length: int | None = None

    def __init__(self, parts: Sequence[Part]) -> None:
        self._torch = need("torch", "comparing with PyTorch")
        self.against = f"torch {self._torch.__version__}, layer by layer"
        self._parts = [(part, self._module(part)) for part in parts]

    def _module(self, part: Part) -> Any:
        nn, layer = self._torch.nn, part.layer
        if not isinstance(layer, LayerSpec):
            return None
        if layer.cell == "lstm":
            module = nn.LSTM(layer.n_in, layer.hidden, proj_size=layer.proj)
        elif layer.cell == "gru":
            module = nn.GRU(layer.n_in, layer.hidden)
        else:
            module = nn.RNN(layer.n_in, layer.hidden, nonlinearity=layer.cell.removeprefix("rnn_"))
        module.load_state_dict({f"{k}_l0": self._torch.from_numpy(a.copy()) for k, a in part.arrays.items()})
        return module.eval()

    def __call__(self, x: Array) -> Array:
        torch = self._torch
        with torch.no_grad():
            value = torch.from_numpy(x)
            for part, module in self._parts:
                value = module(value)[0] if module is not None else self._stateless(part, value)
        return np.asarray(value.numpy(), np.float32)

    def _stateless(self, part: Part, value: Any) -> Any:
        torch, layer = self._torch, part.layer
        tensors = {k: torch.from_numpy(a.copy()) for k, a in part.arrays.items()}
        if isinstance(layer, EmbeddingSpec):
            return torch.nn.functional.embedding(value[..., 0].long(), **tensors)
        if isinstance(layer, NormSpec):
            return torch.nn.functional.layer_norm(value, (layer.n_in,), eps=layer.epsilon, **tensors)
        if isinstance(layer, DenseSpec):
            value = torch.nn.functional.linear(value, **tensors)
        act = getattr(layer, "activation", "linear")
        if act == "softmax":
            return value.softmax(-1)
        return value if act == "linear" else getattr(torch, act)(value)


class ModuleReference:
    """A user's module, called with a whole sequence."""

    length: int | None = None

    def __init__(self, module: Any, n_in: int, n_out: int, tokens: bool = False) -> None:
        """Raises whatever the module raises on a first call, and SourceError where it gives another shape."""
        self._torch = need("torch", "comparing with PyTorch")
        self.against = f"torch {self._torch.__version__}"
        self._module, self._n_out, self._tokens = module, n_out, tokens
        firsts = [m.batch_first for m in module.modules() if isinstance(m, self._torch.nn.RNNBase)]
        self._batch_first = bool(firsts and firsts[0])
        self(np.zeros((3, n_in), np.float32))

    def __call__(self, x: Array) -> Array:
        torch, module = self._torch, self._module
        where = next(iter(module.parameters())).device
        kind = next(iter(module.parameters())).dtype
        value = torch.from_numpy(x).to(where, kind)
        if self._tokens:
            value = value[:, 0].long()
        training = module.training
        module.eval()
        try:
            with torch.no_grad():
                out = module(value[None] if self._batch_first else value[:, None])
        finally:
            module.train(training)
        while isinstance(out, (tuple, list)):
            out = out[0]
        y = np.asarray(out.to("cpu", torch.float32).numpy(), np.float32)
        if y.shape[-1] != self._n_out or y.size not in (self._n_out, self._n_out * len(x)):
            raise SourceError(
                f"the module gives an output of shape {y.shape} for {len(x)} steps where its layers, one after the "
                f"other, end in {self._n_out} numbers a step: its forward() does something else; export it to ONNX"
            )
        return y.reshape(-1, self._n_out)
