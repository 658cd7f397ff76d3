"""Compiled kernels against one IEEE operation at a time: nothing is fused, reordered or approximated."""

from __future__ import annotations

from fractions import Fraction

import emulated
import numpy as np
import pytest
from twins import hard

from streamrnn._jit import kernel
from streamrnn.kernels import gru, lstm, numerics, rnn
from streamrnn.kernels.product import STREAMS, pack, padded, padded_bias
from streamrnn.kernels.vector import LANES

# Of two branches of tanh one is selected; the other may overflow.
pytestmark = pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered")


@kernel
def _functions(x, y, out):
    for i in range(x.size):
        out[i, 0] = numerics.exp32(x[i])
        out[i, 1] = numerics.sigmoid32(x[i])
        out[i, 2] = numerics.tanh32(x[i])
        out[i, 3] = lstm.gated(y[i], x[i])


def _numbers(hardly: bool, seed: int):
    rng = np.random.default_rng(seed)
    return lambda *shape: hard(rng, shape) if hardly else rng.normal(size=shape).astype("f")


def test_the_emulated_fma_is_rounded_once():
    a, b, c = hard(np.random.default_rng(1), (3, 3000))
    a[:1000], c[:1000] = 1 + a[:1000] % 1, -b[:1000]  # cancels nearly everything
    # Just below the middle between two numbers: a sum that is rounded to float64 first is in the middle.
    a[0], b[0], c[0] = 2**-12 * (1 + 2**-20), 2**-12 * (1 - 2**-20), 1 + 2**-23
    got = emulated.fma(a, b, c)
    for x, y, z, r in zip(a.tolist(), b.tolist(), c.tolist(), got, strict=True):
        exact = Fraction(x) * Fraction(y) + Fraction(z)
        away = [
            abs(Fraction(float(v)) - exact)
            for v in (r, np.nextafter(r, np.float32(np.inf)), np.nextafter(r, np.float32(-np.inf)))
        ]
        assert away[0] <= min(away[1:])


@pytest.mark.parametrize("hardly", [False, True])
def test_functions_of_one_number(hardly):
    x, y = _numbers(hardly, 2)(2, 20000) * np.float32(5.0)
    out = np.zeros((x.size, 4), "f")
    _functions(x, y, out)
    emulation = [emulated.exp32(x), emulated.sigmoid32(x), emulated.tanh32(x), emulated.gated(y, x)]
    assert out.tobytes() == np.stack(emulation, axis=1).tobytes()


@pytest.mark.parametrize("hardly", [False, True])
@pytest.mark.parametrize(("n_in", "H", "streams"), [(1, 1, 1), (3, 17, 5), (18, 37, 30)])
@pytest.mark.parametrize("cell", ["tanh", "lstm", "gru"])
def test_cells(cell, n_in, H, streams, hardly):
    numbers = _numbers(hardly, H)
    gates = {"tanh": 1, "lstm": 4, "gru": 3}[cell]
    w = emulated.Weights(numbers(n_in, gates * H), numbers(H, gates * H), numbers((4 if cell == "gru" else gates) * H))
    x, state, rows = numbers(streams, n_in), numbers(streams, 2 * H), np.arange(streams)
    h, c = state[:, :H].copy(), state[:, H:].copy()
    z = np.zeros((STREAMS, 2 * padded(4 * H) + LANES), "f")
    step = {"tanh": rnn.tanh, "lstm": lstm.lstm, "gru": gru.gru}[cell]
    b = padded_bias(w.b)[: w.b.size]
    for _ in range(3):
        step(x, rows, 0, state, rows, 0, pack(w.W_ih), pack(w.W_hh), b, z, streams)
        if cell == "lstm":
            h, c = emulated.lstm(x, h, c, w)
        else:
            h = (emulated.rnn_tanh if cell == "tanh" else emulated.gru)(x, h, w)
    assert np.isfinite(state).all()
    assert state.tobytes() == np.concatenate([h, c], axis=1).tobytes()
