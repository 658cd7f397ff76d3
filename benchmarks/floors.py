"""Are we still as fast as we were? Ratios against committed floors, in well under a minute; CI runs it.

    python benchmarks/floors.py

Times differ from machine to machine; ratios of two measurements in one run differ little. Both are in processor time,
so that a busy machine is no regression. A ratio below its floor in floors.toml is measured again, and fails at the
third attempt. What is measured is compared with streams stepped alone first, to the last bit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import thread_time

import carriage
import numpy as np
from cases import TIMED, samples
from ceilings import ceilings
from kernels import STREAMS, bare, batch, check, from_python

from streamrnn.measure import interleaved, per_call

ROUNDS, ATTEMPTS = 7, 3
FLOORS = Path(__file__).parent / "floors.toml"


def read_floors() -> dict[str, float]:
    """The table [floors]; its lines are `name = number`, which Python 3.10 has no reader for."""
    pairs = (line.partition("=") for line in FLOORS.read_text(encoding="utf-8").splitlines() if "=" in line[:60])
    return {name.strip(): float(value) for name, _, value in pairs if not name.startswith("#")}


def numpy_step() -> Callable[[], float]:
    """Measures ns of an LSTM-64 step, layers alone, as NumPy does it."""
    model = TIMED["lstm"][2].model(seed=1)
    a = model.arrays
    W, R, b = a["weight_ih_l0"], a["weight_hh_l0"], a["bias_ih_l0"] + a["bias_hh_l0"]
    x = samples(2, 4)[1]
    state = [np.zeros(64, np.float32), np.zeros(64, np.float32)]

    def step() -> None:
        i, f, g, o = np.split(W @ x + R @ state[0] + b, 4)
        c = state[1] / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        state[:] = np.tanh(c) / (1 + np.exp(-o)), c

    measure = per_call(step, clock=thread_time)
    return lambda: measure() * 1e9


def ratios() -> dict[str, float]:
    """Every ratio by its name in floors.toml."""
    lstm, gru, elman = (TIMED[cell] for cell in ("lstm", "gru", "rnn_tanh"))
    limits = ceilings()
    contestants: dict[str, Callable[[], float]] = {
        "fma": limits["fma"],
        "l2": limits["l2"],
        "step": bare(lstm[3], 1),
        "tile": bare(lstm[2], STREAMS),
        "gru": bare(gru[2], STREAMS),
        "elman": bare(elman[2], STREAMS),
        "batch64": batch(lstm[2].model(seed=1), STREAMS),
        "batch16": batch(lstm[0].model(seed=1), STREAMS),
        "call16": from_python(lstm[0]),
        "call64": from_python(lstm[2]),
        "numpy": numpy_step(),
    }
    with ExitStack() as stack:
        contestants |= carriage.paths(stack)
        m = {name: median(values) for name, values in interleaved(contestants, ROUNDS).items()}
    rate = lstm[2].flops / m["tile"]
    return {
        "tile_of_fma": rate / m["fma"],
        "step_of_l2": lstm[3].flops / m["step"] / m["l2"],
        "layers_of_batch": m["tile"] / m["batch64"],
        "gru_of_lstm": gru[2].flops / m["gru"] / rate,
        "elman_of_lstm": elman[2].flops / m["elman"] / rate,
        "batch_over_call": m["call16"] / m["batch16"],
        "call_over_numpy": m["numpy"] / m["call64"],
        "compiled_over_pyzmq": m["pyzmq"] / m["compiled"],
    }


def failures(found: dict[str, float], floors: dict[str, float]) -> list[str]:
    """What is below its floor, in words; KeyError where the two do not name the same ratios.

    >>> failures({"a": 2.0, "b": 0.1}, {"a": 1.0, "b": 0.2})
    ['b is 0.10, below its floor of 0.20']
    """
    if found.keys() != floors.keys():
        raise KeyError(f"measured and not in floors.toml, or the other way round: {found.keys() ^ floors.keys()}")
    return [f"{k} is {found[k]:.2f}, below its floor of {floors[k]:.2f}" for k in floors if not found[k] >= floors[k]]


def main() -> None:
    check()
    floors = read_floors()
    best: dict[str, float] = {}
    wrong: list[str] = []
    for attempt in range(ATTEMPTS):
        found = ratios()
        best = {k: max(v, best.get(k, 0.0)) for k, v in found.items()}
        wrong = failures(best, floors)
        if not wrong:
            break
        print(f"attempt {attempt + 1}: {'; '.join(wrong)}", flush=True)
    for name, value in best.items():
        print(f"{name:20}{value:8.2f}   floor {floors[name]:.2f}")
    if wrong:
        sys.exit("slower than it was: " + "; ".join(wrong))


if __name__ == "__main__":
    main()
