"""Recursive least squares: a linear readout that learns with every sample, one covariance for all its outputs.

The readout's weights are taken to drift as a random walk, which makes the update a Kalman filter with unit noise
(Haykin, Adaptive Filter Theory, 4th ed., sections 9 and 10):

    v = P phi    s = 1 / (1 + phi' v)    w_k += s (u_k - w_k' phi) v    P -= s v v'    P_ii += drift where P_ii < prior

Forgetting by adding a little to the diagonal instead of dividing by lambda < 1 has no wind-up: what is not excited
grows linearly and stops at the prior, so trace(P) <= F (prior + drift) for ever. P stays symmetric to
the last bit: its update subtracts (sqrt(s) v_i) (sqrt(s) v_j) with one rounding, and multiplication commutes.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from streamrnn._jit import kernel
from streamrnn.kernels.numerics import fma64

__all__ = ["SETTINGS", "init", "learn", "predict"]

SETTINGS = MappingProxyType(
    {
        "prior": 0.3,  # variance of a weight before anything was learned, in units of the noise's
        "drift": 1e-5,  # growth of that variance a sample: how fast weights are expected to change
    }
)
"""Settings and defaults, in the order in which `params` holds them."""

_PRIOR, _DRIFT = range(len(SETTINGS))


@kernel
def init(P, w, first, params):
    """The state of a stream that has learned nothing: it forecasts that the next sample will be like this one.

    P float64 (F, F), w float64 (n_out, F); feature first + k is the sample's channel k, in its normalised form.
    The prior keeps the weights near this start, so what is learned is the departure from it.
    """
    P[:] = 0.0
    for i in range(P.shape[0]):
        P[i, i] = params[_PRIOR]
    w[:] = 0.0
    for k in range(w.shape[0]):
        w[k, first + k] = 1.0


@kernel
def _dot(a, b):
    """Four partial sums: the latency of one chain of additions would dominate."""
    n = a.size
    s0 = s1 = s2 = s3 = 0.0
    m = n - n % 4
    for i in range(0, m, 4):
        s0 = fma64(a[i], np.float64(b[i]), s0)
        s1 = fma64(a[i + 1], np.float64(b[i + 1]), s1)
        s2 = fma64(a[i + 2], np.float64(b[i + 2]), s2)
        s3 = fma64(a[i + 3], np.float64(b[i + 3]), s3)
    for i in range(m, n):
        s0 = fma64(a[i], np.float64(b[i]), s0)
    return (s0 + s1) + (s2 + s3)


@kernel
def _times(P, phi, v):
    """v = P phi. P is symmetric, so its rows are added up: that vectorises, as sums along a row would not."""
    n = v.size
    for i in range(n):
        v[i] = 0.0
    m = n - n % 4
    for j in range(0, m, 4):
        f0 = np.float64(phi[j])
        f1 = np.float64(phi[j + 1])
        f2 = np.float64(phi[j + 2])
        f3 = np.float64(phi[j + 3])
        for i in range(n):
            t = fma64(P[j, i], f0, v[i])
            t = fma64(P[j + 1, i], f1, t)
            t = fma64(P[j + 2, i], f2, t)
            v[i] = fma64(P[j + 3, i], f3, t)
    for j in range(m, n):
        f0 = np.float64(phi[j])
        for i in range(n):
            v[i] = fma64(P[j, i], f0, v[i])


@kernel
def learn(phi, target, missing, P, w, gain, params):
    """One update towards target, the sample that `predict(phi)` forecast.

    phi float32 or float64 (F,), finite; target float32 (n_out,); missing uint8 (n_out,), a set channel teaches
    nothing; P float64 (F, F), symmetric; w float64 (n_out, F); gain float64 (F,) scratch.
    """
    n_out, n = w.shape
    seen = 0
    for k in range(n_out):
        seen += missing[k] == 0
    if seen > 0:
        _times(P, phi, gain)
        # With r the root of s, w += (s error) v = (r error) (r v) and P -= (r v) (r v)'.
        root = np.sqrt(1.0 / (1.0 + max(_dot(gain, phi), 0.0)))
        for i in range(n):
            gain[i] *= root
        for k in range(n_out):
            if missing[k] == 0:
                step = root * (np.float64(target[k]) - _dot(w[k], phi))
                for i in range(n):
                    w[k, i] = fma64(step, gain[i], w[k, i])
        prior = params[_PRIOR]
        for i in range(n):
            g = -gain[i]
            for j in range(n):
                P[i, j] = fma64(g, gain[j], P[i, j])
            if P[i, i] < prior:
                P[i, i] += params[_DRIFT]


@kernel
def predict(phi, w, un):
    """un float32 (n_out,) = w phi: the forecast of the next normalised sample."""
    for k in range(un.size):
        un[k] = _dot(w[k], phi)
