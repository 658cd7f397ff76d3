"""One step of a network as an ONNX graph: what the peers run, and the tests' second opinion."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamrnn import Model

_OPS = {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN", "rnn_relu": "RNN"}
_ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}  # of gates in ONNX, by PyTorch's: i o f c, and z r h


def step_graph(model: Model, streams: int = 1, readout: bool = False) -> tuple[Any, list[str]]:
    """The graph, an ONNX ModelProto, and the names of its states.

    Inputs are x (1, streams, n_in) and a state (1, streams, H) named h0, c0, h1, ... for each layer; outputs are the
    new states, named by an added `_new`, in the same order, after y (1, streams, n_out) where a readout is asked for.
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes, inits, states, shapes = [], [], [], []

    def const(name: str, value: np.ndarray) -> str:
        inits.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    def port(name: str, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    source = "x"
    for i, layer in enumerate(model.spec.layers):
        H = layer.hidden
        parts = (model.arrays[f"{p}_l{i}"] for p in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        order = _ORDER.get(layer.cell, (0,))
        W, R, B_ih, B_hh = (np.concatenate([a[g * H : (g + 1) * H] for g in order]) for a in parts)
        B = np.concatenate([B_ih, B_hh])
        args = [source, const(f"W{i}", W[None]), const(f"R{i}", R[None]), const(f"B{i}", B[None]), "", f"h{i}"]
        mine = [f"h{i}", f"c{i}"] if layer.cell == "lstm" else [f"h{i}"]
        if layer.cell == "lstm":
            args.append(f"c{i}")
        extra: dict[str, Any] = {"linear_before_reset": 1} if layer.cell == "gru" else {}
        if _OPS[layer.cell] == "RNN":
            extra = {"activations": ["Relu" if layer.cell == "rnn_relu" else "Tanh"]}
        nodes.append(
            helper.make_node(_OPS[layer.cell], args, ["", *(f"{s}_new" for s in mine)], hidden_size=H, **extra)
        )
        states += mine
        shapes += [(1, streams, H)] * len(mine)
        source = f"h{i}_new"
    inputs = [port("x", 1, streams, model.spec.n_in), *(port(s, *z) for s, z in zip(states, shapes, strict=True))]
    outputs = [port(f"{s}_new", *z) for s, z in zip(states, shapes, strict=True)]
    if readout:
        const("Wy", model.arrays["readout.weight"].T)
        const("by", model.arrays["readout.bias"])
        nodes += [helper.make_node("MatMul", [source, "Wy"], ["y0"]), helper.make_node("Add", ["y0", "by"], ["y"])]
        outputs.insert(0, port("y", 1, streams, model.spec.n_out))
    graph = helper.make_graph(nodes, "step", inputs, outputs, inits)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8), states
