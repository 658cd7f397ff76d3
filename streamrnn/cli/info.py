"""`streamrnn info`: what is in a model, and what GPUs there are."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..errors import ConfigError

__all__ = ["describe", "info", "parity_words"]

SAMPLE_STREAMS = 1024
"""Streams of the engine that is measured; its arrays grow in proportion to them."""


def info(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="A model file, a built-in model, or 'adaptive'.")
    ] = None,
    n_in: Annotated[
        int | None,
        typer.Option("--n-in", min=1, max=4096, show_default="4", help="Channels of the adaptive model."),
    ] = None,
    device: Annotated[
        bool, typer.Option("--device", help="Show the GPUs found here, and how many streams of the model fit.")
    ] = False,
    measure: Annotated[bool, typer.Option("--measure", help="Measure a step here, besides predicting it.")] = False,
    card: Annotated[
        bool, typer.Option("--card", help="What a built-in model is for, and what it cannot do; nothing else.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> int:
    """Show what is in a model, or what GPUs there are.

    Layers, channels, head, detector, origin, what a step costs, and the memory that a stream of it takes. With
    --device driver, GPUs and their memory instead.

    Example: streamrnn info adaptive --n-in 8
    """
    from ..model.builtin import BUILTINS, card_path
    from .models import load_sized

    if model is None:
        if not device:
            raise typer.BadParameter("give a MODEL to describe, or --device")
        _devices(None, None, json)
        return 0
    beside = card_path(model)
    if card:
        if beside is None:
            raise ConfigError(f"{model!r} has no card; the built-in models have one: {', '.join(BUILTINS)}")
        print(beside.read_text(encoding="utf-8"), end="")
        return 0
    loaded = load_sized(model, n_in)
    if device:
        _devices(model, loaded, json)
        return 0
    facts = describe(loaded)
    if measure:
        facts["step"] |= _measured(loaded)
    if json:
        from json import dumps

        print(dumps({"model": model, **facts, "card": None if beside is None else str(beside)}))
    else:
        _print(model, facts, None if beside is None else f"streamrnn info {model} --card")
    return 0


def _devices(name: str | None, model: Any, json: bool) -> None:
    from ..gpus import look
    from .gpus import device_facts, print_devices, room_for

    found = look(free=True)
    room = None if model is None else room_for(model, found.gpus)
    if json:
        from json import dumps

        print(dumps({"model": name, **device_facts(found, room)}))
    else:
        print_devices(found, name, room)


def describe(model: Any) -> dict[str, Any]:
    """The model as plain values, with `bytes_per_stream` by what they hold, and what a `step` costs."""
    from dataclasses import asdict

    from ..engine import Engine
    from ..model.cost import cost_of

    sizes = Engine(model, capacity=SAMPLE_STREAMS).nbytes
    each = {name: round(size / SAMPLE_STREAMS) for name, size in sizes.items()}
    return {
        **model.describe(),
        "bytes_per_stream": {**each, "total": sum(each.values())},
        "step": asdict(cost_of(model.spec, each["state"])),
    }


def _measured(model: Any) -> dict[str, float]:
    """Microseconds of a sample here, in a burst of many streams and alone: medians of a fifth of a second each."""
    from statistics import median
    from time import perf_counter

    import numpy as np

    from ..engine import Engine

    engine = Engine(model, capacity=SAMPLE_STREAMS)
    handles = engine.handles([f"s{i}" for i in range(SAMPLE_STREAMS)])
    rng = np.random.default_rng(0)
    tokens = model.spec.tokens
    given = (
        rng.integers(0, tokens, (SAMPLE_STREAMS, 1)) if tokens else rng.normal(size=(SAMPLE_STREAMS, model.spec.n_in))
    )
    X = given.astype(np.float32)
    one, x = int(handles[0]), X[0]

    def timed(call: Any, samples: int) -> float:
        call()  # compiles, and warms the caches
        taken: list[float] = []
        until = perf_counter() + 0.2
        while perf_counter() < until or len(taken) < 3:
            start = perf_counter()
            call()
            taken.append(perf_counter() - start)
        return round(median(taken) / samples * 1e6, 3)

    burst = timed(lambda: engine.step_many(handles, X), SAMPLE_STREAMS)
    return {"measured_burst_us": burst, "measured_alone_us": timed(lambda: engine.step(one, x), 1)}


def parity_words(parity: Any) -> str:
    """What a provenance says of the comparison with the original, in words.

    >>> parity_words({"against": "torch 2.13.0", "steps": 1000, "max_difference": 1.2e-07})
    'largest difference 1.2e-07 over 1,000 steps against torch 2.13.0'
    """
    if not isinstance(parity, dict):
        return str(parity)
    return f"largest difference {parity['max_difference']} over {parity['steps']:,} steps against {parity['against']}"


def _step_words(step: dict[str, Any]) -> str:
    from .board import quantity

    lines = [
        f"{quantity(step['flops'])} FLOPs; {quantity(step['weight_bytes'])} bytes of weights, "
        f"{quantity(step['state_bytes'])} of state",
        f"predicted {step['burst_us']:.2g} µs in a burst, {step['alone_us']:.2g} µs alone from Python",
    ]
    if "measured_burst_us" in step:
        lines.append(
            f"measured {step['measured_burst_us']:.2g} µs in a burst, {step['measured_alone_us']:.2g} µs alone"
        )
    return "\n".join(lines)


def _forecast_words(facts: dict[str, Any]) -> str:
    """What a forecast says, of which sample.

    >>> _forecast_words({"horizon": 10, "spread": "quantile", "quantiles": [0.1, 0.9], "tokens": 0})
    'median and quantiles 0.1, 0.9, 10 samples ahead'
    """
    what = {
        "none": "probabilities" if facts["tokens"] else "value",
        "gaussian": "mean and standard deviation",
        "quantile": "median and quantiles " + ", ".join(f"{q:g}" for q in facts["quantiles"]),
    }[facts["spread"]]
    n = facts["horizon"]
    return f"{what}, {n} sample{'s' * (n > 1)} ahead"


def _print(name: str, facts: dict[str, Any], card: str | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..model.layers import layer_from_json
    from .board import quantity

    layers = [str(layer_from_json(layer)) for layer in facts["layers"]]
    channels = [
        f"{feature} ({unit})" if unit else feature
        for feature, unit in zip(facts["features"], facts["units"], strict=True)
    ]
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_row("model", name)
    if card is not None:
        table.add_row("card", f"{card} prints what it is for, and its limits")
    table.add_row("fingerprint", facts["fingerprint"])
    table.add_row("head", f"{facts['head']}, {facts['n_in']} in, {facts['n_out']} out, {facts['readout']} readout")
    if facts["head"] == "forecast":
        table.add_row("forecast", _forecast_words(facts))
    table.add_row("layers", "\n".join(layers))
    table.add_row("channels", ", ".join(channels))
    table.add_row("normaliser", facts["normaliser"] + (", time of day as input" if facts["clock"] else ""))
    table.add_row("parameters", quantity(facts["parameters"]))
    table.add_row("a step", _step_words(facts["step"]))
    sizes = facts["bytes_per_stream"]
    parts = ", ".join(f"{key} {quantity(size)}" for key, size in sizes.items() if key != "total")
    table.add_row("a stream", f"{quantity(sizes['total'])} bytes: {parts}")
    table.add_row("detector", _pairs(facts["detector"]))
    if facts["learning"]:
        table.add_row("learning", _pairs(facts["learning"]))
    origin = dict(facts["provenance"])
    parity, notes = origin.pop("parity", None), origin.pop("notes", [])
    deep = sorted(name for name, value in origin.items() if isinstance(value, dict))
    flat = {name: value for name, value in origin.items() if name not in deep}
    table.add_row("origin", _pairs(flat) or "not recorded")
    if deep:
        table.add_row("", f"{', '.join(deep)}: see --json")
    if parity is not None:
        table.add_row("parity", parity_words(parity))
    if notes:
        table.add_row("notes", "\n".join(notes))
    Console(highlight=False, markup=False, emoji=False).print(table)


def _pairs(values: dict[str, Any]) -> str:
    """Names and values in one line."""
    texts = {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in values.items()}
    return ", ".join(f"{name} {text}" for name, text in texts.items())
