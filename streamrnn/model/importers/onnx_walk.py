"""From the input of an ONNX graph to its output, node by node, collecting the chain of parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.errors import SourceError

from ..layers import EmbeddingSpec
from .onnx_cells import GATES, cell_part, direction_of
from .onnx_values import STEP, Const, Deferred, Evaluator, Given, Live, State, Value, identify
from .parts import Array, Part, activation, dense, embedding, floats, norm

__all__ = ["Walk", "WrongAxisError"]

MAX_ELEMENTS = 2**26
"""Elements of the largest constant that a graph may compute."""

_MOVES = {
    "Identity", "Transpose", "Squeeze", "Unsqueeze", "Reshape", "Slice", "Gather", "Flatten", "Concat", "Split",
}  # fmt: skip
_ACTIVATIONS = {"Relu": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid"}
_ARITHMETIC = {
    "Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Neg", "Reciprocal", "ReduceMean", "GlobalAveragePool",
}  # fmt: skip
_WHY = {
    "Loop": "a loop hides the recurrent layer; import the Keras or PyTorch model itself instead of its ONNX export",
    "Scan": "a loop hides the recurrent layer; import the Keras or PyTorch model itself instead of its ONNX export",
    "SplitToSequence": "the exporter unrolled the recurrent layer; use dynamo=False, or import the module itself",
    "If": "what depends on a condition has no fixed chain of layers",
    "LogSoftmax": "y would be the logarithm of a probability; export the network up to its logits or a Softmax",
    "OneHot": "give tokens to a Gather from a table (an embedding) in its place",
    "Attention": "attention looks at the whole sequence, and a live stream has no future",
    "Conv": "a convolution sees a window of samples, not one",
    "ReduceSum": "a sum over steps or features has no place in a chain of layers",
    "BatchNormalization": "fold it into the layer before it, or use layer normalisation",
    "QuantizeLinear": "quantised networks are not read; export the float32 one",
    "DequantizeLinear": "quantised networks are not read; export the float32 one",
    "DynamicQuantizeLSTM": "quantised networks are not read; export the float32 one",
}


class WrongAxisError(Exception):
    """Time runs along another axis of the input than was tried."""


@dataclass
class Walk:
    """Values by name, and what was found so far; `steps` is how many steps the input has, `tokens` whether
    each is one token, without an axis of features."""

    onnx: Any
    evaluate: Evaluator
    steps: int
    values: dict[str, Value]
    tokens: bool = False
    parts: list[Part] = field(default_factory=list)
    scale_shift: tuple[Array, Array] | None = None
    taken: dict[str, dict[int, int]] = field(default_factory=dict)
    """By input that is a state: which element of which layer's state each of its elements becomes."""

    def run(self, nodes: list[Any]) -> None:
        for node in nodes:
            self._node(node)

    def live(self, name: str, node: str) -> Live:
        """The value as the end of the chain so far; SourceError for a branch, or for what is no live value."""
        value = self.values.get(name)
        if isinstance(value, Deferred):
            value = self._settled(name, value)
        if isinstance(value, State):
            value = self._as_live(value)
        if not isinstance(value, Live):
            raise SourceError(f"{node} reads {name!r}, which does not come from the input of the network")
        if value.point != len(self.parts):
            before = self.parts[value.point].name if value.point < len(self.parts) else "a later layer"
            raise SourceError(
                f"{node} reads {name!r}, which {before} reads too: the network branches, and only a chain of layers is "
                "read. Where it has several outputs, name one with output (--graph-output)"
            )
        return value

    def _as_live(self, state: State) -> Live | None:
        """The h that the last layer ends with is its output at the last step."""
        layer = 2 * (len(self.parts) - 1)
        if not self.parts or (state.ids // STEP != layer).any():
            return None
        F = self.parts[-1].layer.width
        return Live((self.steps - 1) * F + state.ids % STEP, F, len(self.parts))

    def _settled(self, name: str, value: Deferred) -> Live:
        """A deferred value becomes the part that it is."""
        if value.base.point != len(self.parts):
            raise SourceError(f"{name!r} joins two branches of the network; only a chain of layers is read")
        last = self.parts[-1] if self.parts else None
        add, instead, scale_shift = identify(value, last, name)
        if scale_shift is not None:
            if self.scale_shift is not None:
                a, b = self.scale_shift
                scale_shift = (scale_shift[0] * a, scale_shift[0] * b + scale_shift[1])
            self.scale_shift = scale_shift
        elif instead is not None:
            self.parts[-1] = instead
        elif add is not None:
            self.parts.append(add)
        live = Live(value.base.ids, value.base.features, len(self.parts))
        self.values[name] = live
        return live

    def _node(self, node: Any) -> None:
        what = f"node {node.name or node.output[0]!r} ({node.op_type})"
        inputs = [self.values.get(name) if name else None for name in node.input]
        if node.op_type in ("Loop", "Scan", "If"):
            raise SourceError(f"{what} is an operator that is not read: {_WHY[node.op_type]}")
        if node.domain not in ("", "ai.onnx"):
            raise SourceError(f"{what} is an operator of {node.domain!r}, which is not read")
        missing = [name for name, value in zip(node.input, inputs, strict=True) if name and value is None]
        if missing:
            raise SourceError(f"{what} reads {missing[0]!r}, which nothing gives")
        if node.op_type == "Shape" and isinstance(inputs[0], (Live, Given, State)):
            inputs = [Const(np.zeros(inputs[0].ids.shape, np.float32))]
        if node.op_type == "Shape" and isinstance(inputs[0], Deferred):
            inputs = [Const(np.zeros(self.live(node.input[0], what).ids.shape, np.float32))]
        if all(value is None or isinstance(value, Const) for value in inputs):
            self._check_size(node, inputs, what)
            found = self.evaluate(node, [v.array if isinstance(v, Const) else None for v in inputs])
            self._put(node, [Const(a) for a in found])
        elif node.op_type in GATES:
            self._recurrent(node, what)
        elif node.op_type == "Gather" and isinstance(inputs[0], Const):
            self._embedding(node, inputs[0], what)
        elif node.op_type in _MOVES:
            self._move(node, inputs, what)
        elif node.op_type in ("Dropout", "Cast"):
            self._pass(node, inputs, what)
        else:
            self._layer(node, inputs, what)

    def _check_size(self, node: Any, inputs: list[Value | None], what: str) -> None:
        """A few bytes of a file may ask for any amount of memory."""
        shape = inputs[-1] if node.op_type in ("ConstantOfShape", "Expand", "Tile") else None
        if isinstance(shape, Const):
            size = float(np.prod(shape.array.astype(np.float64)))
            if not 0 <= size <= MAX_ELEMENTS:
                raise SourceError(f"{what} makes a constant of {size:g} elements; {MAX_ELEMENTS} are the limit")

    def _put(self, node: Any, values: list[Value]) -> None:
        for name, value in zip([n for n in node.output if n], values, strict=False):
            self.values[name] = value

    def _pass(self, node: Any, inputs: list[Value | None], what: str) -> None:
        kinds = self.onnx.TensorProto
        # Tokens are whole numbers, in whatever type.
        plain = (kinds.FLOAT, kinds.INT32, kinds.INT64) if self.tokens and not self.parts else (kinds.FLOAT,)
        if node.op_type == "Cast" and self._attributes(node)["to"] not in plain:
            raise SourceError(f"{what} turns live values into another type than float32, which is not read")
        assert inputs[0] is not None
        self.values[node.output[0]] = inputs[0]

    def _attributes(self, node: Any) -> dict[str, Any]:
        return {a.name: self.onnx.helper.get_attribute_value(a) for a in node.attribute}

    def _move(self, node: Any, inputs: list[Value | None], what: str) -> None:
        """What moves elements about moves the numbers that say what they are."""
        moved = [
            self.live(name, what) if isinstance(value, Deferred) else value
            for name, value in zip(node.input, inputs, strict=True)
        ]
        kinds = {type(v) for v in moved if isinstance(v, (Live, Given, State))}
        if len(kinds) != 1:
            raise SourceError(f"{what} joins values of different origin, which is not read")
        arrays = [
            v.array if isinstance(v, Const) else v.ids if isinstance(v, (Live, Given, State)) else None for v in moved
        ]
        first = next(v for v in moved if isinstance(v, (Live, Given, State)))
        alike = all(
            not isinstance(v, (Live, Given, State)) or (isinstance(first, State) or _origin(v) == _origin(first))
            for v in moved
        )
        if not alike or (node.op_type == "Concat" and any(isinstance(v, Const) for v in moved)):
            raise SourceError(f"{what} joins branches of the network; only a chain of layers is read")
        made: list[Value] = []
        for ids in self.evaluate(node, arrays):
            if isinstance(first, Live):
                made.append(Live(ids, first.features, first.point))
            else:
                made.append(Given(ids, first.name) if isinstance(first, Given) else State(ids))
        self._put(node, made)

    def _embedding(self, node: Any, table: Const, what: str) -> None:
        """Rows of a table for the tokens that are the network's input."""
        live = self.live(node.input[1], what)
        if not self.tokens or self.parts:
            raise SourceError(f"{what} looks up what other nodes computed; only the input itself can be a token")
        if self._attributes(node).get("axis", 0) != 0:
            raise SourceError(f"{what} looks up columns; an embedding has a row for each token (axis 0)")
        part = embedding(node.name or node.output[0], floats(f"table of {what}", table.array))
        self.parts.append(part)
        W = part.layer.width
        self.values[node.output[0]] = Live(live.ids[..., None] * W + np.arange(W), W, len(self.parts))

    def _recurrent(self, node: Any, what: str) -> None:
        attributes = self._attributes(node)
        name = node.name or node.output[0]
        direction_of(node.op_type, name, attributes)
        live = self.live(node.input[0], what)
        F, T = live.features, self.steps
        layout = attributes.get("layout", 0)
        expected = np.arange(T * F).reshape((1, T, F) if layout else (T, 1, F))
        if live.ids.shape != expected.shape or (live.ids != expected).any():
            if all(isinstance(p.layer, EmbeddingSpec) for p in self.parts):
                raise WrongAxisError
            raise SourceError(f"{what} does not read the steps of {self.parts[-1].name} in their order")
        names = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"]
        given = {key: self.values[n] for key, n in zip(names, node.input, strict=False) if n}
        constants = {key: v.array for key, v in given.items() if isinstance(v, Const)}
        for key in ("W", "R", "B", "P"):
            if key in given and key not in constants:
                raise SourceError(f"{what}: its {key} is computed from the input, which is not read")
        lengths = constants.get("sequence_lens")
        if "sequence_lens" in given and (lengths is None or (lengths != T).any()):
            raise SourceError(f"{what} takes lengths of sequences; a stream has none: export without them")
        part = cell_part(node.op_type, name, attributes, constants)
        layer = len(self.parts)
        for which, key in enumerate(("initial_h", "initial_c")):
            if key in given:
                self._initial(given[key], 2 * layer + which, part.layer.width, what)
        self.parts.append(part)
        H = part.layer.width
        shape = (1, T, 1, H) if layout else (T, 1, 1, H)
        outputs: list[Value] = [Live(np.arange(T * H).reshape(shape), H, layer + 1)]
        outputs += [State(STEP * (2 * layer + k) + np.arange(H).reshape(1, 1, H)) for k in (0, 1)]
        for out, value in zip(node.output, outputs, strict=False):
            if out:
                self.values[out] = value

    def _initial(self, value: Value, slot: int, H: int, what: str) -> None:
        if isinstance(value, Const):
            if value.array.any():
                raise SourceError(f"{what} starts from a state that is not zero; here every stream starts from zero")
        elif isinstance(value, Given) and value.ids.size == H:
            places = self.taken.setdefault(value.name, {})
            places |= {int(k): STEP * slot + j for j, k in enumerate(value.ids.reshape(-1))}
        else:
            raise SourceError(f"{what} starts from a state that another layer computes, which a live stream cannot do")

    def _layer(self, node: Any, inputs: list[Value | None], what: str) -> None:
        op, attributes = node.op_type, self._attributes(node)
        name = node.name or node.output[0]
        if op in ("MatMul", "Gemm") and isinstance(inputs[1], Const):
            self._dense(node, inputs, attributes, what)
        elif op in _ACTIVATIONS:
            self._add(node, self._features(node, what), lambda n: activation(name, n, _ACTIVATIONS[op]))
        elif op == "Softmax":
            self._softmax(node, attributes, what)
        elif op == "LayerNormalization" and len(node.output) == 1:
            self._norm(node, inputs, attributes, what)
        elif op in _ARITHMETIC:
            self._defer(node, inputs, what)
        else:
            why = _WHY.get(op, "known are RNN, LSTM, GRU, MatMul, Gemm, activations and layer normalisation")
            raise SourceError(f"{what} is an operator that is not read: {why}")

    def _features(self, node: Any, what: str) -> Live:
        live = self.live(node.input[0], what)
        if live.steps() is None:
            raise SourceError(f"{what} works on several steps at once, and a live stream has only one")
        return live

    def _add(self, node: Any, live: Live, make: Any) -> None:
        part = make(live.features)
        self.parts.append(part)
        self.values[node.output[0]] = live.like(part.layer.width, len(self.parts))

    def _dense(self, node: Any, inputs: list[Value | None], attributes: Mapping[str, Any], what: str) -> None:
        live = self._features(node, what)
        W = floats(f"weight of {what}", inputs[1].array)  # type: ignore[union-attr]
        bias: Array | None = None
        if W.ndim != 2 or attributes.get("transA"):
            raise SourceError(f"{what} is no product of features with a matrix")
        if node.op_type == "Gemm":
            W = (W if attributes.get("transB") else W.T) * np.float32(attributes.get("alpha", 1.0))
            if len(inputs) > 2 and inputs[2] is not None:
                if not isinstance(inputs[2], Const):
                    raise SourceError(f"{what} adds something that is computed from the input; only a chain is read")
                given = floats(f"bias of {what}", inputs[2].array).reshape(-1)
                bias = np.broadcast_to(given, W.shape[:1]) * np.float32(attributes.get("beta", 1.0))
        else:
            W = W.T
        if W.shape[1] != live.features:
            raise SourceError(f"{what} multiplies {live.features} features with a matrix for {W.shape[1]}")
        name = node.name or node.output[0]
        self._add(node, live, lambda _: dense(name, np.ascontiguousarray(W), bias))

    def _softmax(self, node: Any, attributes: Mapping[str, Any], what: str) -> None:
        live = self._features(node, what)
        old = next(o.version for o in self.evaluate.opsets if o.domain in ("", "ai.onnx")) < 13
        axis = attributes.get("axis", 1 if old else -1) % live.ids.ndim
        whole = int(np.prod(live.ids.shape[axis:])) if old else live.ids.shape[axis]
        if whole != live.features or (not old and axis != live.ids.ndim - 1):
            raise SourceError(f"{what} is a softmax over other than the features of one step")
        name = node.name or node.output[0]
        self._add(node, live, lambda n: activation(name, n, "softmax"))

    def _norm(self, node: Any, inputs: list[Value | None], attributes: Mapping[str, Any], what: str) -> None:
        live = self._features(node, what)
        if attributes.get("axis", -1) % live.ids.ndim != live.ids.ndim - 1:
            raise SourceError(f"{what} normalises over other than the features of one step")
        rest = [floats(f"{what}", v.array) if isinstance(v, Const) else None for v in inputs[1:]]
        weight, bias = (*rest, None, None)[:2]
        name, epsilon = node.name or node.output[0], attributes.get("epsilon", 1e-5)
        self._add(node, live, lambda n: norm(name, n, weight, bias, epsilon))

    def _defer(self, node: Any, inputs: list[Value | None], what: str) -> None:
        """Arithmetic is carried out later, on numbers, when it is known where it ends."""
        inputs = [
            self.live(name, what) if isinstance(v, State) else v for name, v in zip(node.input, inputs, strict=True)
        ]
        bases = [v.base if isinstance(v, Deferred) else v for v in inputs if not isinstance(v, (Const, type(None)))]
        live = [v for v in bases if isinstance(v, Live)]
        if len(live) != len(bases) or any(v.point != live[0].point or v.ids.shape != live[0].ids.shape for v in live):
            raise SourceError(f"{what} joins branches of the network; only a chain of layers is read")
        if live[0].point != len(self.parts):
            self.live(node.input[0], what)
        constants: tuple[npt.NDArray[Any], ...] = ()
        for value in inputs:
            constants += (value.array,) if isinstance(value, Const) else ()
            constants += value.constants if isinstance(value, Deferred) else ()

        def compute(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
            arrays: list[npt.NDArray[Any] | None] = []
            for value in inputs:
                if isinstance(value, Deferred):
                    arrays.append(value.compute(x))
                else:
                    arrays.append(value.array if isinstance(value, Const) else x if value is not None else None)
            return self.evaluate(node, arrays)[0]

        self.values[node.output[0]] = Deferred(live[0], compute, constants)


def _origin(value: Value) -> object:
    return value.point if isinstance(value, Live) else getattr(value, "name", None)
