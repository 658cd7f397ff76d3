"""Which part comes after which, where the source says only what parts there are.

The order of registration is nearly always that of use, but neither a state dict nor a safetensors file promises it. The
widths decide: each part takes what the one before it gives. Where they leave a choice, a person is asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from streamrnn.errors import SourceError

from ..layers import ACTIVATIONS
from .parts import Part, activation, each

__all__ = ["Block", "arrange"]

MAX_FOUND = 5
"""Orders that are listed before the search gives up."""


@dataclass(frozen=True)
class Block:
    """What belongs together under one name: a module, with a part for each of its layers."""

    name: str
    parts: tuple[Part, ...]

    @property
    def n_in(self) -> int:
        return self.parts[0].layer.n_in

    @property
    def width(self) -> int:
        return self.parts[-1].layer.width


def arrange(blocks: Sequence[Block], *, registered: bool, order: Sequence[str] | None = None) -> list[Block]:
    """The blocks as a chain: as `order` names them; as registered, where that fits; else the only order that fits."""
    if order is not None:
        return _as_named(blocks, order)
    if registered and all(a.width == b.n_in for a, b in pairwise(blocks)):
        return list(blocks)
    found = _orders(blocks)
    if len(found) == 1:
        return found[0]
    names = each([f"{block.name} ({block.n_in} to {block.width})" for block in blocks], str)
    if not found:
        raise SourceError(f"the parts of the source do not fit together as one chain: {names}")
    proposals = " or ".join(",".join(block.name for block in chain) for chain in found[:MAX_FOUND])
    raise SourceError(
        f"the source does not say in which order its parts follow each other, and more than one fits: say it with "
        f"order (--order), for example {proposals}"
    )


def _as_named(blocks: Sequence[Block], order: Sequence[str]) -> list[Block]:
    """The blocks by name, and activations between them by theirs."""
    named = {block.name: block for block in blocks}
    if sorted(name for name in order if name in named or name not in ACTIVATIONS) != sorted(named):
        raise SourceError(
            f"order names {each(list(order))}; the source has {each(list(named))}, each once. Between them "
            f"{', '.join(ACTIVATIONS[1:])} may stand"
        )
    chain: list[Block] = []
    for name in order:
        if name not in named and not chain:
            raise SourceError(f"order begins with {name!r}; an activation follows a layer")
        chain.append(named[name] if name in named else Block(name, (activation(name, chain[-1].width, name),)))
    return chain


def _numbers(name: str) -> tuple[str, tuple[int, ...]]:
    return re.sub(r"\d+", "#", name), tuple(int(n) for n in re.findall(r"\d+", name))


def _orders(blocks: Sequence[Block]) -> list[list[Block]]:
    """Every chain of all blocks whose widths fit, up to MAX_FOUND + 1. Names that differ in numbers follow these."""
    found: list[list[Block]] = []
    keys = [_numbers(block.name) for block in blocks]

    def extend(chain: list[int]) -> None:
        if len(found) > MAX_FOUND:
            return
        if len(chain) == len(blocks):
            found.append([blocks[k] for k in chain])
            return
        for k, block in enumerate(blocks):
            if k in chain or (chain and blocks[chain[-1]].width != block.n_in):
                continue
            earlier = (j for j in range(len(blocks)) if keys[j][0] == keys[k][0] and keys[j][1] < keys[k][1])
            if all(j in chain for j in earlier):
                extend([*chain, k])

    extend([])
    return found
