"""From recordings to what a network is trained on; what cannot be learned from is refused before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.errors import ConfigError, ModelError
from streamrnn.kernels.clock import DAY, REAL_TIME
from streamrnn.model import ModelSpec
from streamrnn.model.weights import MAX_WEIGHT
from streamrnn.words import count

from .build import spec_of
from .recording import Recording, check
from .scaling import Scaling, scaling_of
from .series import Series, series_of
from .settings import Settings
from .split import Split, cut_gaps, long_steps, split

__all__ = ["LEAST", "Ready", "make_ready"]

SHOWN = 12
"""Names of classes in a message."""

LEAST = {"training": 100, "validation": 20}
"""Samples with something to learn from, or to judge by, below which nothing can be trained."""


@dataclass(frozen=True)
class Ready:
    """Everything that training needs: the split, its series (training and validation), scales, specification."""

    split: Split
    train: list[Series]
    validation: list[Series]
    inputs: Scaling | None
    targets: Scaling | None
    spec: ModelSpec
    notes: list[str]
    missing: dict[str, Any]
    """`samples` of the recordings, and of `channels` that lack some how many have no value."""


def make_ready(
    recordings: Sequence[Recording],
    settings: Settings,
    validation: Sequence[Recording] | None = None,
    test: Sequence[Recording] | None = None,
) -> Ready:
    """Check, cut, split, scale. Raises ConfigError, with what was found, the limit and the remedy."""
    every = check(recordings)
    if not every:
        raise ConfigError("there is no sample to train on: give recordings that hold some")
    if settings.chrono and settings.cell not in ("gru", "lstm"):
        raise ConfigError(
            f"chrono is {settings.chrono}, which sets gates, and cell {settings.cell!r} has none: use gru"
        )
    n_in = every[0].x.shape[1]
    validation = None if validation is None else check(validation, n_in)
    test = None if test is None else check(test, n_in)
    if not settings.tokens:
        _check_sizes([*every, *(validation or []), *(test or [])], settings)
    parts = _parts(every, settings, validation, test)
    _check_rows(parts, settings)
    if settings.clock:
        _check_clock([*parts.train, *parts.validation, *parts.test])
    n_targets = _check_targets(parts, settings)
    tokens = settings.tokens
    if tokens:
        _check_tokens([*parts.train, *parts.validation, *parts.test], tokens)
    settings = _named(settings, n_in)
    inputs = None if tokens else scaling_of(parts.train, settings.features)
    targets = None
    if settings.head == "regress":
        names = settings.targets or [f"target {k}" for k in range(n_targets)]
        targets = scaling_of(parts.train, names, "target")
    try:
        spec = spec_of(settings, n_in, n_targets)
    except ModelError as error:
        raise ConfigError(str(error)) from None
    train = series_of(parts.train, spec, inputs, targets)
    held_out = series_of(parts.validation, spec, inputs, targets)
    for what, series in (("training", train), ("validation", held_out)):
        found = sum(int(s.mask.reshape(len(s), -1).any(1).sum()) for s in series)
        if found < LEAST[what]:
            wanting = {"forecast": "a sample to forecast", "classify": "a label", "regress": "a target"}[settings.head]
            raise ConfigError(
                f"{what} data has {found} samples with {wanting}; at least {LEAST[what]} are needed: give more "
                "recordings, or another split (--split, --parts)"
            )
    notes = [*_notes(every, settings), *_unseen(parts, settings, n_targets), *_shared(parts)]
    notes += _days(parts.train) if settings.clock else []
    missing = _missing([*every, *(validation or []), *(test or [])], settings.features)
    return Ready(parts, train, held_out, inputs, targets, spec, notes, missing)


def _missing(recordings: Sequence[Recording], names: Sequence[str]) -> dict[str, Any]:
    lacking = sum((np.isnan(r.x).sum(0) for r in recordings if len(r)), np.zeros(len(names), np.int64))
    channels = {name: n for name, n in zip(names, lacking.tolist(), strict=True) if n}
    return {"samples": sum(len(r) for r in recordings), "channels": channels}


def _check_rows(parts: Split, settings: Settings) -> None:
    """Too little is said before anything that follows from it, such as a channel that does not vary."""
    counted = {"training": parts.train, "validation": parts.validation}
    found = {what: sum(max(r.counted, 0) for r in recordings) for what, recordings in counted.items()}
    if any(found[what] < LEAST[what] for what in found):
        nearer = f", or a smaller horizon (--horizon, now {settings.horizon})" if settings.horizon > 1 else ""
        raise ConfigError(
            f"training data has {found['training']} samples and validation data {found['validation']}; at least "
            f"{LEAST['training']} and {LEAST['validation']} are needed: give more recordings, or another split "
            f"(--split, --parts){nearer}"
        )


def _parts(
    every: list[Recording],
    settings: Settings,
    validation: Sequence[Recording] | None,
    test: Sequence[Recording] | None,
) -> Split:
    every = cut_gaps(every, settings.gap)
    if validation is None and test is None:
        return split(every, settings)
    given_test = cut_gaps(test or [], settings.gap)
    if validation is not None:
        return Split(every, cut_gaps(validation, settings.gap), given_test, "as given")
    first, second = settings.parts[0], settings.parts[1]
    inner = replace(settings, parts=(first / (first + second), 1 - first / (first + second), 0.0))
    found = split(every, inner)
    return Split(found.train, found.validation, given_test, f"test as given, the rest {found.how}")


def _named(settings: Settings, n_in: int) -> Settings:
    features = settings.features or (("token",) if settings.tokens else tuple(f"x{k}" for k in range(n_in)))
    for name, given in (("features", features), ("units", settings.units)):
        if given and len(given) != n_in:
            known = f" ({', '.join(features):.100})" if name == "units" else ""
            raise ConfigError(
                f"{name} are {', '.join(given):.100}: {len(given)} for {n_in} channels{known}; give one a channel"
            )
    return replace(settings, features=features)


def _check_clock(recordings: Sequence[Recording]) -> None:
    for r in recordings:
        if r.t is None:
            raise ConfigError(
                f"stream {r.stream!r} has no times, and clock (--clock) is the time of day: name the column of times "
                "(--time), or leave it out"
            )
        if r.t[0] < REAL_TIME:
            raise ConfigError(
                f"stream {r.stream!r} begins at {r.t[0]} ns since 1970; a time before 2000 is a counter and no time of "
                "day, and the engine shows none: give real times, or leave clock (--clock) out"
            )


def _check_tokens(recordings: Sequence[Recording], tokens: int) -> None:
    for r in recordings:
        if r.x.shape[1] != 1:
            raise ConfigError(f"stream {r.stream!r} has {r.x.shape[1]} channels; tokens are one (--columns)")
        if np.isnan(r.x).any():
            raise ConfigError(f"stream {r.stream!r} has a sample without a token; leave such samples out")
        x = r.x
        wrong = (x < 0) | (x >= tokens) | (x != np.floor(x))
        if wrong.any():
            raise ConfigError(
                f"stream {r.stream!r} holds {x[wrong][0]:g}, which is no token: those are whole numbers from 0 to "
                f"{tokens - 1}; mend the recording, or raise tokens (--tokens)"
            )


LARGEST_TARGET = 1e9
"""A target's deviation goes into the readout, no weight of which may be more than MAX_WEIGHT."""


