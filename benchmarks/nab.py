"""The Numenta Anomaly Benchmark: its series, and an independent implementation of its published scoring.

Lavin and Ahmad, "Evaluating real-time anomaly detection algorithms: the Numenta Anomaly Benchmark" (2015,
arXiv 1510.03336). A detection at relative position y is worth

    sigma(y) = 2 / (1 + exp(5 y)) - 1

where y runs from -1 at the first row of a labelled window to 0 just behind its last one. Of the detections in a
window the best one counts, as tp * sigma(y) / sigma(-1); a window without one costs fn. A detection outside costs
fp * |sigma(y)| with y the distance from the last window's end in window lengths (less one row), and fp where no
window precedes it or y > 3. The first min(15 %, 750) rows are not scored. The total is scaled so that a detector
that never speaks has 0 and one that finds every window at its first row and nothing else has 100.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = [
    "LOW_FP",
    "STANDARD",
    "Profile",
    "Series",
    "best_threshold",
    "data_dir",
    "load",
    "probation",
    "row_worth",
    "score",
    "sigma",
]

_ENV = "STREAMRNN_DATA"
_DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Profile:
    """What a hit, a false alarm and a miss are worth."""

    name: str
    tp: float
    fp: float
    fn: float


STANDARD = Profile("standard", tp=1.0, fp=0.11, fn=1.0)
LOW_FP = Profile("low-FP", tp=1.0, fp=0.22, fn=1.0)


@dataclass(frozen=True)
class Series:
    """One recording: `t` int64 ns `(n,)`, `x` float64 `(n,)`, `windows` as (first row, last row), ascending."""

    name: str
    t: npt.NDArray[np.int64]
    x: npt.NDArray[np.float64]
    windows: tuple[tuple[int, int], ...]


def data_dir(path: str | Path | None = None) -> Path:
    """The folder that holds `nab/`: `path`, else the environment's STREAMRNN_DATA, else the checkout's neighbour."""
    return Path(path or os.environ.get(_ENV) or _DEFAULT)


def _nanoseconds(stamp: str) -> int:
    moment = datetime.fromisoformat(stamp).replace(tzinfo=timezone.utc)
    return int(moment.timestamp()) * 1_000_000_000


def _rows(t: npt.NDArray[np.int64], window: Sequence[str]) -> tuple[int, int]:
    inside = np.flatnonzero((t >= _nanoseconds(window[0])) & (t <= _nanoseconds(window[1])))
    if not inside.size:
        raise ValueError(f"no row lies in the window {window[0]} .. {window[1]}")
    return int(inside[0]), int(inside[-1])


def load(path: str | Path | None = None) -> list[Series]:
    """Every labelled series under `data_dir(path)/nab`; FileNotFoundError where there is none."""
    root = data_dir(path) / "nab"
    labels = json.loads((root / "windows.json").read_text())
    out = []
    for name in sorted(labels):
        with (root / name).open(newline="") as file:
            rows = [(_nanoseconds(row["timestamp"]), float(row["value"])) for row in csv.DictReader(file)]
        t = np.array([r[0] for r in rows], np.int64)
        x = np.array([r[1] for r in rows], np.float64)
        out.append(Series(name, t, x, tuple(sorted(_rows(t, w) for w in labels[name]))))
    return out


def sigma(y: float) -> float:
    """What a detection at relative position `y` is worth before weights.

    >>> sigma(0.0), sigma(4.0)
    (0.0, -1.0)
    """
    return -1.0 if y > 3.0 else 2.0 / (1.0 + math.exp(5.0 * y)) - 1.0


def probation(n: int) -> int:
    """Rows at the start of a series of `n` rows that are not scored.

    >>> probation(1000), probation(16_000)
    (150, 750)
    """
    return min(int(0.15 * n), 750)


@lru_cache(maxsize=256)
def row_worth(n: int, windows: tuple[tuple[int, int], ...]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Each row's worth before weights (inside a window relative to its first row's), and its window or -1: `(n,)`."""
    worth = np.full(n, -1.0)
    inside = np.full(n, -1, np.int64)
    for k, (first, last) in enumerate(windows):
        width = last - first + 1
        for i in range(first, last + 1):
            worth[i] = sigma(-(last - i + 1) / width) / sigma(-1.0)
            inside[i] = k
        stop = windows[k + 1][0] if k + 1 < len(windows) else n
        for i in range(last + 1, stop):
            worth[i] = sigma((i - last) / max(width - 1, 1))
    worth.flags.writeable = inside.flags.writeable = False
    return worth, inside


def score(series: Sequence[Series], alarms: Sequence[npt.ArrayLike], profile: Profile = STANDARD) -> float:
    """The normalised score of `alarms`: for each series the rows that were called anomalous.

    One is 100, none is 0, and many false ones go below it.
    """
    total, windows = 0.0, 0
    for s, rows in zip(series, alarms, strict=True):
        n = len(s.x)
        worth, inside = row_worth(n, s.windows)
        called = np.zeros(n, bool)
        called[np.asarray(rows, np.int64)] = True
        called[: probation(n)] = False
        total += profile.fp * float(worth[called & (inside < 0)].sum())
        for k in range(len(s.windows)):
            hits = worth[called & (inside == k)]
            total += profile.tp * float(hits.max()) if hits.size else -profile.fn
        windows += len(s.windows)
    null = -profile.fn * windows
    return 100.0 * (total - null) / (profile.tp * windows - null)


def best_threshold(
    series: Sequence[Series], scores: Sequence[npt.NDArray[np.floating]], profile: Profile = STANDARD
) -> tuple[float, float]:
    """The one threshold over all series that scores best where every row with `scores >= threshold` is called.

    Exact: each distinct value is tried. Returns (threshold, normalised score); infinity and 0 where silence wins.
    """
    rows = []  # (score, worth, window counted over all series or -1)
    base = 0
    for s, values in zip(series, scores, strict=True):
        worth, inside = row_worth(len(s.x), s.windows)
        start = probation(len(s.x))
        window = np.where(inside < 0, -1, inside + base)
        rows.append(np.stack([np.asarray(values, np.float64)[start:], worth[start:], window[start:]]))
        base += len(s.windows)
    value, worth, window = np.concatenate(rows, axis=1)
    order = np.argsort(-value, kind="stable")
    held = np.full(base, -profile.fn)
    total = null = -profile.fn * base
    best, threshold = total, math.inf
    for j, i in enumerate(order):
        k = int(window[i])
        if k < 0:
            total += profile.fp * worth[i]
        elif profile.tp * worth[i] > held[k]:
            total += profile.tp * worth[i] - held[k]
            held[k] = profile.tp * worth[i]
        last = j + 1 == order.size or value[order[j + 1]] < value[i]
        if last and total > best:
            best, threshold = total, float(value[i])
    return threshold, 100.0 * (best - null) / (profile.tp * base - null)
