"""`streamrnn info`: what is in a model."""

from __future__ import annotations

from typing import Annotated, Any

import typer

__all__ = ["describe", "info"]

SAMPLE_STREAMS = 1024
"""Streams of the engine that is measured; its arrays grow in proportion to them."""


def info(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model file, or the word 'adaptive'.")],
    n_in: Annotated[int, typer.Option("--n-in", min=1, max=4096, help="Channels of the adaptive model.")] = 4,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> int:
    """Show what is in a model.

    Layers, channels, head, detector, origin, and the memory that a stream of it takes.

    Example: streamrnn info adaptive --n-in 8
    """
    from .models import load

    facts = describe(load(model, [f"x{i}" for i in range(n_in)]))
    if json:
        from json import dumps

        print(dumps({"model": model, **facts}))
    else:
        _print(model, facts)
    return 0


def describe(model: Any) -> dict[str, Any]:
    """The model as plain values, with `bytes_per_stream` by what they hold, and their `total`."""
    from ..engine import Engine

    sizes = Engine(model, capacity=SAMPLE_STREAMS).nbytes
    each = {name: round(size / SAMPLE_STREAMS) for name, size in sizes.items()}
    return {**model.describe(), "bytes_per_stream": {**each, "total": sum(each.values())}}


def _print(name: str, facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from .board import quantity

    layers = [f"{layer['cell']} {layer['n_in']} -> {layer['hidden']}" for layer in facts["layers"]]
    channels = [
        f"{feature} ({unit})" if unit else feature
        for feature, unit in zip(facts["features"], facts["units"], strict=True)
    ]
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_row("model", name)
    table.add_row("fingerprint", facts["fingerprint"])
    table.add_row("head", f"{facts['head']}, {facts['n_in']} in, {facts['n_out']} out, {facts['readout']} readout")
    table.add_row("layers", "\n".join(layers))
    table.add_row("channels", ", ".join(channels))
    table.add_row("normaliser", facts["normaliser"] + (", time of day as input" if facts["clock"] else ""))
    table.add_row("parameters", quantity(facts["parameters"]))
    sizes = facts["bytes_per_stream"]
    parts = ", ".join(f"{key} {quantity(size)}" for key, size in sizes.items() if key != "total")
    table.add_row("a stream", f"{quantity(sizes['total'])} bytes: {parts}")
    table.add_row("detector", _pairs(facts["detector"]))
    if facts["learning"]:
        table.add_row("learning", _pairs(facts["learning"]))
    table.add_row("origin", _pairs(facts["provenance"]) or "not recorded")
    Console(highlight=False).print(table)


def _pairs(values: dict[str, Any]) -> str:
    """Names and values in one line."""
    texts = {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in values.items()}
    return ", ".join(f"{name} {text}" for name, text in texts.items())
