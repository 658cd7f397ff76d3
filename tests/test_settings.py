"""Settings of the detector and of learning: what is accepted keeps every output finite, and the rest is refused."""

from __future__ import annotations

import json
import math
import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from networks import speaker

from streamrnn import Engine, Model
from streamrnn.errors import ModelError
from streamrnn.kernels import rls, score, signals, surprise

OF_TOKENS = {"threshold", "release", "hold", "longest", *surprise.SETTINGS}
KINDS = {
    "detector": (signals.SETTINGS, signals.RANGES),
    "learning": (rls.SETTINGS, rls.RANGES),
    "tokens": tuple({k: v for k, v in known.items() if k in OF_TOKENS} for known in (score.SETTINGS, score.RANGES)),
}
ALL = [(kind, name) for kind, (known, _) in KINDS.items() for name in known]


def signal(n=3000, seed=0):
    """Two channels with everything that is hard: stillness, leaps, gaps, other scales, the largest numbers."""
    rng = np.random.default_rng(seed)
    X = rng.normal(loc=(97.0, 60_000.0), size=(n, 2))
    X[300:600, 0] = 97.0
    X[600:900] *= 1e6
    X[900:1200] = np.nan
    X[1200:1230] = 3.4e38 * rng.choice([-1, 1], (30, 2))
    X[1500:1800] *= 1e-12
    X[2000:2300, 1] = np.sin(np.arange(300) / 9)
    return X.astype(np.float32)


SIGNAL = signal()


def run(detector, learning, hidden=8):
    model = Model.adaptive(2, hidden=hidden, detector=detector, learning=learning)
    return Engine(model, capacity=1).step_many(["s"] * len(SIGNAL), SIGNAL)


def run_tokens(detector):
    x = np.random.default_rng(0).integers(0, 5, 2000)
    x[500:600] = 3
    return Engine(speaker(5, seed=1, **detector), capacity=1).step_many(["s"] * len(x), x)


def sound(out):
    assert np.isfinite(out.y).all()
    assert np.isfinite(out.score).all()
    assert (out.score >= 0).all()
    # A flag that stands has a cause.
    assert all((cause is None) == (not flag) for cause, flag in zip(out.cause, out.flag.tolist(), strict=True))


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_the_default_is_well_inside(kind, name):
    known, ranges = KINDS[kind]
    low, high = ranges[name]
    assert low < known[name] < high
    assert ranges.keys() == known.keys()


@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize(("kind", "name"), ALL)
def test_the_ends_of_each_range(kind, name, end):
    given = {name: KINDS[kind][1][name][end]}
    sound(run_tokens(given) if kind == "tokens" else run(**{"detector": {}, "learning": {}, kind: given}))


def one_of(kind):
    """A few settings anywhere in their ranges, ends included, small numbers as often as large ones."""

    def value(name):
        low, high = KINDS[kind][1][name]
        spread = st.floats(math.log10(max(low, high * 1e-12)), math.log10(high)).map(lambda e: min(10.0**e, high))
        return st.one_of(st.sampled_from([low, high]), spread.map(lambda v: max(v, low)), st.floats(low, high))

    return st.fixed_dictionaries({}, optional={name: value(name) for name in KINDS[kind][0]})


@settings(max_examples=150, deadline=None)
@given(one_of("detector"), one_of("learning"), st.sampled_from([1, 8, 33]))
@example({}, {"prior": rls.RANGES["prior"][1], "drift": rls.RANGES["drift"][1]}, 33)
@example({}, {"prior": rls.RANGES["prior"][0], "drift": rls.RANGES["drift"][1]}, 33)
def test_any_accepted_setting_keeps_outputs_finite(detector, learning, hidden):
    sound(run(detector, learning, hidden))


@settings(max_examples=50, deadline=None)
@given(one_of("tokens"))
def test_any_accepted_setting_of_tokens_keeps_scores_finite(detector):
    sound(run_tokens(detector))


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("learning", "drift", 1e30), ("learning", "drift", -1), ("learning", "prior", -1), ("learning", "prior", 1e9),
        ("detector", "threshold", -1), ("detector", "threshold", 0), ("detector", "hold", -3), ("detector", "hold", 0),
        ("detector", "level_rate", 2), ("detector", "forget", 5), ("detector", "release", 1.5),
        ("detector", "longest", 0), ("detector", "warmup", 0), ("detector", "growth", -1), ("detector", "youth", 1e300),
    ],
)  # fmt: skip
def test_a_setting_out_of_range_is_refused_with_the_range(kind, name, value, tmp_path):
    low, high = KINDS[kind][1][name]
    message = f"{kind}.{name} is {float(value)!r}; it must be a finite number from {low:g} to {high:g}"
    with pytest.raises(ModelError) as caught:
        Model.adaptive(2, hidden=4, **{kind: {name: value}})
    assert message in str(caught.value)
    # The same in a file that somebody else wrote.
    path = tmp_path / "m.safetensors"
    Model.adaptive(2, hidden=4).save(path)
    data = path.read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + n])
    spec = json.loads(header["__metadata__"]["streamrnn"])
    spec[kind] = {name: value}
    header["__metadata__"]["streamrnn"] = json.dumps(spec)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + n :])
    with pytest.raises(ModelError) as caught:
        Model.load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
