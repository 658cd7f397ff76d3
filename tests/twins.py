"""One step of every kernel that has a twin on the GPU, on any device: the one body that CPU, simulator and GPU run.

    python tests/twins.py OUT     in the simulator under NUMBA_ENABLE_CUDASIM=1, else on a GPU

writes the arrays of every case to OUT, which a test compares with the CPU's, bit for bit.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numba import float32

from streamrnn._cuda import SIMULATED, block_function, cuda, exact, launched
from streamrnn.kernels import activate, embed, forms, gru, lstm, norm, readout, rnn, spread
from streamrnn.kernels.cuda.product import LAUNCH, THREADS, TILE
from streamrnn.kernels.product import STREAMS, pack, padded, padded_bias
from streamrnn.kernels.vector import LANES


def _each(kernel: Any) -> Any:
    """A kernel of one row, called as its twin is: with the array, the streams' rows, and how many they are."""

    def call(y: np.ndarray, rows: np.ndarray, *arguments: Any) -> None:
        for s in range(arguments[-1]):
            kernel(y[rows[s]], *arguments[:-1])

    return call


# By name: the CPU's kernel, pre-activations a unit, and blocks of columns of W_ih and W_hh in units.
KERNELS: dict[str, tuple[Any, int, int]] = {
    "rnn.tanh": (rnn.tanh, 1, 1),
    "rnn.relu": (rnn.relu, 1, 1),
    "rnn.reservoir": (rnn.reservoir, 1, 1),
    "lstm.lstm": (lstm.lstm, 4, 4),
    "gru.gru": (gru.gru, 4, 3),
    "forms.form": (forms.form, 4, 4),
    "readout.linear": (readout.linear, 1, 1),
    "embed.embed": (embed.embed, 1, 1),
    "norm.layer_norm": (norm.layer_norm, 1, 1),
    "activate.activate": (_each(activate.activate), 1, 1),
    "activate.softmax": (_each(activate.softmax), 1, 1),
    "spread.spread": (_each(spread.spread), 1, 1),
}


class Form(NamedTuple):
    """What kernels.forms is told of a cell: its family, the activations of gates, candidate and output, the bound, and
    whether an LSTM is projected, to as much of its units."""

    family: int
    gate: int
    act: int
    out: int
    limit: float = 1e12
    projected: float = 0.0


_A = activate
FORMS = (
    Form(forms.LSTM, _A.SIGMOID, _A.TANH, _A.TANH, projected=0.4),
    Form(forms.LSTM, _A.TANH, _A.RELU, _A.LINEAR, 0.4),
    Form(forms.GRU_AFTER, _A.SIGMOID, _A.RELU, _A.LINEAR, 0.7),
    Form(forms.GRU_BEFORE, _A.SIGMOID, _A.TANH, _A.LINEAR),
    Form(forms.ELMAN, _A.LINEAR, _A.SIGMOID, _A.LINEAR, 0.5),
    Form(forms.LSTM, _A.SIGMOID, _A.TANH, _A.SIGMOID, projected=1.0),
    Form(forms.GRU_BEFORE, _A.RELU, _A.LINEAR, _A.LINEAR, 0.3),
)

SPREADS = tuple((kind, scaled) for kind in (spread.GAUSSIAN, spread.QUANTILE) for scaled in (True, False))

# By name: how many variants of one kernel there are, where it decides at run time.
VARIANTS = {"forms.form": len(FORMS), "activate.activate": 5, "spread.spread": len(SPREADS)}


class Case(NamedTuple):
    """A kernel by name, its sizes, how many streams, how many blocks, whether inputs and weights are hard ones, and
    which variant of the kernel it is."""

    kernel: str
    n_in: int
    hidden: int
    streams: int
    blocks: int
    hard: bool = False
    variant: int = 0


# A block takes 16 streams, 128 columns and 16 terms of a sum at a time: sizes below, at and above, that do not divide.
CASES = [
    *(Case(name, 3, 5, 1, 1) for name in KERNELS),
    *(Case(name, 17, 37, 19, 1) for name in KERNELS),
    *(Case(name, 2, 33, 35, 2, hard=True) for name in KERNELS),
    *(Case(name, 5, 33, 17, 2, hard=v % 2 == 1, variant=v) for name, n in VARIANTS.items() for v in range(1, n)),
    Case("lstm.lstm", 1, 1, 3, 2),
    Case("lstm.lstm", 16, 32, 16, 1),
    Case("gru.gru", 33, 16, 17, 3),
    Case("rnn.tanh", 4, 130, 2, 1),
]


