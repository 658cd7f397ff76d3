"""The detector over whole arrays of samples, without an engine around it."""

from __future__ import annotations

import numpy as np

from streamrnn._jit import kernel
from streamrnn.kernels.score import COMPONENTS, SETTINGS, init, score, size


def noise(n, channels=1, seed=0):
    return np.random.default_rng(seed).normal(size=(n, channels))


def calm(n, channels=1, seed=0):
    """Whole numbers from -2 to 2: nothing in them is news."""
    return np.random.default_rng(seed).integers(-2, 3, (n, channels)).astype(float)


@kernel
def score_all(long_way, X, missing, Y, first, T, row, params, scores, flags, edges, causes):
    for i in range(X.shape[0]):
        n_missing = np.int64(long_way)
        for j in range(X.shape[1]):
            n_missing += missing[i, j]
        score(X[i], missing[i], n_missing, Y[i], i >= first, T[i], row, params, i, scores, flags, edges, causes)


class Judged:
    """What the detector made of the samples X (n, channels), NaN missing, their forecasts Y and times T (ns).

    `long_way` keeps every channel from the short way that most samples take. The first `without` samples have no
    forecast.
    """

    def __init__(self, X, Y=None, T=None, long_way=False, without=0, **changed):
        X = np.array(X, np.float32, ndmin=2, copy=True)
        X = X.T.copy() if X.shape[0] == 1 else X
        n, channels = X.shape
        missing = np.isnan(X).astype(np.uint8)
        X[missing == 1] = 1e9  # whatever stands there must not matter
        forecast = np.full_like(X, np.nan) if Y is None else np.array(Y, np.float32).reshape(X.shape)
        self.score, self.flag = np.full(n, np.nan, np.float32), np.zeros(n, np.uint8)
        self.edge, self.cause = np.zeros(n, np.int8), np.zeros(n, np.int32)
        self.row = np.ones(size(channels, T is not None))
        init(self.row)
        params = np.array(list({**SETTINGS, **changed}.values()), np.float64)
        assert len(params) == len(SETTINGS), changed
        T = np.zeros(n, np.int64) if T is None else np.asarray(T, np.int64)
        out = self.score, self.flag, self.edge, self.cause
        score_all(long_way, X, missing, forecast, n if Y is None else without, T, self.row, params, *out)

    @property
    def raised(self):
        return np.flatnonzero(self.edge == 1).tolist()

    @property
    def cleared(self):
        return np.flatnonzero(self.edge == -1).tolist()

    def why(self, i):
        return int(self.cause[i]) // 8, COMPONENTS[int(self.cause[i]) % 8]
