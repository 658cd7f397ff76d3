"""What `streamrnn info --device` shows: what a GPU needs and what was found of it, and how many streams fit."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..gpus import Found, Gpu

__all__ = ["device_facts", "print_devices", "room_for"]

MOST_STREAMS = 2**31 - 1
"""The largest capacity of an engine."""

WAVE = 8192
"""Streams of a launch, at most: engine.cuda.device.WAVE, which only a GPU's engine may import."""

BLOCKS = 3
"""Blocks that a multiprocessor holds at once: kernels.cuda.product.LAUNCH, likewise."""


def device_facts(found: Found, room: dict[str, Any] | None = None) -> dict[str, Any]:
    """What was found as plain values; `room` is that of a model, from `room_for`."""
    facts: dict[str, Any] = {
        "packages": found.packages,
        "library": found.library,
        "driver": None if found.driver is None else "{}.{}".format(*found.driver),
        "trouble": found.trouble,
        "simulated": found.simulated,
        "gpus": [asdict(gpu) for gpu in found.gpus],
        "refusal": found.refusal,
    }
    return facts if room is None else facts | {"room": room}


def room_for(model: Any, gpus: tuple[Gpu, ...], ring: int = 16) -> dict[str, Any]:
    """Bytes of a GPU's memory that a stream of the model takes, and for each GPU those that are taken once and how many
    streams fit into what is free, or where that is not known into all of it."""
    from ..engine import Engine
    from ..engine.cuda.memory import TILE, packet

    engine = Engine(model, capacity=1, ring=ring)
    each = sum(array.nbytes for array in engine._slab)
    work = engine._work
    # What the engine asks for besides the rows of slots; engine/cuda/device.py plans it to the byte.
    wave = WAVE * (4 * work.u.shape[1] + 4 * model.spec.n_in + 8) + 2 * packet(WAVE, engine.n_in, engine.n_out)[1].stop
    program = sum(array.nbytes for array in engine._program)
    held = 4 * work.z.shape[1] + 8 * (len(work.phi) + len(work.gain))
    once = [wave + program + held * TILE * BLOCKS * gpu.multiprocessors for gpu in gpus]
    left = [gpu.memory if gpu.free is None else gpu.free for gpu in gpus]
    fit = [max(0, min(MOST_STREAMS, (a - b) // each)) for a, b in zip(left, once, strict=True)]
    return {"bytes_per_stream": each, "bytes_once": once, "streams": fit}


def print_devices(found: Found, model: str | None = None, room: dict[str, Any] | None = None) -> None:
    """The same as a table for people."""
    from rich.console import Console
    from rich.table import Table

    from ..gpus import LIBRARY
    from .board import quantity

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    for package, version in found.packages.items():
        table.add_row(package, version or "not installed")
    table.add_row(LIBRARY, "found" if found.library else "not found")
    table.add_row("driver", "none" if found.driver is None else "for CUDA {}.{}".format(*found.driver))
    if found.trouble is not None:
        table.add_row("", found.trouble)
    for gpu in found.gpus:
        table.add_row(f"GPU {gpu.number}", _words(gpu))
    if not found.gpus:
        table.add_row("GPUs", "none")
    refusal = found.refusal
    usable = "Numba's simulator" if found.simulated else "yes"
    table.add_row("usable", usable if refusal is None else f"no: {refusal.partition('; looked for')[0]}")
    if room is not None:
        streams = [
            f", {quantity(n)} fit on GPU {gpu.number}" for n, gpu in zip(room["streams"], found.gpus, strict=True)
        ]
        table.add_row(
            str(model), f"{quantity(room['bytes_per_stream'])} bytes of a GPU's memory a stream{''.join(streams)}"
        )
    Console(highlight=False, markup=False, emoji=False).print(table)


def _words(gpu: Gpu) -> str:
    free = "" if gpu.free is None else f", {gpu.free / 2**30:.1f} free"
    capability = "{}.{}".format(*gpu.capability)
    size = f"{gpu.memory / 2**30:.1f} GiB{free}"
    return f"{gpu.name}: compute capability {capability}, {gpu.multiprocessors} multiprocessors, {size}"
