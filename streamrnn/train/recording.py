"""What is learned from: the samples of one stream, in order, with what should be said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.errors import ConfigError

__all__ = ["Array", "Recording", "check", "held"]

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Recording:
    """The samples of one stream.

    `x` float32 (T, n), NaN where a channel is missing; `t` int64 (T,), ns since the epoch, or None. `target` is None,
    or the class of each sample, int64 (T,), -1 where it has none, or float32 (T, k) for a regression, NaN where there
    is none. Samples before `start` only warm up the state: no loss, no measure, no alarm is counted there, nor a loss
    from `stop` on.

    >>> Recording("bed1", np.zeros((5, 2), np.float32)).x.shape
    (5, 2)
    """

    stream: str
    x: Array
    t: npt.NDArray[np.int64] | None = None
    target: npt.NDArray[Any] | None = None
    start: int = 0
    stop: int | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def counted(self) -> int:
        """Samples that count."""
        return (len(self.x) if self.stop is None else self.stop) - self.start

    def part(self, begin: int, end: int) -> Recording:
        """The samples begin..end; of those, what counted counts."""
        begin, end, _ = slice(begin, end).indices(len(self))
        stop = len(self) if self.stop is None else self.stop
        first = min(max(self.start, begin), end)
        return replace(
            self,
            x=self.x[begin:end],
            t=None if self.t is None else self.t[begin:end],
            target=None if self.target is None else self.target[begin:end],
            start=first - begin,
            stop=None if stop >= end else max(stop, first) - begin,
        )

    def counting(self, start: int, stop: int) -> Recording:
        """The same samples, of which those counted count that are within start..stop."""
        own = len(self) if self.stop is None else self.stop
        first = max(self.start, start)
        return replace(self, start=first, stop=max(min(own, stop), first))


def _array(name: str, stream: str, value: Any, kinds: str) -> npt.NDArray[Any]:
    try:
        found = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} of stream {stream!r} is no array: {error}") from None
    if found.dtype.kind not in kinds:
        raise ConfigError(f"{name} of stream {stream!r} has dtype {found.dtype}; it must be real numbers")
    return found


def _checked(recording: Recording, n_in: int | None) -> Recording:
    stream = recording.stream
    x = _array("x", stream, recording.x, "fiu")
    if x.ndim != 2 or x.shape[1] == 0 or (n_in is not None and x.shape[1] != n_in):
        want = "(samples, channels)" if n_in is None else f"(samples, {n_in}) as that of the first recording"
        raise ConfigError(f"x of stream {stream!r} has shape {x.shape}; it must be {want}")
    with np.errstate(over="ignore"):
        x = np.ascontiguousarray(x, np.float32)
    wrong = np.isinf(x)
    if wrong.any():
        i, k = np.argwhere(wrong)[0].tolist()
        raise ConfigError(f"sample {i}, channel {k} of stream {stream!r} is infinite; put NaN where a value is missing")
    t = recording.t
    if t is not None:
        t = _array("t", stream, t, "iu").astype(np.int64)
        if t.shape != (len(x),):
            raise ConfigError(f"t of stream {stream!r} has shape {t.shape} for {len(x)} samples")
        back = np.flatnonzero(np.diff(t) < 0)
        if len(back):
            raise ConfigError(
                f"the time of stream {stream!r} goes back at sample {back[0] + 1}; the engine refuses such samples: "
                "sort them, or leave them out"
            )
    target = recording.target
    if target is not None:
        target = _array("target", stream, target, "fiub")
        target = target.astype(np.int64) if target.dtype.kind in "iub" else np.asarray(target, np.float32)
        if len(target) != len(x):
            raise ConfigError(f"target of stream {stream!r} has {len(target)} rows for {len(x)} samples")
    start, stop = recording.start, len(x) if recording.stop is None else recording.stop
    if not 0 <= start <= stop <= len(x):
        raise ConfigError(
            f"start and stop of stream {stream!r} are {start} and {recording.stop} for {len(x)} samples: those that "
            "count are from start on and before stop"
        )
    return replace(recording, x=x, t=t, target=target)


def check(recordings: Sequence[Recording], n_in: int | None = None) -> list[Recording]:
    """The recordings with the dtypes that their docstring promises; ConfigError for what they cannot be."""
    if not all(isinstance(r, Recording) for r in recordings):
        raise ConfigError("recordings must be a list of streamrnn.train.Recording")
    out: list[Recording] = []
    for recording in recordings:
        out.append(_checked(recording, n_in))
        n_in = out[0].x.shape[1]
    return [r for r in out if len(r)]


def held(x: Array, first: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    """(x with each NaN replaced by the last value before it, else by `first` (n,); whether there was one before).

    >>> held(np.array([[np.nan], [2], [np.nan]], np.float32), np.float32([7]))[0].ravel().tolist()
    [7.0, 2.0, 2.0]
    """
    there = ~np.isnan(x)
    last = np.maximum.accumulate(np.where(there, np.arange(len(x))[:, None], -1), axis=0)
    seen = last >= 0
    return np.where(seen, np.take_along_axis(x, np.maximum(last, 0), 0), first).astype(np.float32), seen
