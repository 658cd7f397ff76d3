"""ONNX Runtime as the reference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .needs import need
from .parts import Array

__all__ = ["OnnxReference"]


class OnnxReference:
    """A graph whose input has steps along one axis, and states that are handed back where it takes one step."""

    def __init__(
        self,
        path: Path,
        *,
        x: str,
        y: str,
        rank: int,
        tokens: type[np.generic] | None = None,
        axis: int | None,
        fixed: int | None,
        states: Mapping[str, tuple[str, tuple[int, ...]]],
        n_in: int,
        n_out: int,
    ) -> None:
        """`axis` is that of time among the `rank` of input `x`, `fixed` its length where that is fixed; `tokens` the
        type of its numbers where they are tokens, without an axis of features; `states` maps inputs to (output or "",
        shape). Raises what ONNX Runtime raises for a file that it cannot run."""
        runtime = need("onnxruntime", "comparing with the original")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        # As written: rewritten graphs may rely on shapes that an exporter noted for another number of steps.
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.against = f"onnxruntime {runtime.__version__}"
        self._x, self._y, self._rank, self._axis, self._n_out = x, y, rank, axis, n_out
        self._tokens = tokens
        self._states = dict(states)
        self._stepwise = (fixed == 1 or axis is None) and bool(states) and all(out for out, _ in states.values())
        self.length = None if self._stepwise else 1 if axis is None else fixed
        self(np.zeros((self.length or 3, n_in), np.float32))

    def _shaped(self, x: Array) -> Any:
        shape = [1] * self._rank
        if self._tokens is None:
            shape[-1] = x.shape[-1]
        if self._axis is not None:
            shape[self._axis] = len(x)
        return x.reshape(shape).astype(self._tokens or np.float32)

    def __call__(self, x: Array) -> Array:
        feed: dict[str, Any] = {name: np.zeros(shape, np.float32) for name, (_, shape) in self._states.items()}
        if not self._stepwise:
            (y,) = self._session.run([self._y], {**feed, self._x: self._shaped(x)})
            return np.asarray(y, np.float32).reshape(-1, self._n_out)
        rows = []
        wanted = [self._y, *(out for out, _ in self._states.values())]
        for row in x:
            y, *states = self._session.run(wanted, {**feed, self._x: self._shaped(row[None])})
            feed = dict(zip(self._states, states, strict=True))
            rows.append(np.asarray(y, np.float32).reshape(1, self._n_out))
        return np.concatenate(rows)
