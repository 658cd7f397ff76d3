"""What whole engines say on any device: the one body that CPU, simulator and GPU run.

    python tests/engines.py OUT     in the simulator under NUMBA_ENABLE_CUDASIM=1, else on a GPU

writes everything that the engines of every kind of model say to OUT, which a test compares with the CPU's, bit for bit.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import zmq
from networks import CASES, CELLS, FORMS, forecaster, form, samples, speaker
from pumps import PATHS, Bench, timeless

from streamrnn import Engine, Model
from streamrnn.burst import Burst, Results
from streamrnn.errors import DeviceError
from streamrnn.transport.fleet import Fleet

CAPACITY, RING = 19, 3
"""More streams than a block takes at once, and a ring that comes round."""

PAST = 300
"""Samples until detectors know days, with 1,000 seconds from one to the next."""

_T = 1_700_000_000 * 10**9
MARGINS = ("envelope", "level", "residual", "daily", "missing")

Pieces = Iterator[tuple[str, np.ndarray]]


def _models() -> dict[str, Callable[[], Model]]:
    """Every kind of model: the cells in odd sizes, every form of layer, every head, spread, normaliser and input."""
    odd = {case.cell: case for case in CASES if case.hidden == (16, 7, 33)}
    return {
        **{cell: odd[cell].model for cell in CELLS},
        **{name: lambda name=name: form(name, 1) for name in FORMS},  # type: ignore[misc]
        "adaptive": lambda: Model.adaptive(3, hidden=17, seed=2),
        "adaptive_wide": lambda: Model.adaptive(9, hidden=8, seed=3),
        "classify": lambda: Model.random("gru", n_in=3, hidden=7, n_out=5, head="classify", seed=1),
        "forecast": lambda: Model.random("lstm", n_in=3, hidden=9, seed=2, head="forecast"),
        "forecast_fixed": lambda: forecaster("none", horizon=2, seed=3),
        "gaussian": lambda: forecaster("gaussian", seed=4),
        "quantile": lambda: forecaster("quantile", horizon=3, seed=5),
        "quantile_none": lambda: forecaster("quantile", normaliser="none", seed=6),
        "tokens": lambda: speaker(surprise_mean=4.0, surprise_scale=0.5, hold=2),
        "tokens_none": lambda: speaker(readout="none", horizon=2),
        "tokens_classify": lambda: speaker(head="classify", n_out=4),
        "unscored": lambda: forecaster("none", detector=dict.fromkeys(MARGINS, 0.0)),
    }


MODELS = _models()
COMPILED = (
    "lstm",
    "gru_before",
    "dense",
    "adaptive",
    "classify",
    "quantile",
    "tokens",
    "rnn_tanh",
    "rnn_relu",
    "forecast_fixed",
)
"""Kinds whose kernels are looked at: between them, they have all that there is in any."""

LIVES = ("lstm", "adaptive", "quantile", "tokens")
"""Kinds whose streams go through everything that can happen to a stream."""


def inputs(model: Model, n: int, seed: int) -> np.ndarray:
    """Samples with some channels missing and jumps that raise flags; or tokens."""
    rng = np.random.default_rng(seed)
    if model.spec.tokens:
        return rng.integers(0, model.spec.tokens, n)
    x = samples(n, model.spec.n_in, seed)
    x[rng.random(x.shape) < 0.08] = np.nan
    x[rng.random(x.shape) < 0.05] *= 30
    return x


def _said(name: str, out: Any) -> Pieces:
    """All of an Outputs."""
    for part in ("y", "score", "flag", "edge", "n", "missing", "cause_code"):
        yield f"{name}.{part}", getattr(out, part)


def _state(name: str, engine: Engine, stream: str) -> Pieces:
    state = engine.state(stream)
    yield f"{name}.n", np.array(state.n)
    for part, array in state.arrays.items():
        yield f"{name}.{part}", array


def steps(model: Model, device: str) -> Pieces:
    """A few steps of many streams, by handles, some of them twice in a burst, and what they leave behind.

    Half of them have a past, which the CPU has stepped: detectors that are settled, in days of time.
    """
    engine, past = Engine(model, CAPACITY, ring=RING, device=device), Engine(model, CAPACITY, ring=RING)
    ids = [f"s{i}" for i in range(17)]
    handles, old = engine.handles(ids), past.handles(ids[::2])
    for k in range(PAST):
        past.step_many(old, inputs(model, len(old), seed=100 + k), t=np.full(len(old), _T + (k - PAST) * 1000 * 10**9))
    for stream in ids[::2]:
        engine.load_state(stream, past.state(stream))
    for k, rows in enumerate((np.arange(17), np.array([3, 16, 0, 3]))):
        t = _T + 10**9 * np.arange(100 * k, 100 * k + len(rows))
        yield from _said(f"step {k}", engine.step_many(handles[rows], inputs(model, len(rows), k), t=t if k else None))
    for stream in ("s3", "s16"):
        yield from _state(stream, engine, stream)
        yield f"{stream}.info", np.array(json.dumps({**engine.stream_info(stream), "last_recv": 0}))


def life(model: Model, device: str, other: str) -> Pieces:
    """What happens to streams: ids, eviction, resets, single steps, bursts, states from device to device and back."""
    engine = Engine(model, 4, ring=RING, device=device)
    x = iter(inputs(model, 200, seed=7))

    def some(n: int) -> np.ndarray:
        return np.array([next(x) for _ in range(n)])

    ids = ["a", "b", "a", "c", "d", "a", "e", "b"]  # five streams, of which four live at once
    yield from _said("ids", engine.step_many(ids, some(8), reset=[i == 5 for i in range(8)]))
    single = [engine.step("e", next(x), t=_T), engine.step("new", next(x)), engine.step("e", next(x), reset=True)]
    handle = int(engine.handles(["e"])[0])
    single += [engine.step(handle, next(x), t=_T + 10**9), engine.step(handle, next(x))]
    yield "single", np.array([repr((o.y.tobytes(), *o[1:])) for o in single])
    engine.reset("e")
    yield from _state("reset", engine, "e")
    engine.evict("new")
    yield from _said("after", engine.step_many(["e", "new", "e"], some(3)))
    burst, results = Burst(9, model.spec.n_in), Results(9, model.spec.n_in, model.spec.n_out)
    for stream, seq in (("e", 1), ("f", 1), ("e", 1), ("e", 3), ("f", 2), ("g", 1), ("e", 2)):
        burst.add(stream.encode(), np.atleast_1d(next(x)), seq=seq, t=_T + seq, reset=seq == 3)
    engine.ingest(burst, results)
    for part in ("verdict", "y", "score", "flag", "edge", "cause", "count", "epoch", "missing", "gap", "slot"):
        accepted = (results.verdict == 0) if part != "verdict" else np.ones(9, bool)
        yield f"burst.{part}", getattr(results, part)[:7][accepted[:7]]
    second = Engine(model, 3, ring=RING, device=other)
    second.load_state("there", engine.state("e"))
    yield from _said("there", second.step_many(["there"] * 2, some(2)))
    engine.load_state("back", second.state("there"))
    yield from _said("back", engine.step_many(["back", "g"], some(2)))
    yield from _state("back", engine, "back")
    yield "events", np.array([repr(e) for e in [*engine.events(), *second.events()]])
    yield "alive", np.array(sorted(engine))


def wire(device: str) -> Pieces:
    """What either data path publishes of a burst of samples, a block, and streams that come and go."""
    model = MODELS["forecast"]()
    x = np.nan_to_num(inputs(model, 60, seed=9))
    for path in PATHS:
        with zmq.Context() as context:
            fleet = Fleet(lambda _: Engine(model, 4, ring=RING, device=device), 3, 8)
            bench = Bench(context, fleet, path=path)
            try:
                for k in range(12):
                    bench.sample(f"s{k % 3}", x[k].tolist(), seq=k, t=_T + k)
                bench.block(["s0", "s1", "s4", "s5"], x[20:24])
                bench.sample("s0", x[30].tolist(), seq=9, t=_T, reset=True)
                said = [b" ".join(timeless(frames)) for frames in bench.raw()]
            finally:
                bench.close()
        yield path, np.array([line.hex() for line in said])


def everything(device: str) -> dict[str, np.ndarray]:
    """All that engines say on a device: names are kind of model, story, and what is said."""
    found = {}
    for kind, make in MODELS.items():
        model = make()
        found |= {f"{kind}/steps/{name}": array for name, array in steps(model, device)}
        if kind in LIVES:
            found |= {f"{kind}/life/{name}": array for name, array in life(model, device, "cpu")}
    found |= {f"wire/{name}": array for name, array in wire(device)}
    return found


RACED = ("lstm", "adaptive", "dense", "quantile", "tokens", "gru_before_wide")


def races(device: str) -> dict[str, list[str]]:
    """Data races in a launch, by kind of model: 18 streams by two blocks, one of them anew."""
    from races import watched  # the simulator's parts alone

    found = {}
    for kind in RACED:
        model = MODELS[kind]()
        engine = Engine(model, 18, ring=RING, device=device)
        handles = engine.handles([f"s{i}" for i in range(18)])
        engine.step_many(handles, inputs(model, 18, 1))
        with watched() as watch:
            engine.step_many(handles, inputs(model, 18, 2), reset=[i == 5 for i in range(18)])
        assert watch.accesses > 1_000
        found[kind] = watch.races
    return found


def _refused(action: Callable[[], Any], kinds: tuple[type[BaseException], ...] = (DeviceError,)) -> str:
    """The class and the message of what an action raises."""
    try:
        action()
    except kinds as error:
        return f"{type(error).__name__}: {error}"
    return "nothing was raised"


def _calls(engine: Engine) -> dict[str, Callable[[], Any]]:
    """Every call that is about a stream."""
    x, burst = [0.0] * 3, Burst(1, 3)
    burst.add(b"a", x)
    state = _fresh_state(engine.model)
    return {
        "step": lambda: engine.step("a", x),
        "step new": lambda: engine.step("b", x),
        "step_many": lambda: engine.step_many(["a"], [x]),
        "ingest": lambda: engine.ingest(burst, Results(1, 3, engine.n_out)),
        "handles": lambda: engine.handles(["a"]),
        "reset": lambda: engine.reset("a"),
        "evict": lambda: engine.evict("a"),
        "state": lambda: engine.state("a"),
        "load_state": lambda: engine.load_state("a", state),
        "stream_info": lambda: engine.stream_info("a", ring=False),
    }


def _fresh_state(model: Model) -> Any:
    engine = Engine(model, 1, ring=RING)
    engine.handles(["a"])
    return engine.state("a")


def failures(device: str) -> dict[str, Any]:
    """What an engine says whose GPU fails in one way or another, and what it says to each call that comes after."""
    from streamrnn.engine.cuda import device as module

    model = Model.random("lstm", n_in=3, hidden=4, n_out=2)
    found: dict[str, Any] = {}

    def ill(name: str, kernel: Any) -> None:
        engine = Engine(model, 4, ring=RING, device=device)
        engine.step_many(["a"], [[0.0] * 3])
        engine._device._kernel = kernel
        found[name] = [_refused(_calls(engine)["step_many"], (DeviceError, KeyboardInterrupt))]
        found[name] += [_refused(call) for call in _calls(engine).values()]
        found[name] += [len(engine), len(engine.events())]

    class Launches:
        """A kernel that fails when it is launched, or does nothing."""

        def __init__(self, error: BaseException | None) -> None:
            self.error = error

        def __getitem__(self, configuration: Any) -> Launches:
            return self

        def __call__(self, *args: Any) -> None:
            if self.error is not None:
                raise self.error

    ill("idle", Launches(None))
    ill("lost", Launches(RuntimeError("the device is lost\nfor good")))
    ill("interrupted", Launches(KeyboardInterrupt()))
    with mock.patch.object(module.cuda, "device_array", side_effect=MemoryError("CUDA_ERROR_OUT_OF_MEMORY")):
        found["full"] = _refused(lambda: Engine(model, 4, ring=RING, device=device))
    with mock.patch.object(module, "machine_code", return_value="  mul.f32 %f1, %f2, %f3;"):
        found["inexact"] = _refused(lambda: Engine(model, 4, ring=RING, device=device))
    return found


if __name__ == "__main__":
    from streamrnn._cuda import SIMULATED

    if hasattr(os, "sched_setaffinity"):  # the simulator's threads take turns, five times slower on two processors
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    arrays = everything("cuda")
    found = {"failures": failures("cuda")} | ({"races": races("cuda")} if SIMULATED else {})
    np.savez(sys.argv[1], **arrays, **{name: np.array(json.dumps(value)) for name, value in found.items()})