def _check_sizes(recordings: Sequence[Recording], settings: Settings) -> None:
    """ConfigError for values beyond what the engine takes and a normaliser holds: before training, and not after."""
    what = [("channel", "x", settings.features, MAX_WEIGHT)]
    if settings.head == "regress":
        what.append(("target", "target", settings.targets, LARGEST_TARGET))
    for kind, part, names, largest in what:
        for r in recordings:
            values = getattr(r, part)
            large = [] if values is None or values.ndim != 2 else np.argwhere(np.abs(values) > largest).tolist()
            for i, k in large[:1]:
                name = names[k] if k < len(names) else f"{part}{k}"
                raise ConfigError(
                    f"{kind} {name!r} of stream {r.stream!r} is {values[i, k]:g} at sample {i}; {largest:g} is the "
                    "most that a model takes: give it in a larger unit, or as missing where it means that"
                )


def _check_targets(parts: Split, settings: Settings) -> int:
    """How many classes, or numbers of a regression, there are."""
    if settings.head == "forecast":
        return 0
    recordings = [*parts.train, *parts.validation, *parts.test]
    what = "labels (--label)" if settings.head == "classify" else "targets (--target)"
    for r in recordings:
        if r.target is None:
            raise ConfigError(f"stream {r.stream!r} has no {what}, which head {settings.head!r} learns")
    if settings.head == "regress":
        return _width(recordings)
    return _classes(recordings, settings, parts)


def _width(recordings: Sequence[Recording]) -> int:
    first = recordings[0].target
    assert first is not None
    for r in recordings:
        assert r.target is not None
        if r.target.dtype != np.float32 or r.target.ndim != 2 or r.target.shape[1] != first.shape[-1]:
            raise ConfigError(
                f"the target of stream {r.stream!r} is {r.target.dtype} of shape {r.target.shape}; a regression's is "
                "float32 (samples, targets)"
            )
        if np.isinf(r.target).any():
            raise ConfigError(f"the target of stream {r.stream!r} is infinite; put NaN where there is none")
    return int(first.shape[1])


