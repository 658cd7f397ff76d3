"""Recursive least squares against its oracle and against ridge regression, and for very long."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_adaptive import Kalman

from streamrnn._jit import kernel
from streamrnn.kernels.rls import SETTINGS, init, learn, packed, predict, unpack, whole

PARAMS = np.array(list(SETTINGS.values()))


class Readout:
    """The kernels' arrays for one stream, as the engine lays them out."""

    def __init__(self, n_out, n_features, first=0, prior=SETTINGS["prior"], drift=SETTINGS["drift"]):
        n = whole(n_features)
        self.n_features = n_features
        self.packed, self.rows, self.pending = np.ones(packed(n_features)), np.ones((n_out, n)), np.ones(n + 1)
        self.gain = np.ones(n)
        self.params = np.array([prior, drift])
        init(self.packed, self.rows, self.pending, first, self.params)

    @property
    def arrays(self):
        return self.packed, self.rows, self.pending, self.gain, self.params

    @property
    def P(self):  # noqa: N802 - the covariance is called P everywhere
        """The whole covariance of the true features."""
        n = self.n_features
        return unpack(self.packed, self.pending, self.params[0])[:n, :n]

    @property
    def w(self):
        return self.rows[:, : self.n_features]

    def phi(self, values):
        padded = np.zeros(self.gain.size)
        padded[: self.n_features] = values
        return padded

    def learn(self, phi, target, missing=None):
        target = np.asarray(target, np.float32)
        missing = np.zeros(target.size, np.uint8) if missing is None else np.asarray(missing, np.uint8)
        learn(self.phi(phi), target, missing, *self.arrays)

    def predict(self, phi):
        un = np.empty(self.w.shape[0], np.float32)
        predict(self.phi(phi), self.rows, un)
        return un


@kernel
def _recurrent(n, every, size, P, w, pending, gain, params, phi, target, missing):
    """Forecast a signal from six lags and a constant for n samples: noise, a constant, steps of `size` every so often.

    Returns the largest weight and entry of P ever met; NaN sticks.
    """
    worst = 0.0
    state = np.uint64(88172645463325252)
    level = 0.0
    for i in range(n):
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
        if i % every == 0:
            level = size - level
        quiet = (i // (2 * every)) % 2 == 1
        noise = 0.0 if quiet else float(state >> np.uint64(11)) * 2.0**-53 - 0.5
        target[0] = min(max(level + noise, -6.0), 6.0)
        learn(phi, target, missing, P, w, pending, gain, params)
        for k in range(5):
            phi[5 - k] = phi[4 - k]
        phi[0] = target[0]
        if i % 1000 == 0:
            for a in range(w.shape[1]):
                value = abs(w[0, a])
                if not value <= worst:
                    worst = value
            for a in range(P.size):
                if not abs(P[a]) <= worst:
                    worst = abs(P[a])
    return worst


@pytest.mark.parametrize("n_features", [1, 3, 8, 9, 71])
def test_against_the_oracle(n_features):
    rng = np.random.default_rng(n_features)
    n_out = min(n_features, 3)
    ours = Readout(n_out, n_features, drift=1e-4)
    oracle = Kalman(n_out, n_features, 0, prior=SETTINGS["prior"], drift=1e-4)
    for _ in range(800):
        phi = rng.normal(size=n_features)
        target = rng.normal(size=n_out).astype(np.float32)
        missing = rng.random(n_out) < 0.3
        ours.learn(phi, target, missing)
        oracle.learn(phi.astype(float), target.astype(float), ~missing)
    np.testing.assert_allclose(ours.w, oracle.w, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(ours.P, oracle.P, rtol=1e-8, atol=1e-10)
    phi = rng.normal(size=n_features)
    np.testing.assert_allclose(ours.predict(phi), oracle.predict(phi.astype(float)), rtol=1e-5, atol=1e-6)


def test_without_drift_it_is_ridge_regression():
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(300, 6)), rng.normal(size=300).astype(np.float32)
    ours = Readout(1, 6, prior=10.0, drift=0.0)
    start = ours.w[0].copy()
    for phi, target in zip(X, y, strict=True):
        ours.learn(phi, [target])
    ridge = start + np.linalg.solve(X.T @ X + np.eye(6) / 10.0, X.T @ (y - X @ start))
    np.testing.assert_allclose(ours.w[0], ridge, atol=1e-9)


def test_before_it_learned_it_forecasts_the_same_again():
    ours = Readout(2, 7, first=3)
    phi = np.array([9, 9, 9, 1.5, -2.5, 9, 1], np.float64)
    np.testing.assert_array_equal(ours.predict(phi), [1.5, -2.5])


def test_nothing_is_learned_where_everything_is_missing():
    ours = Readout(2, 4)
    P, w = ours.P.copy(), ours.w.copy()
    ours.learn(np.ones(4), [3.0, 4.0], [1, 1])
    np.testing.assert_array_equal(ours.P, P)
    np.testing.assert_array_equal(ours.w, w)
    ours.learn(np.ones(4), [3.0, 4.0], [1, 0])
    np.testing.assert_array_equal(ours.w[0], w[0])
    assert (ours.w[1] != w[1]).all()


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.sampled_from([1e-3, 1.0, 6.0]))
def test_the_covariance_stays_symmetric_to_the_bit_and_positive(seed, n_features, size):
    rng = np.random.default_rng(seed)
    ours = Readout(1, n_features)
    for _ in range(200):
        phi = np.full(n_features, size) if rng.random() < 0.3 else rng.normal(size=n_features) * size
        ours.learn(phi, rng.normal(size=1))
    np.testing.assert_array_equal(ours.P, ours.P.T)
    assert np.linalg.eigvalsh(ours.P).min() > 0.0
    assert np.diag(ours.P).max() <= SETTINGS["prior"] + SETTINGS["drift"]


def test_ten_million_samples():
    ours = Readout(1, 7)
    phi = ours.phi([0, 0, 0, 0, 0, 0, 1])
    target, missing = np.zeros(1, np.float32), np.zeros(1, np.uint8)
    worst = _recurrent(10_000_000, 50_000, 6.0, *ours.arrays, phi, target, missing)
    assert worst < 20.0
    np.testing.assert_array_equal(ours.P, ours.P.T)
    assert np.linalg.eigvalsh(ours.P).min() > 0.0


def test_a_million_constant_samples_wind_nothing_up():
    ours = Readout(1, 20)
    phi, target, missing = ours.phi(np.full(20, 0.7)), np.full(1, 0.5, np.float32), np.zeros(1, np.uint8)
    for _ in range(1000):
        learn(phi, target, missing, *ours.arrays)
    _repeat(1_000_000, phi, target, missing, *ours.arrays)
    assert ours.predict(phi[:20])[0] == pytest.approx(0.5, abs=1e-6)
    assert np.diag(ours.P).max() <= SETTINGS["prior"] + SETTINGS["drift"]
    # And then it still learns something else, without a jolt.
    rng = np.random.default_rng(7)
    for _ in range(2000):
        phi = rng.normal(size=20)
        ours.learn(phi, [phi[3]])
    assert np.abs(ours.w).max() < 2.0
    assert ours.w[0, 3] == pytest.approx(1.0, abs=0.05)


@kernel
def _repeat(n, phi, target, missing, P, w, pending, gain, params):
    for _ in range(n):
        learn(phi, target, missing, P, w, pending, gain, params)
