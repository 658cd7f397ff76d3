"""PyTorch: a module, a state dict, or a file that holds one (.safetensors, .pt and .pth without any code in them)."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import load as load_safetensors

from streamrnn.errors import SourceError

from ..file import KEY
from ..layers import EmbeddingSpec
from .needs import file_facts, installed, need, reason
from .order import Block, arrange
from .parts import Array, Part, Source, activation, dense, each, embedding, floats, norm, recurrent
from .torch_names import blocks_of_state
from .torch_run import ChainReference, ModuleReference

__all__ = ["SUFFIXES", "read"]

SUFFIXES = (".pt", ".pth", ".safetensors")
NONLINEARITIES = ("tanh", "relu")

_WRAPPED = ("state_dict", "model_state_dict", "model")
"""Keys under which checkpoints keep the state dict."""

_NOTHING = ("Dropout", "Dropout1d", "AlphaDropout", "Identity")
_ACTIVATIONS = {"ReLU": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid", "Softmax": "softmax"}
_WHY = {
    "MultiheadAttention": "attention looks at the whole sequence, and a live stream has no future",
    "TransformerEncoder": "attention looks at the whole sequence, and a live stream has no future",
    "Transformer": "attention looks at the whole sequence, and a live stream has no future",
    "Conv1d": "a convolution sees a window of samples, not one; use a recurrent layer in its place",
    "BatchNorm1d": "fold it into the layer before it, or use a LayerNorm",
    "EmbeddingBag": "a bag sums many tokens, and a sample is one; use an Embedding",
}


def read(source: object, *, order: Sequence[str] | None = None, nonlinearity: str | None = None) -> Source:
    """The network of a torch.nn.Module, of a mapping of names to tensors, or of a file.

    `order` names the parts one after the other, where the source does not say it; `nonlinearity` is that of Elman
    networks in a state dict. Raises SourceError.
    """
    if nonlinearity not in (None, *NONLINEARITIES):
        raise SourceError(f"nonlinearity is {nonlinearity!r}; use one of {', '.join(NONLINEARITIES)}")
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        facts = file_facts(path)
        tensors, registered = _load(path)
        return _from_state(tensors, facts, registered=registered, order=order, nonlinearity=nonlinearity)
    if isinstance(source, Mapping):
        facts = {"source": "a state dict"}
        return _from_state(source, facts, registered=True, order=order, nonlinearity=nonlinearity)
    if hasattr(source, "named_modules") and hasattr(source, "state_dict"):
        return _from_module(source, order)
    raise SourceError(f"an object of type {type(source).__name__} is no torch.nn.Module, state dict or file")


def _load(path: Path) -> tuple[Mapping[str, Any], bool]:
    """(tensors by name, whether their order is that of registration) of a file."""
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, "numpy") as file:
                ours = KEY in (file.metadata() or {})
            if ours:
                raise SourceError(f"{path} is a model of streamrnn already: use it as it is")
            return load_safetensors(path.read_bytes()), False
        except SourceError:
            raise
        except (SafetensorError, ValueError, TypeError, KeyError) as error:
            raise SourceError(f"{path} is no safetensors file, or it is damaged: {error}") from None
    torch = need("torch", f"reading {path.name}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it then refuses
            held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle, torch and the system each raise their own
        raise SourceError(_why_not_loaded(path, error)) from None
    while isinstance(held, Mapping) and not any(hasattr(v, "shape") for v in held.values()):
        inner = next((held[key] for key in _WRAPPED if isinstance(held.get(key), Mapping)), None)
        if inner is None:
            break
        held = inner
    if not isinstance(held, Mapping):
        raise SourceError(f"{path} holds a {type(held).__name__}, not a state dict: save the network's state_dict()")
    return held, True


def _why_not_loaded(path: Path, error: Exception) -> str:
    """PyTorch's own words propose to load the file as code: what they say of the cause, without the advice."""
    said = reason(error, 10_000)
    asked = re.search(r"GLOBAL (\S+)", said)
    if asked is not None:
        return (
            f"{path} holds Python objects besides tensors ({asked[1]}), which are never loaded because they can run "
            "code: save the network's state_dict() alone, or as safetensors"
        )
    cause = re.split(r" (?:Please|Check|This is an) ", said.rpartition("WeightsUnpickler error: ")[2])[0]
    kind = type(error).__name__ + (f": {reason(ValueError(cause))}" if cause else "")
    return (
        f"{path} is damaged, or holds Python objects besides tensors, which are never loaded because they can run "
        f"code: save the network's state_dict() alone, or as safetensors ({kind})"
    )


def _array(name: str, value: Any) -> Array:
    """A tensor of torch, or an array, as float32."""
    if hasattr(value, "detach"):
        if value.is_quantized or not value.is_floating_point():
            raise SourceError(f"tensor {name!r} is {value.dtype}; only real numbers are read, no quantised ones")
        value = value.detach().to("cpu")
        # NumPy knows no others, and a double is judged before it is rounded.
        value = (value if str(value.dtype) in ("torch.float32", "torch.float64") else value.float()).numpy()
    if not hasattr(value, "shape"):
        raise SourceError(
            f"{name!r} holds a value of type {type(value).__name__}, not a tensor; give the network's state_dict() "
            "alone"
        )
    return floats(name, value)


def _from_state(
    tensors: Mapping[str, Any],
    facts: Mapping[str, str],
    *,
    registered: bool,
    order: Sequence[str] | None,
    nonlinearity: str | None,
) -> Source:
    arrays = {str(name): _array(str(name), value) for name, value in tensors.items() if not _counter(str(name))}
    blocks, notes = blocks_of_state(arrays, nonlinearity)
    parts = [part for block in arrange(blocks, registered=registered, order=order) for part in block.parts]
    if order is None:
        notes.append("a state dict has no activations: none is taken to be there (order, --order, may name them)")
    source = Source(parts, {"made_by": "streamrnn import", "format": "PyTorch state dict", **facts}, notes)
    _add_chain(source)
    return source