def _counts(recordings: Sequence[Recording], n: int) -> npt.NDArray[np.int64]:
    """How many labels of each of n classes count."""
    counts = np.zeros(n, np.int64)
    for r in recordings:
        if r.target is not None:
            label = r.target[r.start : r.stop]
            counts += np.bincount(label[label >= 0], minlength=n)
    return counts


def _elsewhere(parts: Split) -> str:
    """How to have what the training data lacks and another part has."""
    if "by stream" in parts.how:
        return "split by time (--split time)"
    if "by time" in parts.how:
        streams = {r.stream for r in (*parts.train, *parts.validation, *parts.test)}
        return f"split {'by stream (--split stream), or ' if len(streams) > 2 else ''}into other shares (--parts)"
    return "move recordings that hold it to the training data"


def _classes(recordings: Sequence[Recording], settings: Settings, parts: Split) -> int:
    most = -1
    for r in recordings:
        assert r.target is not None
        if r.target.dtype != np.int64 or r.target.ndim != 1:
            raise ConfigError(
                f"the target of stream {r.stream!r} is {r.target.dtype} of shape {r.target.shape}; classes are whole "
                "numbers (samples,), -1 where there is none"
            )
        if len(r.target):
            most = max(most, int(r.target.max()))
    n = len(settings.classes) or most + 1
    if most >= n:
        raise ConfigError(
            f"a label is {most} where {n} classes have names ({', '.join(settings.classes)}): name all, from 0 on"
        )
    counts, every = (_counts(which, max(n, 1)) for which in (parts.train, recordings))
    names = settings.classes or tuple(str(k) for k in range(n))
    if not every.sum():
        raise ConfigError("no sample has a label: name the column of labels with --label")
    if not counts.sum():
        raise ConfigError(f"no sample of the training data has a label, though others do: {_elsewhere(parts)}")
    if (every > 0).sum() < 2:
        raise ConfigError(
            f"all {every.sum():,} labels are {names[int(every.argmax())]!r}; a classifier needs two classes: give "
            "recordings that hold another, or choose another column (--label)"
        )
    absent = [names[k] for k in range(n) if not counts[k]]
    if absent:
        shown = ", ".join(absent[:SHOWN]) + (f" and {len(absent) - SHOWN} more" if len(absent) > SHOWN else "")
        raise ConfigError(
            f"the training data has no label {shown}, so it cannot be learned: {_elsewhere(parts)}, give more "
            "recordings, or name the others alone (--classes)"
        )
    return n


def _unseen(parts: Split, settings: Settings, n: int) -> list[str]:
    """Classes by which nothing can be judged."""
    if settings.head != "classify":
        return []
    notes = []
    for what, recordings in (("validation", parts.validation), ("test", parts.test)):
        found = {int(v) for r in recordings if r.target is not None for v in np.unique(r.target[r.start : r.stop])}
        names = [settings.classes[k] if settings.classes else str(k) for k in range(n) if k not in found]
        if recordings and names:
            notes.append(
                f"{what} data has no {', '.join(names)}: it says nothing of how they are told apart; split otherwise "
                "(--split, --parts)"
            )
    return notes


def _shared(parts: Split) -> list[str]:
    """Recordings by which nothing is judged, since another part holds the very same samples."""
    notes = []
    seen: dict[bytes, str] = {}
    for what, recordings in (("training", parts.train), ("validation", parts.validation), ("test", parts.test)):
        own = {sha256(r.x.tobytes()).digest(): r.stream for r in recordings}
        for found, stream in own.items():
            if found in seen:
                notes.append(
                    f"stream {stream!r} of the {what} data holds the same samples as one of the {seen[found]} data: "
                    "figures of it say nothing of other streams; leave it out of one of them"
                )
            else:
                seen[found] = what
    return notes


def _days(train: Sequence[Recording]) -> list[str]:
    """Whether the training data has seen every hour twice."""
    times = [r.t for r in train if r.t is not None and len(r)]
    days = (max(int(t[-1]) for t in times) - min(int(t[0]) for t in times)) / DAY
    if days >= 2:
        return []
    return [
        f"training data covers {24 * days:.0f} hours: a network that sees the time of day (--clock) learns from it "
        "which days these were, and not what a day is like; give several days, or leave it out"
    ]


def _notes(every: Sequence[Recording], settings: Settings) -> list[str]:
    gaps, usual = long_steps(every)
    if gaps and settings.gap is None:
        return [
            f"{count(gaps, 'step')} in time of more than ten usual ones ({usual:g} s): the state runs on across them, "
            f"as in the engine; --gap {20 * usual:g} would start anew there"
        ]
    return []
