"""ONNX: a graph with RNN, LSTM or GRU nodes in a chain, as PyTorch's exporters, tf2onnx and Keras write it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from streamrnn.errors import SourceError

from .needs import file_facts, installed, need, reason
from .onnx_run import OnnxReference
from .onnx_values import Const, Deferred, Evaluator, Given, Live, State
from .onnx_walk import Walk, WrongAxisError
from .parts import Source, each, finite

__all__ = ["SUFFIXES", "read"]

SUFFIXES = (".onnx",)

STEPS = 5
"""Steps that the input is taken to have where the file leaves it open."""


def read(path: str | os.PathLike[str], *, output: str | None = None) -> Source:
    """The network of an .onnx file; `output` names the graph's output that is y. Raises SourceError."""
    path = Path(path)
    facts = file_facts(path)
    onnx = need("onnx", f"reading {path.name}")
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
        if model.functions:
            model = need("onnx.inliner", f"reading {path.name}").inline_local_functions(model)
    except SourceError:
        raise
    except Exception as error:  # protobuf, onnx and the system each raise their own
        said = f"{type(error).__name__}: {reason(error)}"
        raise SourceError(f"{path} is no ONNX file, or it is damaged ({said}): export it again") from None
    graph = _Graph(onnx, model, output)
    walk, axis, y = graph.walked()
    provenance = {
        "made_by": "streamrnn import",
        "format": "ONNX",
        **facts,
        "producer": f"{model.producer_name} {model.producer_version}".strip() or "not said",
    }
    source = Source(walk.parts, provenance)
    if walk.scale_shift is not None:
        scale, shift = walk.scale_shift
        if not (scale > 0).all():
            raise SourceError(
                f"{path}: the inputs are scaled by {scale.min():g}; a normaliser's scale must be positive"
            )
        source.scale = (1 / scale).astype(np.float32)
        source.mean = (-shift / scale).astype(np.float32)
    graph.add_reference(source, path, walk, axis, y)
    return source


