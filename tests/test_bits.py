"""Promise 1: the bits of a stream's outputs depend on its own samples alone.

Not on which other streams share a batch, on how arrivals interleave, on where a run is cut and resumed, nor on the
machine's vector width.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import CELLS, FORMS, forecaster, form, samples, speaker

from streamrnn import Engine, Model

N_IN = 3
KINDS = (*CELLS, "adaptive", "forecast", "quantile", "lstm_proj", "gru_before", "dense")
OTHERS = tuple(name for name in FORMS if name not in KINDS)


def make(kind: str) -> Model:
    if kind == "adaptive":
        return Model.adaptive(N_IN, hidden=17, seed=2)
    if kind == "forecast":
        return Model.random("lstm", n_in=N_IN, hidden=(9, 14), seed=2, head="forecast")
    if kind in FORMS:
        return form(kind, seed=2)
    if kind == "quantile":
        return forecaster("quantile", n=N_IN, horizon=7, seed=2)
    return Model.random(kind, n_in=N_IN, hidden=(19, 8), n_out=5, seed=2)


MODELS = {kind: make(kind) for kind in (*KINDS, *OTHERS)}


def inputs(n: int, seed: int) -> np.ndarray:
    """Samples with some channels missing."""
    x = samples(n, N_IN, seed)
    x[np.random.default_rng(seed).random(x.shape) < 0.05] = np.nan
    return x


def alone(model: Model, x: np.ndarray, t: np.ndarray | None = None):
    engine = Engine(model, capacity=1)
    return [engine.step("s", row, None if t is None else int(t[i])) for i, row in enumerate(x)]


def same(out, truth):
    assert out.y.tobytes() == truth.y.tobytes()
    assert (out.score, out.flag, out.cause, out.n, out.missing) == truth[1:]


@st.composite
def traffic(draw):
    """Streams with runs of their own, merged in some order, and cut into batches."""
    lengths = draw(st.lists(st.integers(1, 40), min_size=1, max_size=70))
    order = np.repeat(np.arange(len(lengths)), lengths)
    np.random.default_rng(draw(st.integers(0, 2**32 - 1))).shuffle(order)
    cuts = draw(st.lists(st.integers(0, len(order)), max_size=6))
    return lengths, order, sorted({0, *cuts, len(order)})


@pytest.mark.parametrize("kind", KINDS)
@given(case=traffic())
@settings(max_examples=25, deadline=None)
def test_any_batch_and_any_interleaving_give_the_bits_of_one_stream_alone(kind, case):
    lengths, order, cuts = case
    model = MODELS[kind]
    xs = [inputs(n, seed=s) for s, n in enumerate(lengths)]
    # Real times, so that the adaptive model's clock takes part.
    ts = [1_700_000_000 * 10**9 + np.arange(n) * 10**9 * (s + 1) for s, n in enumerate(lengths)]
    truth = [alone(model, x, t) for x, t in zip(xs, ts, strict=True)]
    engine = Engine(model, capacity=len(lengths))
    done = [0] * len(lengths)
    for a, b in pairwise(cuts):
        at = []
        for s in order[a:b].tolist():
            at.append((s, done[s]))
            done[s] += 1
        out = engine.step_many(
            [f"bed{s}" for s, _ in at],
            np.array([xs[s][k] for s, k in at]).reshape(-1, N_IN),
            [int(ts[s][k]) for s, k in at],
        )
        for i, (s, k) in enumerate(at):
            same(out[i], truth[s][k])


@pytest.mark.parametrize("kind", KINDS)
@given(cut=st.integers(0, 60), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_a_state_saved_and_restored_resumes_with_the_same_bits(kind, cut, seed):
    model = MODELS[kind]
    x = inputs(60, seed)
    truth = alone(model, x)
    first = Engine(model, capacity=1)
    for i, row in enumerate(x[:cut]):
        same(first.step("s", row), truth[i])
    second = Engine(model, capacity=5)
    second.step("other", x[0])
    if cut:
        second.load_state("again", first.state("s"))
    for i, row in enumerate(x[cut:], start=cut):
        same(second.step("again", row), truth[i])


@pytest.mark.parametrize("kind", KINDS)
def test_handles_and_ids_give_the_same_bits(kind):
    model = MODELS[kind]
    x = inputs(90, seed=8)
    ids = [f"s{i % 7}" for i in range(90)]
    a, b = Engine(model, capacity=10), Engine(model, capacity=10)
    by_id = a.step_many(ids, x)
    by_handle = b.step_many(b.handles(ids), x)
    for i in range(90):
        same(by_handle[i], by_id[i])


@pytest.mark.parametrize("kind", KINDS)
def test_a_reused_slot_starts_from_zero(kind):
    model = MODELS[kind]
    x = inputs(50, seed=9)
    truth = alone(model, x)
    engine = Engine(model, capacity=1)
    engine.step_many(["a"] * 50, 100 * inputs(50, seed=10))
    for i, row in enumerate(x):
        same(engine.step("b", row), truth[i])
    engine.step("b", x[0])
    for i, row in enumerate(x):
        same(engine.step("b", row, reset=i == 0), truth[i])


@pytest.mark.parametrize("kind", OTHERS)
def test_every_form_gives_the_bits_of_one_stream_alone(kind):
    model = MODELS[kind]
    xs = [inputs(12, seed=s) for s in range(61)]
    truth = [alone(model, x) for x in xs]
    engine = Engine(model, capacity=61)
    for k in range(12):
        out = engine.step_many([f"s{s}" for s in range(61)], np.array([x[k] for x in xs]))
        for s in range(61):
            same(out[s], truth[s][k])


def digest() -> str:
    """A digest of everything that every kind of model says about the same input."""
    out = hashlib.sha256()
    for model in MODELS.values():
        x = inputs(300, seed=11)
        ids = [f"s{i % 37}" for i in range(300)]
        result = Engine(model, capacity=40).step_many(ids, x)
        out.update(result.y.tobytes() + result.score.tobytes() + result.flag.tobytes())
    tokens = np.random.default_rng(0).integers(0, 37, 300)
    result = Engine(speaker(), capacity=1).step_many(["s"] * 300, tokens)
    out.update(result.y.tobytes() + result.score.tobytes() + result.flag.tobytes())
    for kind in CELLS:
        model = Model.random(kind, n_in=4, hidden=100, n_out=3, seed=1)
        out.update(Engine(model, capacity=1).step_many(["s"] * 50, samples(50, 4, 1)).y.tobytes())
    return out.hexdigest()


def cpu_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    return set(next((line for line in text.splitlines() if line.startswith("flags")), "").split())


HASWELL = {"avx2", "fma", "bmi1", "bmi2", "f16c", "movbe"}


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or not cpu_flags() >= HASWELL,
    reason="this CPU cannot run code made for Haswell (AVX2 and FMA)",
)
@pytest.mark.parametrize(
    ("cpu", "features"),
    [
        ("haswell", "+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+movbe,+popcnt,+lzcnt,+sse4.2"),
        ("nehalem", "+sse4.2,+popcnt"),
    ],
)
def test_narrower_vectors_give_the_same_bits(cpu, features):
    """Haswell has 8 lanes and FMA, Nehalem 4 and no FMA instruction at all."""
    env = {**os.environ, "NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features}
    run = subprocess.run(
        [sys.executable, "-c", "import numba, test_bits; print(numba.config.CPU_NAME, test_bits.digest())"],
        cwd=Path(__file__).parent,
        env=env,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [cpu, digest()]
