"""One sample on its way into the network and out of it: filled, held, normalised, scaled back, remembered.

All of it moves a few numbers, so it moves them as vectors: most models have fewer channels than a vector has lanes.
"""

from __future__ import annotations

import numpy as np

from streamrnn._jit import fused
from streamrnn.kernels.memory import load_some, store_some
from streamrnn.kernels.numerics import bounded, fma
from streamrnn.kernels.vector import LANES, bits, first16, less

from .program import FORECAST, NORMALISER_FIXED
from .table import COUNT, EPOCH

__all__ = ["complete", "fill", "hold", "normalise", "past", "remember", "scale_back"]

_ZERO, _ONE, _INFINITE = np.float32(0.0), np.float32(1.0), np.float32(np.inf)


@fused
def _copy(source, a, target, b, n):
    """target[b : b + n] = source[a : a + n], float32."""
    for k in range(0, n, LANES):
        here = first16(n - k)
        store_some(target, b + k, here, load_some(source, a + k, here, _ZERO))


@fused
def past(sizes, count):
    """Where in a stream's row the forecast stands that was made for its sample number `count`, from 0, and where the
    one that is made with this sample will."""
    return sizes.y_prev if sizes.horizon == 1 else sizes.y_prev + count % sizes.horizon * sizes.kept


@fused
def complete(sizes, x):
    """Whether a sample misses no channel."""
    for k in range(0, sizes.n_in, LANES):
        here = first16(sizes.n_in - k)
        # Infinite samples were refused: NaN alone is not less.
        if bits(here & ~less(load_some(x, k, here, _ZERO), _INFINITE)) != 0:
            return False
    return True


@fused
def hold(sizes, row, x):
    """Keep the channels of a complete sample as the last values seen."""
    for k in range(0, sizes.n_in, LANES):
        here = first16(sizes.n_in - k)
        value = load_some(x, k, here, _ZERO)
        store_some(row, sizes.x_held + k, here, value)
        store_some(row, sizes.seen + k, here, value - value + _ONE)


@fused
def fill(sizes, row, y_prev, has_forecast, x, filled, missing):
    """Hold the channels that are there, and put something in the place of those that are missing: the forecast, else
    the last value seen (at first the mean).

    The forecast stands at row[y_prev:]. Returns how many are missing.
    """
    n_missing = 0
    for k in range(sizes.n_in):
        value = x[k]
        if np.isnan(value):
            missing[k] = 1
            n_missing += 1
            seen = row[sizes.seen + k] > np.float32(0.0)
            at = y_prev if has_forecast and seen else sizes.x_held
            filled[k] = row[at + k]
        else:
            missing[k] = 0
            filled[k] = value
            row[sizes.x_held + k] = value
            row[sizes.seen + k] = np.float32(1.0)
    return n_missing


@fused
def normalise(sizes, program, x, u):
    """u = (x - mean) / scale, or x itself, within the limit that keeps every later sum finite."""
    n_in = sizes.n_in
    weights = program.weights
    for k in range(0, n_in, LANES):
        here = first16(n_in - k)
        value = bounded(load_some(x, k, here, _ZERO))
        if sizes.normaliser == NORMALISER_FIXED:
            mean = load_some(weights, sizes.mean + k, here, _ZERO)
            scale = load_some(weights, sizes.mean + n_in + k, here, _ONE)
            value = bounded((value - mean) / scale)
        store_some(u, k, here, value)


@fused
def scale_back(sizes, program, y):
    """A forecast of normalised channels in their own units, in place."""
    n_in = sizes.n_in
    weights = program.weights
    for k in range(0, n_in, LANES):
        here = first16(n_in - k)
        mean = load_some(weights, sizes.mean + k, here, _ZERO)
        scale = load_some(weights, sizes.mean + n_in + k, here, _ZERO)
        store_some(y, k, here, fma(bounded(load_some(y, k, here, _ZERO)), scale, mean))


@fused
def remember(sizes, slab, meta, u, x, slot, i, answers):
    """Keep what the next sample of the stream will ask for, and count this one."""
    row = slab.state[slot]
    n_in, n_out, ring = sizes.n_in, sizes.n_out, sizes.ring
    y = answers.y[i]
    count = meta[slot, COUNT]
    if sizes.online:
        _copy(u, 0, row, sizes.u_prev, sizes.n_net)
    if sizes.head == FORECAST:
        _copy(y, 0, row, past(sizes, count), sizes.kept)
    if ring > 0:
        # A division takes as long as all the rest, and most rings are as long as a power of two.
        at = count & (ring - 1) if ring & (ring - 1) == 0 else np.int64(np.uint64(count) % np.uint64(ring))
        entry = slab.ring[slot, at]
        _copy(x, 0, entry, 0, n_in)
        _copy(y, 0, entry, n_in, n_out)
        entry[n_in + n_out] = answers.score[i]
    meta[slot, COUNT] = count + 1
    answers.seen[i] = count + 1
    answers.epoch[i] = meta[slot, EPOCH]