class _Graph:
    """The graph's inputs and outputs, and the nodes that matter for y."""

    def __init__(self, onnx: Any, model: Any, output: str | None) -> None:
        self._onnx, self._graph = onnx, model.graph
        self._evaluate = Evaluator(onnx, model.opset_import)
        self._initial = {t.name: t for t in self._graph.initializer}
        if self._graph.sparse_initializer:
            raise SourceError("sparse tensors are not read; export the network with dense ones")
        self._outputs = [o.name for o in self._graph.output]
        if output is not None and output not in self._outputs:
            raise SourceError(f"there is no output {output!r}; the graph has {each(self._outputs)}")
        self._output = output
        self._nodes = self._needed([output] if output else self._outputs)
        inputs = [i for i in self._graph.input if i.name not in self._initial]
        if not inputs:
            raise SourceError("the graph has no input")
        read = {name for node in self._nodes for name in node.input}
        self._inputs = [i for i in inputs if i.name in read]
        for name in sorted(read & set(self._initial)):
            array = onnx.numpy_helper.to_array(self._initial[name])
            if array.dtype.kind == "f":
                finite(name, array)
        if output is None:
            loose = [name for name in self._initial if name not in read and name not in self._outputs]
            if loose:
                raise SourceError(f"tensors {each(loose)} are used by no node; remove them from the file")
        self._fixed: int | None = None
        self._tokens = self._token_type()

    def _needed(self, outputs: list[str]) -> list[Any]:
        """The nodes that the outputs depend on, in order."""
        wanted, nodes = set(outputs), []
        for node in reversed(self._graph.node):
            if wanted & set(node.output):
                nodes.append(node)
                wanted |= set(node.input)
        return nodes[::-1]

    def _token_type(self) -> Any:
        """NumPy's type of the first input where that is tokens, whole numbers that a table is read with; else None."""
        types = self._onnx.TensorProto
        whole = {types.INT32: np.int32, types.INT64: np.int64}
        port = self._inputs[0]
        kind = port.type.tensor_type.elem_type
        if kind in whole:
            return whole[kind]
        readers = [node for node in self._nodes if port.name in node.input]
        casts = [a.i for node in readers if node.op_type == "Cast" for a in node.attribute if a.name == "to"]
        return np.float32 if readers and len(casts) == len(readers) and set(casts) <= set(whole) else None

    def _shape(self, port: Any) -> list[int | None]:
        kind = port.type.tensor_type
        tokens = port is self._inputs[0] and self._tokens is not None
        if kind.elem_type != self._onnx.TensorProto.FLOAT and not tokens:
            name = self._onnx.TensorProto.DataType.Name(kind.elem_type) if kind.elem_type else "no tensor"
            raise SourceError(f"input {port.name!r} is {name}; only float32 and tokens are read, no quantised networks")
        if not kind.HasField("shape"):
            raise SourceError(f"input {port.name!r} has no shape; export with one")
        shape = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
        return [*shape, 1] if tokens else shape

    def walked(self) -> tuple[Walk, int | None, Live]:
        """(the walk to the end, the axis of time of the input or None, y)."""
        shape = self._shape(self._inputs[0])
        if self._tokens is not None and len(shape) not in (2, 3):
            raise SourceError(
                f"input {self._inputs[0].name!r} is {np.dtype(self._tokens).name.upper()} of shape {shape[:-1]}; "
                "tokens are (batch, time) in either order, one a step, and other inputs float32"
            )
        if len(shape) not in (2, 3) or not shape[-1]:
            raise SourceError(
                f"input {self._inputs[0].name!r} has shape {shape}; it must be (batch, time, features) in either "
                "order, or (batch, features), with the number of features known"
            )
        # An axis of one step is tried last; of those left open, batch usually comes first.
        order = sorted(range(len(shape) - 1), key=lambda a: (shape[a] == 1, shape[a] is not None, -a))
        axes: list[int | None] = [*order]
        if len(shape) == 2:
            axes.append(None)
        for axis in axes:
            others = [shape[a] for a in range(len(shape) - 1) if a != axis]
            if any(n not in (None, 1) for n in others):
                continue
            try:
                return self._walk(shape, axis)
            except WrongAxisError:
                continue
        raise SourceError(
            f"input {self._inputs[0].name!r} of shape {shape} does not reach a recurrent node step by step; "
            "export with a batch of 1, or with a batch and a time that are left open"
        )

    def _walk(self, shape: list[int | None], axis: int | None) -> tuple[Walk, int | None, Live]:
        F = shape[-1]
        assert F is not None
        self._fixed = None if axis is None else shape[axis]
        steps = 1 if axis is None else self._fixed or STEPS
        full = [1] * len(shape)
        full[-1] = F
        if axis is not None:
            full[axis] = steps
        numpy = self._onnx.numpy_helper
        values: dict[str, Any] = {name: Const(numpy.to_array(t)) for name, t in self._initial.items()}
        if self._tokens is not None:
            full = full[:-1]
        values[self._inputs[0].name] = Live(np.arange(steps * F).reshape(full), F, 0)
        for port in self._inputs[1:]:
            given = [n or 1 for n in self._shape(port)]
            values[port.name] = Given(np.arange(int(np.prod(given))).reshape(given), port.name)
        walk = Walk(self._onnx, self._evaluate, steps, values, tokens=self._tokens is not None)
        walk.run(self._nodes)
        return walk, axis, self._y(walk)

    def _y(self, walk: Walk) -> Live:
        """The output that is y: the named one, or the one at the end of the chain."""
        names = [self._output] if self._output else self._outputs
        kinds = {name: walk.values.get(name) for name in names}
        ends = [name for name, value in kinds.items() if isinstance(value, (Live, Deferred))]
        ends = ends or [name for name, value in kinds.items() if isinstance(value, State)][:1]
        if not ends:
            raise SourceError(f"outputs {each(names)} do not depend on the input")
        found = [(name, walk.live(name, "the output")) for name in ends]
        if len(found) > 1:
            raise SourceError(
                f"outputs {each(ends)} are both at the end of the chain; name one with output (--graph-output)"
            )
        self._output, y = found[0]
        steps = y.steps()
        if steps not in (list(range(walk.steps)), [walk.steps - 1]):
            raise SourceError(f"output {self._output!r} holds other than all steps, or the last one")
        return y

    def add_reference(self, source: Source, path: Path, walk: Walk, axis: int | None, y: Live) -> None:
        """ONNX Runtime on the file, where it is installed and can run it."""
        source.window = self._fixed
        if not installed("onnxruntime"):
            source.why_not = "onnxruntime is not installed"
            return
        states = {}
        for port in self._inputs[1:]:
            places = walk.taken.get(port.name, {})
            wanted = [places.get(k, -1) for k in range(len(places))]
            outputs = (n for n in self._outputs if _holds(walk.values.get(n), wanted))
            states[port.name] = (next(outputs, ""), tuple(n or 1 for n in self._shape(port)))
        try:
            source.reference = OnnxReference(
                path,
                x=self._inputs[0].name,
                y=self._output or "",
                rank=len(self._shape(self._inputs[0])) - (self._tokens is not None),
                tokens=self._tokens,
                axis=axis,
                fixed=self._fixed,
                states=states,
                n_in=source.parts[0].layer.n_in,
                n_out=y.features,
            )
        except Exception as error:  # ONNX Runtime has no public base of its errors
            source.why_not = f"ONNX Runtime cannot run the file ({reason(error)})"


def _holds(value: object, wanted: list[int]) -> bool:
    """Whether a state that comes out is the one that goes in."""
    return isinstance(value, State) and value.ids.reshape(-1).tolist() == wanted