def _counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")


def _add_chain(source: Source) -> None:
    if installed("torch"):
        source.reference = ChainReference(source.parts)
    else:
        source.why_not = "torch is not installed"


def _from_module(module: Any, order: Sequence[str] | None) -> Source:
    torch = need("torch", "reading a torch.nn.Module")
    blocks = list(_blocks(torch, module))
    known = {id(p) for m in _leaves(torch, module) for p in m[1].parameters(recurse=True)}
    loose = [name for name, p in module.named_parameters() if id(p) not in known]
    if loose:
        raise SourceError(f"parameters {each(loose)} belong to no layer that is known; export the network to ONNX")
    parts = [part for block in arrange(blocks, registered=True, order=order) for part in block.parts]
    source = Source(
        parts,
        {"made_by": "Model.from_torch", "format": "PyTorch module", "source": type(module).__name__},
    )
    cells = any("Cell" in type(m).__name__ for m in module.modules())
    try:
        if cells:
            raise ValueError("its cells are called step by step")
        source.reference = ModuleReference(
            module, parts[0].layer.n_in, parts[-1].layer.width, isinstance(parts[0].layer, EmbeddingSpec)
        )
    except SourceError:
        raise
    except Exception as error:  # the module is anyone's
        # What a call would have shown, in a buffer of the module's own, nothing else does.
        used = {id(b) for m in _leaves(torch, module) for b in m[1].buffers(recurse=True)}
        loose = [name for name, b in module.named_buffers() if id(b) not in used]
        if loose:
            raise SourceError(
                f"buffers {each(loose)} belong to no layer, and the module was not called ({reason(error)}), so what "
                "they do is not known: take them out (--mean and --scale are for a normaliser), or export it to ONNX"
            ) from None
        source.notes.append(
            f"the module was not called ({reason(error)}); its layers were compared one after the other"
        )
        _add_chain(source)
    return source


def _leaves(torch: Any, module: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The modules that compute, in order of registration, with their names."""
    children = list(module.named_children())
    if not children or isinstance(module, (torch.nn.RNNBase, torch.nn.RNNCellBase, torch.nn.MultiheadAttention)):
        yield name or type(module).__name__, module
        return
    for child, inner in children:
        yield from _leaves(torch, inner, f"{name}.{child}" if name else child)


def _blocks(torch: Any, module: Any) -> Iterator[Block]:
    width = 0
    for name, leaf in _leaves(torch, module):
        kind = type(leaf).__name__
        if kind in _NOTHING:
            continue
        if kind in _ACTIVATIONS:
            if kind == "Softmax" and leaf.dim not in (-1, None):
                raise SourceError(f"{name} is a softmax over dimension {leaf.dim}; it must be over the features, -1")
            block = Block(name, (activation(name, max(width, 1), _ACTIVATIONS[kind]),))
        else:
            block = Block(name, tuple(_parts(torch, name, leaf)))
        width = block.width
        yield block


def _parts(torch: Any, name: str, leaf: Any) -> list[Part]:
    """One module with weights."""
    nn, kind = torch.nn, type(leaf).__name__
    tensors = {key: _array(f"{name}.{key}", value) for key, value in leaf.state_dict().items()}
    if isinstance(leaf, nn.RNNBase):
        return _stack(name, leaf, tensors)
    if isinstance(leaf, nn.RNNCellBase):
        return [_recurrent(name, leaf, {f"{key}_l0": a for key, a in tensors.items()}, 0)]
    if type(leaf) is nn.Embedding:
        if leaf.max_norm is not None:
            raise SourceError(f"{name} has max_norm, which changes its table as it is read; build it without")
        return [embedding(name, tensors["weight"])]
    if type(leaf) is nn.Linear:
        return [dense(name, tensors["weight"], tensors.get("bias"))]
    if type(leaf) is nn.LayerNorm:
        if len(leaf.normalized_shape) != 1:
            raise SourceError(
                f"{name} normalises over {len(leaf.normalized_shape)} dimensions; only the features are read"
            )
        return [norm(name, leaf.normalized_shape[0], tensors.get("weight"), tensors.get("bias"), leaf.eps)]
    why = _WHY.get(
        kind,
        "known are RNN, LSTM, GRU, their cells, Embedding, Linear, LayerNorm, Dropout, ReLU, Tanh, Sigmoid, Softmax",
    )
    raise SourceError(f"{name} is a {kind}, which is not read: {why}")


def _stack(name: str, leaf: Any, tensors: dict[str, Array]) -> list[Part]:
    if leaf.bidirectional:
        raise SourceError(
            f"{name} is bidirectional, so it needs the future of the stream; train one that runs forwards only"
        )
    return [_recurrent(f"{name}[{i}]", leaf, tensors, i) for i in range(leaf.num_layers)]


def _recurrent(name: str, leaf: Any, tensors: Mapping[str, Array], i: int) -> Part:
    mode = type(leaf).__name__.removesuffix("Cell")
    cell, gates = {"LSTM": ("lstm", 4), "GRU": ("gru", 3)}.get(mode, (f"rnn_{getattr(leaf, 'nonlinearity', '')}", 1))
    get = tensors.get
    return recurrent(
        name,
        cell,
        tensors[f"weight_ih_l{i}"],
        tensors[f"weight_hh_l{i}"],
        get(f"bias_ih_l{i}"),
        get(f"bias_hh_l{i}"),
        W_hr=get(f"weight_hr_l{i}"),
        gates=gates,
    )
