"""From recordings to what a network is trained on; what cannot be learned from is refused before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np

from streamrnn.errors import ConfigError, ModelError
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
    n_in = every[0].x.shape[1]
    validation = None if validation is None else check(validation, n_in)
    test = None if test is None else check(test, n_in)
    if not settings.tokens:
        _check_sizes([*every, *(validation or []), *(test or [])], settings)
    parts = _parts(every, settings, validation, test)
    n_targets = _check_targets([*parts.train, *parts.validation, *parts.test], settings, parts.train)
    tokens = settings.tokens
    if tokens:
        _check_tokens([*parts.train, *parts.validation, *parts.test], tokens)
    settings = _named(settings, n_in)
    if not parts.train:
        raise ConfigError("nothing is left for training: give more recordings")
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
            wanting = "a sample to forecast" if settings.head == "forecast" else "a label or target"
            raise ConfigError(
                f"{what} data has {found} samples with {wanting}; at least {LEAST[what]} are needed: give more "
                f"recordings, or another split (--split, --parts)"
            )
    notes = [*_notes(every, settings), *_unseen(parts, settings, n_targets), *_shared(parts)]
    return Ready(parts, train, held_out, inputs, targets, spec, notes)


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
            raise ConfigError(
                f"{name} has {len(given)} names where the recordings have {n_in} channels: {given!r:.100}"
            )
    return replace(settings, features=features)


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
                f"stream {r.stream!r} holds {x[wrong][0]:g}, which is no token: those are 0 to {tokens - 1}"
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


def _check_targets(recordings: Sequence[Recording], settings: Settings, train: Sequence[Recording]) -> int:
    """How many classes, or numbers of a regression, there are."""
    if settings.head == "forecast":
        return 0
    what = "labels (--label)" if settings.head == "classify" else "targets (--target)"
    for r in recordings:
        if r.target is None:
            raise ConfigError(f"stream {r.stream!r} has no {what}, which head {settings.head!r} learns")
    if settings.head == "regress":
        return _width(recordings)
    return _classes(recordings, settings, train)


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


def _classes(recordings: Sequence[Recording], settings: Settings, train: Sequence[Recording]) -> int:
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
        raise ConfigError(f"a label is {most} where {n} classes have names ({', '.join(settings.classes)})")
    counts = np.zeros(max(n, 1), np.int64)
    for r in train:
        if r.target is not None:
            label = r.target[r.start : r.stop]
            counts += np.bincount(label[label >= 0], minlength=len(counts))
    names = settings.classes or tuple(str(k) for k in range(n))
    if not counts.sum():
        raise ConfigError("no sample of the training data has a label: name the column of labels with --label")
    if (counts > 0).sum() < 2:
        raise ConfigError(
            f"all {counts.sum():,} labels of the training data are {names[int(counts.argmax())]!r}; a classifier "
            "needs two classes: give recordings that hold others, or split by time (--split time)"
        )
    absent = [names[k] for k in range(n) if not counts[k]]
    if absent:
        raise ConfigError(
            f"class {', '.join(absent)} is not in the training data, so it cannot be learned: give more "
            "recordings, split otherwise (--split), or leave it out of the labels"
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


def _notes(every: Sequence[Recording], settings: Settings) -> list[str]:
    gaps, usual = long_steps(every)
    if gaps and settings.gap is None:
        return [
            f"{count(gaps, 'step')} in time of more than ten usual ones ({usual:g} s): the state runs on across them, "
            f"as in the engine; --gap {20 * usual:g} would start anew there"
        ]
    return []
