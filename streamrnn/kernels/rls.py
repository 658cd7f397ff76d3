"""Recursive least squares: a linear readout that learns with every sample, one covariance for all its outputs.

The readout's weights are taken to drift as a random walk, which makes the update a Kalman filter with unit noise
(Haykin, Adaptive Filter Theory, 4th ed., sections 9 and 10):

    v = P phi    s = 1 / (1 + phi' v)    w_k += s (u_k - w_k' phi) v    P -= s v v'    P_ii += drift where P_ii < prior

Forgetting by adding a little to the diagonal instead of dividing by lambda < 1 has no wind-up: what is not excited
grows linearly and stops at the prior, so trace(P) <= F (prior + drift) for ever. P stays symmetric to the last bit
because its update multiplies v_i v_j first, and multiplication commutes.
"""

from __future__ import annotations

from types import MappingProxyType

from streamrnn._jit import kernel
from streamrnn.kernels.numerics import fma64

__all__ = ["SETTINGS", "init", "learn", "predict"]

SETTINGS = MappingProxyType(
    {
        "prior": 1.0,  # variance of a weight before anything was learned, in units of the noise's
        "drift": 1e-6,  # growth of that variance a sample: how fast weights are expected to change
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
        s0 = fma64(a[i], float(b[i]), s0)
        s1 = fma64(a[i + 1], float(b[i + 1]), s1)
        s2 = fma64(a[i + 2], float(b[i + 2]), s2)
        s3 = fma64(a[i + 3], float(b[i + 3]), s3)
    for i in range(m, n):
        s0 = fma64(a[i], float(b[i]), s0)
    return (s0 + s1) + (s2 + s3)


@kernel
def learn(phi, target, missing, P, w, gain, params):
    """One update towards target, the sample that `predict(phi)` forecast.

    phi float32 or float64 (F,), finite; target float32 (n_out,); missing uint8 (n_out,), a set channel teaches
    nothing; P float64 (F, F), symmetric; w float64 (n_out, F); gain float64 (F,) scratch.
    """
    n_out, n = w.shape
    seen = False
    for k in range(n_out):
        seen = seen or missing[k] == 0
    if not seen:
        return
    for i in range(n):
        gain[i] = 0.0
    # P is symmetric: adding up its rows is P phi without a reduction, and vectorises.
    for j in range(n):
        f = float(phi[j])
        row = P[j]
        for i in range(n):
            gain[i] = fma64(row[i], f, gain[i])
    s = 1.0 / (1.0 + max(_dot(gain, phi), 0.0))
    for k in range(n_out):
        if missing[k] == 0:
            step = s * (float(target[k]) - _dot(w[k], phi))
            row = w[k]
            for i in range(n):
                row[i] = fma64(step, gain[i], row[i])
    prior = params[_PRIOR]
    drift = params[_DRIFT]
    for i in range(n):
        row = P[i]
        g = gain[i]
        for j in range(n):
            row[j] = fma64(-(g * gain[j]), s, row[j])
        if row[i] < prior:
            row[i] += drift


@kernel
def predict(phi, w, un):
    """un float32 (n_out,) = w phi: the forecast of the next normalised sample."""
    for k in range(un.size):
        un[k] = _dot(w[k], phi)
