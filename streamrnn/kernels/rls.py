"""Recursive least squares: a linear readout that learns with every sample, one covariance for all its outputs.

The readout's weights are taken to drift as a random walk, which makes the update a Kalman filter with unit noise
(Haykin, Adaptive Filter Theory, 4th ed., sections 9 and 10):

    v = P phi    s = 1 / (1 + phi' v)    w_k += s (u_k - w_k' phi) v    P -= s v v'    P_ii += drift where P_ii < prior

Forgetting by adding a little to the diagonal instead of dividing by lambda < 1 has no wind-up: what is not excited
grows linearly and stops at the prior, so trace(P) <= F (prior + drift) for ever. P stays symmetric to
the last bit, for only its lower half is kept.

P is most of what a stream carries, and a step takes as long as it takes to pass P through the caches. So there is one
pass a sample: the update of P waits, as the gain g = sqrt(s) v with P -= g g', until the next sample needs P phi. P is
kept in tiles of 8 by 8, row by row of tiles up to the diagonal, and each tile serves both halves of the product.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from streamrnn._jit import kernel

from .across import total, totals
from .memory import load8, store8
from .vector import LANES64, fma, less, only8, select

__all__ = ["RANGES", "SETTINGS", "init", "learn", "packed", "predict", "unpack", "whole"]

SETTINGS = MappingProxyType(
    {
        "prior": 0.3,  # variance of a weight before anything was learned, in units of the noise's
        "drift": 1e-5,  # growth of that variance a sample: how fast weights are expected to change
    }
)
"""Settings and defaults, in the order in which `params` holds them."""

RANGES = MappingProxyType({"prior": (0.0, 1e3), "drift": (0.0, 1.0)})
"""The least and the most that each setting may be: within these no sum can overflow."""

_PRIOR, _DRIFT = range(len(SETTINGS))

_TILE = LANES64 * LANES64


def whole(n_features: int) -> int:
    """Features, rounded up to whole vectors; what fills up is zero."""
    return -(-n_features // LANES64) * LANES64


def packed(n_features: int) -> int:
    """float64 numbers of a packed P."""
    blocks = whole(n_features) // LANES64
    return blocks * (blocks + 1) // 2 * _TILE


def unpack(P: npt.NDArray[np.float64], pending: npt.NDArray[np.float64], prior: float) -> npt.NDArray[np.float64]:
    """The covariance (whole, whole) that a packed P and its pending update stand for."""
    n = pending.size - 1
    full = np.zeros((n, n))
    tiles = iter(P.reshape(-1, LANES64, LANES64))
    for b in range(0, n, LANES64):
        for c in range(0, b + 1, LANES64):
            tile = next(tiles)
            full[b : b + LANES64, c : c + LANES64] = tile
            full[c : c + LANES64, b : b + LANES64] = tile.T
    full -= np.outer(pending[:n], pending[:n])
    return full + np.diag(np.where(np.diag(full) < prior, pending[n], 0.0))


@kernel
def init(P, w, pending, first, params):
    """The state of a stream that has learned nothing: it forecasts that the next sample will be like this one.

    P float64 (packed(F),), w float64 (n_out, whole(F)), pending float64 (whole(F) + 1,); feature first + k is the
    sample's channel k, in its normalised form. The prior keeps the weights near this start, so what is learned is the
    departure from it.
    """
    P[:] = 0.0
    at = 0
    for b in range(w.shape[1] // LANES64):
        at += b * _TILE
        for r in range(LANES64):
            P[at + r * LANES64 + r] = params[_PRIOR]
        at += _TILE
    pending[:] = 0.0
    w[:] = 0.0
    for k in range(w.shape[0]):
        w[k, first + k] = 1.0


@kernel
def _dot(a, b):
    """The product of two rows of whole vectors: eight sums side by side, added up in a fixed order."""
    s = load8(a, 0) * load8(b, 0)
    for i in range(LANES64, a.size, LANES64):
        s = fma(load8(a, i), load8(b, i), s)
    return total(s)


@kernel
def _row(P, at, g, gs):
    """One row of a tile, brought up to date: P[at : at + 8] -= g gs."""
    p = fma(gs, -g, load8(P, at))
    store8(P, at, p)
    return p


@kernel
def _diagonal_row(P, at, r, g, gs, prior, drift):
    """The same for row r of a tile on the diagonal, whose own element drifts."""
    p = fma(gs, -g, load8(P, at + LANES64 * r))
    p = select(less(p, prior) & only8(r), p + drift, p)
    store8(P, at + LANES64 * r, p)
    return p


@kernel
def _times(P, pending, prior, phi, v):
    """Apply the pending update to P, and v = P phi, in one pass."""
    n = v.size
    drift = pending[n]
    for i in range(n):
        v[i] = 0.0
    at = 0
    for b in range(0, n, LANES64):
        g0, g1, g2, g3 = pending[b], pending[b + 1], pending[b + 2], pending[b + 3]
        g4, g5, g6, g7 = pending[b + 4], pending[b + 5], pending[b + 6], pending[b + 7]
        f0, f1, f2, f3, f4, f5, f6, f7 = (
            phi[b],
            phi[b + 1],
            phi[b + 2],
            phi[b + 3],
            phi[b + 4],
            phi[b + 5],
            phi[b + 6],
            phi[b + 7],
        )
        # The diagonal's tile comes last in memory; its products start the sums.
        d = at + b * LANES64
        g, f = load8(pending, b), load8(phi, b)
        a0 = _diagonal_row(P, d, 0, g0, g, prior, drift) * f
        a1 = _diagonal_row(P, d, 1, g1, g, prior, drift) * f
        a2 = _diagonal_row(P, d, 2, g2, g, prior, drift) * f
        a3 = _diagonal_row(P, d, 3, g3, g, prior, drift) * f
        a4 = _diagonal_row(P, d, 4, g4, g, prior, drift) * f
        a5 = _diagonal_row(P, d, 5, g5, g, prior, drift) * f
        a6 = _diagonal_row(P, d, 6, g6, g, prior, drift) * f
        a7 = _diagonal_row(P, d, 7, g7, g, prior, drift) * f
        for c in range(0, b, LANES64):
            g, f, s = load8(pending, c), load8(phi, c), load8(v, c)
            p = _row(P, at, g0, g)
            a0 = fma(p, f, a0)
            s = fma(p, f0, s)
            p = _row(P, at + 8, g1, g)
            a1 = fma(p, f, a1)
            s = fma(p, f1, s)
            p = _row(P, at + 16, g2, g)
            a2 = fma(p, f, a2)
            s = fma(p, f2, s)
            p = _row(P, at + 24, g3, g)
            a3 = fma(p, f, a3)
            s = fma(p, f3, s)
            p = _row(P, at + 32, g4, g)
            a4 = fma(p, f, a4)
            s = fma(p, f4, s)
            p = _row(P, at + 40, g5, g)
            a5 = fma(p, f, a5)
            s = fma(p, f5, s)
            p = _row(P, at + 48, g6, g)
            a6 = fma(p, f, a6)
            s = fma(p, f6, s)
            p = _row(P, at + 56, g7, g)
            a7 = fma(p, f, a7)
            store8(v, c, fma(p, f7, s))
            at += _TILE
        store8(v, b, totals(a0, a1, a2, a3, a4, a5, a6, a7))
        at += _TILE


@kernel
def learn(phi, target, missing, P, w, pending, gain, params):
    """One update towards target, the sample that `predict(phi)` forecast.

    phi float64 (whole(F),), finite, zero from F on; target float32 (n_out,); missing uint8 (n_out,), a set channel
    teaches nothing; P, w and pending as in `init`; gain float64 (whole(F),) scratch.
    """
    n_out, n = w.shape
    seen = 0
    for k in range(n_out):
        seen += missing[k] == 0
    if seen > 0:
        _times(P, pending, params[_PRIOR], phi, gain)
        # With r the root of s, w += (s error) v = (r error) (r v) and P -= (r v) (r v)'.
        root = np.sqrt(1.0 / (1.0 + max(_dot(gain, phi), 0.0)))
        for i in range(0, n, LANES64):
            store8(pending, i, load8(gain, i) * root)
        pending[n] = params[_DRIFT]
        for k in range(n_out):
            if missing[k] == 0:
                wk = w[k]
                step = root * (np.float64(target[k]) - _dot(wk, phi))
                for i in range(0, n, LANES64):
                    store8(wk, i, fma(load8(pending, i), step, load8(wk, i)))


@kernel
def predict(phi, w, un):
    """un float32 (n_out,) = w phi: the forecast of the next normalised sample."""
    for k in range(un.size):
        un[k] = _dot(w[k], phi)
