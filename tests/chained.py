"""A step of whole networks, every kind of layer and of head among them, by the engine and by its chain on a GPU.

    python tests/chained.py OUT     in the simulator under NUMBA_ENABLE_CUDASIM=1, else on a GPU

writes outputs and states of every network to OUT, which a test compares with the engine's, bit for bit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from networks import FORMS, forecaster, form, speaker

from streamrnn import Model
from streamrnn._cuda import block_function, exact, launched
from streamrnn.engine.cuda.chain import forecast, layers, readout
from streamrnn.engine.program import Layout, Sizes, build_program, make_layout, new_work
from streamrnn.kernels.cuda.product import LAUNCH, THREADS, TILE
from streamrnn.kernels.numerics import LIMIT
from streamrnn.model import LayerSpec, ModelSpec
from streamrnn.model.weights import random_weights


def _cells() -> Model:
    """One of each plain cell, and class probabilities."""
    cells = ("rnn_tanh", "rnn_relu", "lstm", "gru", "reservoir")
    widths = (3, 7, 5, 18, 4, 33)
    stack = tuple(LayerSpec(c, *widths[i : i + 2]) for i, c in enumerate(cells))
    spec = ModelSpec(3, 11, stack, "classify")
    return Model(spec, random_weights(spec, 0))


NETWORKS: dict[str, Callable[[], Model]] = {
    **{name: partial(form, name) for name in FORMS},
    "cells": _cells,
    "forecast": partial(forecaster, normaliser="none"),
    "gaussian": partial(forecaster, "gaussian"),
    "gaussian_unscaled": partial(forecaster, "gaussian", normaliser="none"),
    "quantile": partial(forecaster, "quantile", n=9),
    "quantile_unscaled": partial(forecaster, "quantile", normaliser="none"),
    "tokens": speaker,
    "tokens_classify": partial(speaker, head="classify", n_out=3),
    "tokens_dense": partial(speaker, readout="none"),
}

STREAMS = {"cells": 19, "norms": 17, "dense": 18}
"""Streams of a network's wave where they are more than a tile; else FEW."""

FEW = 3
STEPS = 2


class Wave:
    """What a network is given: x (STEPS, n, n_in), and each stream's h and c of every layer to begin with, by name."""

    def __init__(self, name: str) -> None:
        self.model = NETWORKS[name]()
        self.n = STREAMS.get(name, FEW)
        spec, rng = self.model.spec, np.random.default_rng(len(name))
        shape = STEPS, self.n, spec.n_in
        self.x = rng.normal(size=shape).astype("f") if not spec.tokens else rng.integers(0, spec.tokens, shape)
        self.layout: Layout = make_layout(spec)
        self.names = [name for name in self.layout.parts if name[:2] in ("h_", "c_")]
        shapes = {name: self.layout.parts[name][2] for name in self.names}
        self.begin = [{k: rng.uniform(-1, 1, s).astype("f") for k, s in shapes.items()} for _ in range(self.n)]

    def u(self, step: int) -> np.ndarray:
        """What the network is given of x: normalised by fixed numbers, if at all."""
        x = self.x[step].astype("f").clip(-LIMIT, LIMIT)
        if self.model.spec.normaliser != "fixed":
            return x
        arrays = self.model.arrays
        return ((x - arrays["normaliser.mean"]) / arrays["normaliser.scale"]).clip(-LIMIT, LIMIT)


def on_cpu(name: str) -> dict[str, np.ndarray]:
    """y of each step, and every state behind the last one."""
    from streamrnn import Engine

    wave = Wave(name)
    engine = Engine(wave.model, capacity=wave.n)
    streams = [f"s{i}" for i in range(wave.n)]
    for stream in streams:
        engine.step(stream, wave.x[0, 0].astype("f"))
    for stream, begin in zip(streams, wave.begin, strict=True):
        saved = engine.state(stream)
        engine.load_state(stream, replace(saved, arrays={**saved.arrays, **begin}))
    y = np.stack([engine.step_many(streams, x.astype("f")).y for x in wave.x])
    states = [engine.state(stream).arrays for stream in streams]
    return {"y": y, **{part: np.stack([arrays[part] for arrays in states]) for part in wave.names}}


@block_function
def network(sizes, table, weights, state, slots, u, rows, z, n, y):
    """Every layer, the readout, and what follows it, as one launch has them one after the other."""
    layers(table, weights, state, slots, u, rows, z, n)
    readout(sizes, table, weights, state, slots, u, rows, z, n, y)
    forecast(sizes, weights, rows, n, y)


def on_device(name: str, blocks: int = 1) -> dict[str, np.ndarray]:
    """The same by the twins: in the simulator, or on a GPU."""
    wave = Wave(name)
    n, layout = wave.n, wave.layout
    program, columns = build_program(wave.model, 0), new_work(wave.model).z.shape[1]
    slots = np.random.default_rng(1).permutation(n + 3)[:n]
    state = np.zeros((n + 3, layout.state_width), "f")
    places = {
        part: slice(layout.parts[part][1], layout.parts[part][1] + layout.parts[part][2][0]) for part in wave.names
    }
    for slot, begin in zip(slots, wave.begin, strict=True):
        for part, columns_of in places.items():
            state[slot, columns_of] = begin[part]
    u, z = np.zeros((n, layout.u_width), "f"), np.zeros((blocks * TILE, columns), "f")
    y, rows = np.zeros((STEPS, n, wave.model.spec.n_out), "f"), np.arange(max(n, TILE))
    kernel: Any = launched(network, LAUNCH)
    sizes = Sizes(*program.sizes.tolist())
    for step in range(STEPS):
        u[:, : wave.x.shape[2]] = wave.u(step)
        with exact():
            kernel[blocks, THREADS](sizes, program.layers, program.weights, state, slots, u, rows, z, n, y[step])
    return {"y": y, **{part: state[slots][:, columns_of] for part, columns_of in places.items()}}


if __name__ == "__main__":
    from twins import alone

    alone()
    out = {f"{name} {part}": a for name in NETWORKS for part, a in on_device(name, 1 + (name == "cells")).items()}
    np.savez(sys.argv[1], **out)