def hard(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of all sizes: zeros of both signs, subnormal ones, and far beyond every clamp."""
    a = rng.normal(size=shape) * 10.0 ** rng.integers(-44, 6, shape)
    special = np.array([0.0, -0.0, 1e-45, -1e-39, 86.0, -86.0, 9.02, 50.0, 0.5, -0.5, 1e11])
    return np.where(rng.random(shape) < 0.2, rng.choice(special, shape), a).astype("f")


def arguments(case: Case, scratch: int) -> list[Any]:
    """What the kernel is called with, the same for the same case."""
    rng = np.random.default_rng([case.n_in, case.hidden, case.streams])
    numbers = (lambda *shape: hard(rng, shape)) if case.hard else (lambda *shape: rng.normal(size=shape).astype("f"))
    _, gates, groups = KERNELS[case.kernel]
    n, n_in, H, capacity = case.streams, case.n_in, case.hidden, case.streams + 3
    rows, src_rows = rng.permutation(capacity)[:n], rng.permutation(n)
    if case.kernel == "activate.softmax":
        return [numbers(capacity, H + 4), rows, 2, H, n]
    if case.kernel == "activate.activate":
        y = numbers(capacity, H + 4)
        y[:, 3:6] *= 3e12 if case.variant != activate.SOFTMAX else 1  # beyond what linear leaves as it is
        return [y, rows, 2, H, case.variant, n]
    if case.kernel == "spread.spread":
        kind, scaled = SPREADS[case.variant]
        return [numbers(capacity, 3 * H), rows, H, kind, scaled, numbers(3 + 2 * H), 3, n]
    W_ih, W_hh = pack(numbers(n_in, groups * H)), pack(numbers(H, groups * H))
    b = padded_bias(numbers(gates * H))[: gates * H]
    src, state = numbers(n, n_in + 2), numbers(capacity, 2 * H + 5)
    z = np.zeros((scratch, padded(4 * H) + padded(4 * H) + LANES), "f")
    if case.kernel == "readout.linear":
        y = np.zeros((capacity, H + 2), "f")
        return [src, src_rows, 1, W_ih, b, y, rows, 2, z, n]
    if case.kernel == "embed.embed":
        tokens = np.array([[-1.0, rng.integers(0, n_in)] for _ in range(n)], "f")
        return [tokens, src_rows, 1, numbers(n_in * H), n_in, np.zeros((n, H + 3), "f"), 2, n]
    if case.kernel == "norm.layer_norm":
        out = np.zeros((n, H + 3), "f")
        return [numbers(n, H + 2), src_rows, 1, out, 2, numbers(H), numbers(H), np.float32(1e-5), n]
    if case.kernel == "forms.form":
        return _form(case, numbers, [src, src_rows, 1], [state, rows, 3], z)
    leak = [np.abs(numbers(H)).clip(0.01, 1)] if case.kernel == "rnn.reservoir" else []
    return [src, src_rows, 1, state, rows, 3, W_ih, W_hh, b, *leak, z, n]


def _form(case: Case, numbers: Any, source: list[Any], target: list[Any], z: np.ndarray) -> list[Any]:
    """The arguments of `forms.form`."""
    form, n_in, H = FORMS[case.variant], case.n_in, case.hidden
    P = max(1, int(form.projected * H)) if form.projected else H
    before = form.family == forms.GRU_BEFORE
    gates, inputs, hidden = {
        forms.ELMAN: (1, 1, 1), forms.LSTM: (4, 4, 4), forms.GRU_AFTER: (4, 3, 3), forms.GRU_BEFORE: (4, 3, 2)
    }[form.family]  # fmt: skip
    W_ih, W_hh = pack(numbers(n_in, inputs * H)), pack(numbers(P, hidden * H))
    W_2 = pack(numbers(H, P)) if before or form.projected else np.zeros(0, "f")
    b = padded_bias(numbers(gates * H))[: gates * H]
    acts = form.gate, form.act, form.out, np.float32(form.limit)
    own = np.arange(max(TILE, STREAMS))
    return [form.family, *source, n_in, *target, P, W_ih, W_hh, W_2, b, *acts, z, own, case.streams]


def written(case: Case, args: list[Any]) -> np.ndarray:
    """The array that the kernel has written to."""
    at = {"readout.linear": 5, "embed.embed": 5, "forms.form": 5, "spread.spread": 0}
    return args[at.get(case.kernel, 0 if case.kernel.startswith("activate.") else 3)]


def on_cpu(case: Case) -> np.ndarray:
    args = arguments(case, STREAMS)
    KERNELS[case.kernel][0](*args)
    return written(case, args)


def twin(name: str) -> Any:
    """A kernel's twin."""
    module, function = name.split(".")
    return getattr(import_module(f"streamrnn.kernels.cuda.{module}"), function)


def on_device(case: Case) -> np.ndarray:
    """The same by the twin: in the simulator, or on a GPU."""
    args = arguments(case, case.blocks * TILE)
    with exact():
        launched(twin(case.kernel), LAUNCH)[case.blocks, THREADS](*args)
    return written(case, args)


def _racy(out, n):
    """Each thread reads what its neighbour wrote, with a barrier between only where n is not 0."""
    held = cuda.shared.array(32, float32)
    t = cuda.threadIdx.x
    held[t] = out[t]
    if n != 0:
        cuda.syncthreads()
    out[t] = held[(t + 1) % 32]


def races() -> dict[str, int]:
    """How many races there are in a kernel without its barrier, in that kernel with it, and in a case of every twin."""
    from races import watched  # the simulator's parts alone

    found = {}
    for name, barrier in (("racy", 0), ("mended", 1)):
        with watched() as watch:
            launched(block_function(_racy), (32, 1))[1, 32](np.zeros(32, "f"), barrier)
        found[name] = len(watch.races)
    for kernel in KERNELS:
        found[kernel] = 0
        for variant in range(VARIANTS.get(kernel, 1)):
            with watched() as watch:
                on_device(Case(kernel, 18, 33, 18, 2, variant=variant))
            assert watch.accesses > 1_000
            found[kernel] += len(watch.races)
    return found


def alone() -> None:
    """Keep this process on one processor: the simulator's threads take turns, five times slower on two."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


if __name__ == "__main__":
    alone()
    arrays = {str(i): on_device(case) for i, case in enumerate(CASES)}
    np.savez(sys.argv[1], **arrays, races=np.array(json.dumps(races() if SIMULATED else {})))
