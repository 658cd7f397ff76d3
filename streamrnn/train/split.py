"""Training, validation and test data that know nothing of each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from streamrnn.errors import ConfigError

from .recording import Recording
from .settings import Settings

__all__ = ["Split", "cut_gaps", "long_steps", "split"]

BY_STREAM_FROM = 10
"""Streams from which on `auto` splits by stream."""

WARM = 512
"""Samples before a cut in time that warm up the state for what comes after it: its past, which a live engine knew."""

LONG = 10.0
"""A step of more than so many usual ones looks like a gap."""


@dataclass(frozen=True)
class Split:
    """The three parts; `how` says by what they were split."""

    train: list[Recording]
    validation: list[Recording]
    test: list[Recording]
    how: str = ""


def long_steps(recordings: Sequence[Recording]) -> tuple[int, float]:
    """(steps in time of more than LONG usual ones, seconds of the usual step); (0, 0) without times."""
    steps = [np.diff(r.t) for r in recordings if r.t is not None and len(r) > 1]
    if not steps:
        return 0, 0.0
    usual = float(np.median(np.concatenate(steps)))
    return (sum(int((s > LONG * usual).sum()) for s in steps) if usual > 0 else 0), usual / 1e9


def cut_gaps(recordings: Sequence[Recording], seconds: float | None) -> list[Recording]:
    """Recordings without a step in time of more than `seconds`: each stretch between two is one."""
    if seconds is None:
        return list(recordings)
    out: list[Recording] = []
    for recording in recordings:
        if recording.t is None:
            raise ConfigError(f"stream {recording.stream!r} has no times, so it has no gaps: leave gap (--gap) out")
        bounds = [0, *(np.flatnonzero(np.diff(recording.t) > seconds * 1e9) + 1).tolist(), len(recording)]
        out += [recording.part(a, b) for a, b in pairwise(bounds)]
    return out


def split(recordings: Sequence[Recording], settings: Settings) -> Split:
    """Split by stream or by time, as the settings say; ConfigError where there is too little for it."""
    names = sorted({r.stream for r in recordings})
    how = settings.split
    if how == "auto":
        how = "stream" if len(names) >= BY_STREAM_FROM else "time"
    return _by_stream(recordings, names, settings) if how == "stream" else _by_time(recordings, settings)


def _by_stream(recordings: Sequence[Recording], names: list[str], settings: Settings) -> Split:
    n = len(names)
    wanted = 3 if settings.parts[2] > 0 else 2
    if n < wanted:
        raise ConfigError(
            f"{n} stream{'' if n == 1 else 's'} cannot be split by stream into {wanted} parts: give more recordings, "
            "or split by time (--split time)"
        )
    # Not by the training's seed: several seeds must be judged on the same data.
    order = np.random.Generator(np.random.PCG64(20)).permutation(n)
    n_test = max(1, round(settings.parts[2] * n)) if settings.parts[2] > 0 else 0
    n_val = max(1, round(settings.parts[1] * n))
    n_test, n_val = min(n_test, n - 2), min(n_val, n - 1 - min(n_test, n - 2))
    part = {names[k]: 2 if i < n_test else 1 if i < n_test + n_val else 0 for i, k in enumerate(order.tolist())}
    parts: list[list[Recording]] = [[], [], []]
    for recording in recordings:
        parts[part[recording.stream]].append(recording)
    return Split(parts[0], parts[1], parts[2], f"by stream: {n - n_val - n_test}, {n_val} and {n_test} streams")


def _cuts(recordings: Sequence[Recording], shares: tuple[float, float, float]) -> list[tuple[int, int]]:
    """Where each recording is cut. With times, at the same two moments in all: what happened in one stream may be
    known in another.
    """
    first, second = shares[0], shares[0] + shares[1]
    if any(r.t is None for r in recordings):
        return [(round(first * len(r)), round(second * len(r))) for r in recordings]
    every = np.sort(np.concatenate([r.t for r in recordings if r.t is not None]))
    moments = [every[min(len(every) - 1, round(share * len(every)))] for share in (first, second)]
    ends = [len(r) if second >= 1.0 else None for r in recordings]
    return [
        (
            int(np.searchsorted(r.t, moments[0])),
            int(np.searchsorted(r.t, moments[1])) if end is None else end,
        )
        for r, end in zip(recordings, ends, strict=True)
        if r.t is not None
    ]


def _by_time(recordings: Sequence[Recording], settings: Settings) -> Split:
    gap = settings.gap_at_cuts
    parts: list[list[Recording]] = [[], [], []]
    for recording, (a, b) in zip(recordings, _cuts(recordings, settings.parts), strict=True):
        for k, (begin, end) in enumerate(((0, a), (a, b), (b, len(recording)))):
            lead = min(begin, WARM)
            # What follows the end of the last part belongs to nobody.
            stop = end - gap if end < len(recording) else end
            if stop > begin:
                whole = recording.part(begin - lead, end)
                parts[k].append(whole.counting(lead, stop - begin + lead))
    timed = all(r.t is not None for r in recordings)
    return Split(
        parts[0],
        parts[1],
        parts[2],
        f"by time, {'at the same moments' if timed else 'each stream for itself'}, gap {gap}",
    )
