"""Recordings that tests of training share: small, seeded, and with something to learn in them."""

from __future__ import annotations

import numpy as np

from streamrnn.train import Recording

HOUR = 3600 * 10**9


def waves(streams=6, length=300, missing=0.0, seed=0, timed=True):
    """Two channels a stream: a sine with noise that a network forecasts better than its last value, and its mirror."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(streams):
        T = length + 17 * i
        phase = np.arange(T) / 4 + rng.uniform(0, 6)
        x = np.stack([50 + 10 * np.sin(phase), -3 - np.sin(phase)], 1) + rng.normal(size=(T, 2)) * [0.5, 0.05]
        x[rng.random((T, 2)) < missing] = np.nan
        t = 10**18 + np.arange(T) * 10**9 if timed else None
        out.append(Recording(f"s{i}", x.astype(np.float32), t))
    return out


def echoes(streams=6, length=300, seed=0, unlabelled=0.2):
    """Noise whose class is whether the sample two steps ago was positive."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(streams):
        x = rng.normal(size=(length + 11 * i, 1)).astype(np.float32)
        label = np.full(len(x), -1)
        label[2:] = x[:-2, 0] > 0
        label[rng.random(len(x)) < unlabelled] = -1
        out.append(Recording(f"s{i}", x, None, label))
    return out
