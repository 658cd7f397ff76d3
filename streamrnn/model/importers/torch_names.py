"""A state dict of PyTorch, by its names alone: which tensors make up which module."""

from __future__ import annotations

import re
from collections.abc import Mapping

from streamrnn.errors import SourceError

from .order import Block
from .parts import Array, Part, dense, each, embedding, norm, recurrent

__all__ = ["PREFIXES", "blocks_of_state"]

PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""

_RECURRENT = re.compile(
    r"^(?:(?P<name>.*)\.)?(?P<what>weight|bias)_(?P<which>ih|hh|hr)(?:_l(?P<layer>\d+))?(?P<back>_reverse)?$"
)
_GATES = {4: "lstm", 3: "gru"}


def blocks_of_state(tensors: Mapping[str, Array], nonlinearity: str | None) -> tuple[list[Block], list[str]]:
    """The modules of a state dict in order of first appearance, and notes; a tensor that fits none is a SourceError.

    `nonlinearity` "tanh" or "relu" is that of Elman networks, which a state dict does not say.
    """
    groups: dict[str, dict[str, Array]] = {}
    spelled: dict[str, dict[str, str]] = {}
    for full, array in tensors.items():
        name = _short(full)
        matched = _RECURRENT.match(name)
        if matched and matched["back"]:
            raise SourceError(
                f"tensor {full!r} belongs to a bidirectional layer, which needs the future of the stream; "
                "train one that runs forwards only"
            )
        owner, leaf = (matched["name"] or "", name) if matched else name.rpartition(".")[::2]
        member = name[len(owner) + 1 :] if owner else leaf
        groups.setdefault(owner, {})[member] = array
        spelled.setdefault(owner, {})[member] = full
    notes: list[str] = []
    blocks = [
        _block(owner or "network", members, spelled[owner], nonlinearity, notes) for owner, members in groups.items()
    ]
    return blocks, notes


def _short(name: str) -> str:
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _block(
    owner: str, members: dict[str, Array], spelled: dict[str, str], nonlinearity: str | None, notes: list[str]
) -> Block:
    """The layer or layers of one module; `spelled` are the members' names in the source, for what is refused."""
    if any(_RECURRENT.match(name) for name in members):
        return Block(owner, tuple(_layers(owner, members, spelled, nonlinearity, notes)))
    strange = sorted(set(members) - {"weight", "bias"})
    if "running_mean" in members:
        raise SourceError(f"{owner} is a batch normalisation; fold it into the layer before it, or use a LayerNorm")
    if strange or "weight" not in members:
        names = each([spelled[name] for name in strange or members])
        raise SourceError(
            f"tensors {names} belong to no layer that is known: recurrent layers and cells, Linear, LayerNorm. "
            "Leave them out, or export the network to ONNX"
        )
    weight, bias = members["weight"], members.get("bias")
    if weight.ndim == 1:
        notes.append(f"{owner} is taken as a LayerNorm with epsilon 1e-5, which a state dict does not say")
        return Block(owner, (norm(owner, weight.size, weight, bias, 1e-5),))
    if weight.ndim != 2:
        raise SourceError(
            f"tensor {spelled['weight']!r} has {weight.ndim} dimensions; no convolutions or other kinds are read"
        )
    if bias is None and "emb" in owner.rpartition(".")[2].lower():
        notes.append(f"{owner} is taken as an embedding, by its name; a state dict does not say it")
        return Block(owner, (embedding(owner, weight),))
    return Block(owner, (dense(owner, weight, bias),))


def _layers(
    owner: str, members: dict[str, Array], spelled: dict[str, str], nonlinearity: str | None, notes: list[str]
) -> list[Part]:
    """The layers of one recurrent module, or the one cell."""
    by_layer: dict[int, dict[str, Array]] = {}
    for name, array in members.items():
        matched = _RECURRENT.match(name)
        if matched is None:
            raise SourceError(f"tensor {spelled[name]!r} does not belong to a recurrent layer")
        by_layer.setdefault(int(matched["layer"] or 0), {})[f"{matched['what']}_{matched['which']}"] = array
    if sorted(by_layer) != list(range(len(by_layer))):
        raise SourceError(f"{owner} has layers {sorted(by_layer)}; one between them is missing")
    return [_layer(f"{owner}[{i}]", by_layer[i], nonlinearity, notes) for i in range(len(by_layer))]


def _layer(name: str, m: dict[str, Array], nonlinearity: str | None, notes: list[str]) -> Part:
    missing = sorted({"weight_ih", "weight_hh"} - set(m))
    if missing or any(m[k].ndim != 2 for k in ("weight_ih", "weight_hh")):
        raise SourceError(
            f"{name} lacks {missing[0] if missing else 'matrices'}; a recurrent layer has weight_ih, weight_hh"
        )
    rows, columns = m["weight_hh"].shape
    projection = m.get("weight_hr")
    gates = 4 if projection is not None else rows // max(columns, 1)
    if gates == 1:
        if nonlinearity is None:
            notes.append(
                f"{name} is taken as an RNN with tanh; a state dict does not say it (nonlinearity, --nonlinearity)"
            )
        cell = f"rnn_{nonlinearity or 'tanh'}"
    elif gates in _GATES and (projection is not None or rows == gates * columns):
        cell = _GATES[gates]
    else:
        raise SourceError(f"{name}: weight_hh has shape {m['weight_hh'].shape}; that is no RNN, GRU or LSTM")
    return recurrent(
        name,
        cell,
        m["weight_ih"],
        m["weight_hh"],
        m.get("bias_ih"),
        m.get("bias_hh"),
        W_hr=projection,
        gates=gates,
    )
