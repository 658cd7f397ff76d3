"""The detector, for all streams of a tile: the twin of `kernels.score`.

A sample's channels are judged side by side, each by a thread, whose news is in a head of its own; then one thread a
stream takes the strongest, in the CPU's order, and decides. Neighbouring threads have neighbouring channels, which
stand side by side in each slot of a stream's row. All channels take the CPU's long way: its short one has its bits.
"""

from __future__ import annotations

import numpy as np
from numba import float64

from streamrnn._cuda import block_function, cuda
from streamrnn.kernels import score as _score
from streamrnn.kernels.clock import REAL_TIME
from streamrnn.kernels.score import HOUR
from streamrnn.kernels.signals import BEST, BEST_BOUND, BEST_CAUSE, BEST_SIDE, CAUSE, CHANNEL, DAY, HEAD, SIGNAL, UP

from .episode import decide
from .memory import matrix
from .product import THREADS
from .rows import alone, shared_rows
from .signals import absent, daily, seen

__all__ = ["lasts", "nothing_found", "score"]

_ZERO = np.float64(0.0)
_NEWS = BEST_SIDE - BEST + 1
"""Numbers of what is the strongest signal, from row[BEST] on."""

lasts = shared_rows(_score.lasts, lambda *_: ())


@block_function
def nothing_found(i, score, flag, edge, cause):
    """Row `i` of the answers to a sample that is no news."""
    score[i] = np.float32(0.0)
    flag[i] = 0
    edge[i] = 0
    cause[i] = -1


@block_function
def _tell(head, news):
    """Show the thread that decides what this one has found."""
    t = cuda.threadIdx.x
    news[0, t] = head[BEST]
    news[1, t] = head[BEST_CAUSE]
    news[2, t] = head[BEST_BOUND]
    news[3, t] = head[BEST_SIDE]


@block_function
def _listen(row, news, first, last):
    """Let row[BEST:] be the strongest of itself and what the threads from first to last found, of equals the first."""
    for t in range(first, last):
        if news[0, t] > row[BEST]:
            row[BEST] = news[0, t]
            row[BEST_CAUSE] = news[1, t]
            row[BEST_BOUND] = news[2, t]
            row[BEST_SIDE] = news[3, t]


@block_function
def score(x, missing, n, forecast, rows, at, when, detector, params, by_day, score, flag, edge, cause, first, m):
    """Judge one sample of each of the m streams from `first` on, and write their rows of the answers.

    x float32 and missing, a row of n or more for each stream; the forecast of stream s stands at
    forecast[rows[s], at[s - first]:], and there is none where that is negative; when int64 (TILE,), ns, 0 where a
    sample has no time; detector float64 (slots, any), the streams' rows, which have envelopes for the time of day where
    `by_day`. The rest is as on the CPU. Called by all threads of a block.
    """
    news = cuda.shared.array((_NEWS, THREADS), float64)
    head = cuda.local.array(HEAD, float64)
    t, own = cuda.threadIdx.x, alone(m)
    days = HEAD + CHANNEL * n
    for start in range(0, m * n, THREADS):
        i = start + t
        if i < m * n:
            s, j = i // n, i % n
            row = detector[rows[first + s]]
            chan = matrix(row, HEAD, CHANNEL, n)
            head[UP] = row[UP]
            head[BEST] = _ZERO
            if missing[first + s, j] != 0:
                absent(head, chan, j, params)
            else:
                value = np.float64(x[first + s, j])
                error, signals = _ZERO, SIGNAL - 1
                if at[s] >= 0:
                    error, signals = value - np.float64(forecast[rows[first + s], at[s] + j]), SIGNAL
                seen(head, chan, j, value, error, signals, params)
            _tell(head, news)
        cuda.syncthreads()
        if own >= 0:
            _listen(detector[rows[first + own]], news, max(0, own * n - start), min(THREADS, (own + 1) * n - start))
        cuda.syncthreads()
    if by_day:
        for start in range(0, m * n, THREADS):
            i = start + t
            if i < m * n:
                s, j = i // n, i % n
                head[BEST] = _ZERO
                if when[s] >= REAL_TIME and missing[first + s, j] == 0:
                    row = detector[rows[first + s]]
                    day = row[days + DAY * j : days + DAY * (j + 1)]
                    daily(head, day, matrix(row, HEAD, CHANNEL, n), j, when[s] // HOUR, params)
                _tell(head, news)
            cuda.syncthreads()
            if own >= 0:
                _listen(detector[rows[first + own]], news, max(0, own * n - start), min(THREADS, (own + 1) * n - start))
            cuda.syncthreads()
    if own >= 0:
        i = first + own
        row = detector[rows[i]]
        edge[i] = decide(row, row[UP] != _ZERO and lasts(row, matrix(row, HEAD, CHANNEL, n)), params)
        score[i] = np.float32(row[BEST])
        row[BEST] = _ZERO
        flag[i] = row[UP] != _ZERO
        cause[i] = int(row[CAUSE])
