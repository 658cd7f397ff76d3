"""The recurrent nodes of ONNX as parts: gates sorted, biases taken apart, and what a live stream cannot do refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.errors import SourceError

from .parts import Part, blocks_of, floats, recurrent

__all__ = ["GATES", "cell_part", "direction_of"]

GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
_ORDER = {"RNN": (0,), "LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2)}  # ONNX: i o f c and z r h; ours: i f g o and r z n
_OWN = {"RNN": ("Tanh",), "LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh")}
_ACTIVATIONS = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "relu"}

Constant = npt.NDArray[Any]


def direction_of(op: str, name: str, attributes: Mapping[str, Any]) -> None:
    """SourceError for a node that needs the future, or another order of time."""
    direction = attributes.get("direction", b"forward").decode()
    if direction == "bidirectional":
        raise SourceError(
            f"node {name!r} is a bidirectional {op}, which needs the future of the stream; train one that runs "
            "forwards only"
        )
    if direction != "forward":
        raise SourceError(f"node {name!r} is an {op} that runs in direction {direction!r}; a stream runs forwards only")


def cell_part(op: str, name: str, attributes: Mapping[str, Any], constants: Mapping[str, Constant | None]) -> Part:
    """The part of an RNN, LSTM or GRU node, from its attributes and its inputs W, R, B and P (None where not given)."""
    direction_of(op, name, attributes)
    if attributes.get("input_forget"):
        raise SourceError(f"node {name!r} couples input and forget gate (input_forget=1), which is not read")
    P = constants.get("P")
    if P is not None and P.any():
        raise SourceError(f"node {name!r} has peepholes (input P), which are not read; train it without")
    gates, order = GATES[op], _ORDER[op]
    W, R = (floats(f"{key} of node {name}", _there(name, key, constants)) for key in ("W", "R"))
    if W.ndim != 3 or R.ndim != 3 or W.shape[0] != 1 or R.shape[0] != 1:
        raise SourceError(f"node {name!r} has W {W.shape} and R {R.shape}; one direction needs (1, {gates}H, ...)")
    given = constants.get("B")
    rows = W.shape[1]
    B = np.zeros((1, 2 * rows), np.float32) if given is None else floats(f"B of node {name}", given)
    if B.shape != (1, 2 * rows) or rows % gates:
        raise SourceError(f"node {name!r} has W {W.shape} and B {B.shape}, which do not fit together")
    activations = _activations(op, name, attributes)
    if op == "RNN":
        cell, activations = f"rnn_{activations[0]}", ()
    elif op == "GRU":
        cell = "gru" if attributes.get("linear_before_reset", 0) else "gru_reset_before"
    else:
        cell = "lstm"
    parts = (W[0], R[0], B[0, :rows], B[0, rows:])
    W_ih, W_hh, b_ih, b_hh = (blocks_of(a, order) for a in parts)
    clip = float(attributes.get("clip", 0.0))
    return recurrent(name, cell, W_ih, W_hh, b_ih, b_hh, clip=clip, activations=activations, gates=gates)


def _there(name: str, key: str, constants: Mapping[str, Constant | None]) -> Constant:
    found = constants.get(key)
    if found is None:
        raise SourceError(f"node {name!r} has no {key}")
    return found


def _activations(op: str, name: str, attributes: Mapping[str, Any]) -> tuple[str, ...]:
    given = [a.decode() for a in attributes.get("activations", [])] or list(_OWN[op])
    unknown = [a for a in given if a.lower() not in _ACTIVATIONS]
    if unknown:
        raise SourceError(f"node {name!r} uses activation {unknown[0]!r}; known are Sigmoid, Tanh and Relu")
    return tuple(_ACTIVATIONS[a.lower()] for a in given)
