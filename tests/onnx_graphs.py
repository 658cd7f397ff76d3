"""Small ONNX graphs, built node by node, for the tests of the importer."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}


class Graph:
    """Nodes in a row: each takes what the last one gave, and constants."""

    def __init__(self, n_in=3, shape=("time", "batch", 3), opset=17, seed=0):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.constants = [], []
        self.inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))]
        self.last, self.width, self.opset = "x", n_in, opset
        self.extra = []

    def constant(self, value, name=None):
        name = name or f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def random(self, *shape):
        return self.constant(self.rng.normal(scale=0.5, size=shape).astype(np.float32))

    def node(self, op, *inputs, outputs=1, first=None, domain="", **attributes):
        """A node that takes the last value first (or `first`); returns the names of its outputs."""
        names = [f"{op}{len(self.nodes)}_{k}" for k in range(outputs)]
        self.nodes.append(
            helper.make_node(
                op,
                [self.last if first is None else first, *inputs],
                names,
                name=f"n{len(self.nodes)}",
                domain=domain,
                **attributes,
            )
        )
        self.last = names[0]
        return names

    def cell(self, op, hidden, *, directions=1, bias=True, rest=(), outputs=3, squeeze=True, **attributes):
        """A recurrent node and what takes its axis of directions away."""
        rows = GATES[op] * hidden
        inputs = [self.random(directions, rows, self.width), self.random(directions, rows, hidden)]
        inputs.append(self.random(directions, 2 * rows) if bias else "")
        names = self.node(
            op, *inputs, *rest, outputs=min(outputs, 3 if op == "LSTM" else 2), hidden_size=hidden, **attributes
        )
        self.width = hidden
        if squeeze:
            self.node("Squeeze", self.constant(np.array([2 if attributes.get("layout") else 1])))
        return names

    def dense(self, n_out):
        self.node("MatMul", self.random(self.width, n_out))
        self.node("Add", self.random(n_out))
        self.width = n_out

    def proto(self, *outputs, check=True):
        shape = None if check else [None]
        ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in outputs or [self.last]]
        graph = helper.make_graph(self.nodes, "g", [*self.inputs, *self.extra], ports, self.constants)
        opsets = [helper.make_opsetid("", self.opset)]
        if not check:
            opsets.append(helper.make_opsetid("com.microsoft", 1))
        model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
        if check:
            model = onnx.shape_inference.infer_shapes(model)  # an output must have a shape
            onnx.checker.check_model(model)
        return model

    def save(self, path, *outputs, check=True):
        onnx.save(self.proto(*outputs, check=check), path)
        return path
