"""Files as recordings: CSV, Parquet and npz, one stream a file or named by a column."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.errors import BadId, ConfigError
from streamrnn.feeds import Layout
from streamrnn.feeds import Recording as Feed
from streamrnn.feeds.cells import MISSING, is_number
from streamrnn.ids import check_id
from streamrnn.model.layers import MAX_WIDTH
from streamrnn.words import count

from . import columns as of_columns
from .mixed import ROWS, note_of_many
from .recording import Array, Recording

__all__ = ["Names", "read_recordings"]

MOST_NUMBERS = 50
"""Different labels from which on numbers with a fraction are no classes."""

_ENDINGS = (".csv.gz", ".csv", ".parquet", ".npz")


@dataclass(frozen=True)
class Names:
    """What the columns are called: channels, classes by their numbers, targets; and what is worth saying."""

    channels: tuple[str, ...]
    classes: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class _Part:
    """What one file holds of one stream; `values` (T, channels + targets)."""

    values: Array
    t: npt.NDArray[np.int64] | None
    labels: list[str]


def read_recordings(
    files: Sequence[str | os.PathLike[str]],
    *,
    channels: Sequence[str] | None = None,
    stream: str | None = None,
    time: str | None = None,
    label: str | None = None,
    target: str | Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    layout: Layout | None = None,
) -> tuple[list[Recording], Names]:
    """Read recordings, and the names of what is in them.

    `channels` are the columns of values (default: all others), `stream` the column that names the stream (default: each
    file is one), `time` that of times, or "none" (default: one whose name says so), `label` that of classes, as text or
    numbers, empty where a sample has none, `target` those of a regression. `classes` are the labels that count, in
    order; a sample with another has none. `layout` says how CSV files are written; a .npz file has columns as arrays
    of one length, or the channels in one array `x` with their names in `channels`.

    Rows whose time goes back are left out, as the engine refuses them; Names.notes says how many. Raises ConfigError,
    Malformed and OSError, which name file, row and column.
    """
    if classes is not None and label is None:
        raise ConfigError(f"classes are {', '.join(classes)}, of no column: name that of labels too (label, --label)")
    if label is not None and target is not None:
        raise ConfigError("label and target were both given: a network classifies or regresses; give one of them")
    targets = (target,) if isinstance(target, str) else tuple(target or ())
    base = replace(layout or Layout(), time=time, stream_column=stream, texts=() if label is None else (label,))
    base = replace(base, columns=None if channels is None else (*channels, *targets), remedies=_remedies(targets))
    paths = [Path(f) for f in files]
    if not paths:
        raise ConfigError("no file was given")
    found: dict[str, list[_Part]] = {}
    names: tuple[str, ...] | None = None
    notes: list[str] = []
    for path, name in zip(paths, _stream_names(paths, stream), strict=True):
        own, parts = _read(path, name, base, targets, notes)
        if names is not None and own != names:
            raise ConfigError(
                f"{path} has the columns {', '.join(own)} where {paths[0]} has {', '.join(names)}: choose those "
                "that all have with --columns"
            )
        names = own
        for key, part in parts.items():
            found.setdefault(key, []).append(part)
    assert names is not None
    n = len(names) - len(targets)
    kinds = _classes(found, classes, label, notes)
    number = {text: k for k, text in enumerate(kinds)}
    out = [_joined(key, parts, n, number if label is not None else None, notes) for key, parts in found.items()]
    return out, Names(names[:n], kinds, targets, tuple(notes))


def _remedies(targets: Sequence[str]) -> dict[str, str]:
    """What to do where a column holds text, by column."""
    goals = {name: f"a regression's targets (--target) are numbers; for classes say --label {name}" for name in targets}
    usual = (
        "is it the stream's name, or a label? then --stream-column or --label; else choose the columns with --columns"
    )
    return {**goals, "": usual}


def _stream_names(paths: Sequence[Path], stream: str | None) -> list[str]:
    """The files' names without their endings."""
    out = []
    for path in paths:
        ending = next((e for e in _ENDINGS if path.name.lower().endswith(e)), None)
        if ending is None:
            raise ConfigError(f"{path}: recordings are files that end in {', '.join(_ENDINGS)}")
        out.append(path.name[: -len(ending)])
    if stream is None:
        for name in out:
            if out.count(name) > 1:
                raise ConfigError(
                    f"two files would both be the stream {name!r}: rename one, or name the column "
                    "that says which stream a row is of (--stream-column)"
                )
            try:
                check_id(name)
            except BadId as error:
                raise ConfigError(f"{error}: rename the file, or name a stream column (--stream-column)") from None
    return out


def _read(
    path: Path, name: str, layout: Layout, targets: tuple[str, ...], notes: list[str]
) -> tuple[tuple[str, ...], dict[str, _Part]]:
    """(names of channels, then targets; what the file holds, by stream)."""
    if path.name.lower().endswith((".csv", ".csv.gz")):
        return _read_csv(path, name, layout, targets, notes)
    return _read_columns(path, name, layout, targets, notes)


def _read_csv(
    path: Path, name: str, layout: Layout, targets: tuple[str, ...], notes: list[str]
) -> tuple[tuple[str, ...], dict[str, _Part]]:
    streams = () if layout.stream_column is not None else (name,)
    rows: dict[str, list[list[float]]] = {}
    t: dict[str, list[int]] = {}
    labels: dict[str, list[str]] = {}
    with Feed([path], replace(layout, streams=streams)) as feed:
        order = _order(path, feed.columns, targets)
        for row in feed.rows():
            rows.setdefault(row.stream, []).append(row.x)
            t.setdefault(row.stream, []).append(row.t or 0)
            if row.texts:
                labels.setdefault(row.stream, []).append(row.texts[0])
        names, header = tuple(feed.columns[k] for k in order), feed.header
        timed = feed.timed
        if feed.skipped:
            notes.append(
                f"{path}: left out {count(feed.skipped, 'row')} that could not be read (first: {feed.first_skipped})"
            )
    parts = {
        key: _Part(
            np.array(values, np.float64).astype(np.float32)[:, order],
            np.array(t[key], np.int64) if timed else None,
            labels.get(key, []),
        )
        for key, values in rows.items()
    }
    if not rows:
        notes.append(f"{path} holds no row, and is left out")
    elif timed and streams:

        def cells() -> dict[str, list[str]]:
            others = tuple(c for c in header if c and header.count(c) == 1)
            every = replace(layout, streams=streams, columns=names[:1], texts=others)
            with Feed([path], every) as feed:
                found = [row.texts for row in islice(feed.rows(), ROWS)]
            return {c: [texts[k] for texts in found] for k, c in enumerate(others)}

        _add(notes, note_of_many(path, np.array(t[name], np.int64), cells))
    return names, parts


def _add(notes: list[str], note: str | None) -> None:
    if note is not None:
        notes.append(note)


def _order(path: Path, columns: Sequence[str], targets: tuple[str, ...]) -> list[int]:
    """Channels first, then targets."""
    for name in targets:
        if name not in columns:
            raise ConfigError(f"{path} has no column {name!r}: it has {', '.join(columns)}")
    channels = [k for k, name in enumerate(columns) if name not in targets]
    if not channels:
        beside = f" besides {', '.join(targets)}" if targets else ""
        raise ConfigError(f"{path} has no column of values{beside}: choose the columns with --columns")
    return [*channels, *(list(columns).index(name) for name in targets)]


def _read_columns(
    path: Path, name: str, layout: Layout, targets: tuple[str, ...], notes: list[str]
) -> tuple[tuple[str, ...], dict[str, _Part]]:
    table = of_columns.read_columns(path)
    wanted = [
        *(layout.columns or ()),
        *targets,
        *layout.texts,
        *([layout.stream_column] if layout.stream_column else []),
    ]
    wanted += [layout.time] if layout.time not in (None, "none") else []
    for column in wanted:
        if column not in table:
            raise ConfigError(f"{path} has no column {column!r}: it has {', '.join(table)}")
    time, t = of_columns.times(path, table, layout.time, layout.unit)
    keep = np.ones(len(next(iter(table.values()), ())), bool)
    taken = {time, layout.stream_column, *layout.texts, *(key for key, _ in layout.where)}
    for key, value in layout.where:
        if key not in table:
            raise ConfigError(f"{path} has no column {key!r}: it has {', '.join(table)}")
        keep &= np.array([text == value for text in of_columns.texts(table, key)], bool)
    if layout.where and len(keep) and not keep.any():
        raise ConfigError(f"no row of {path} has {' and '.join('='.join(w) for w in layout.where)}: mend --where")
    own = layout.columns or tuple(c for c in table if c not in taken)
    order = _order(path, own, targets)
    names = tuple(own[k] for k in order)
    values = np.stack([of_columns.numbers(path, table, c, layout.remedies) for c in names], 1)
    labels = of_columns.texts(table, layout.texts[0]) if layout.texts else []
    streams = of_columns.texts(table, layout.stream_column) if layout.stream_column else [name] * len(values)
    at: dict[str, list[int]] = {}
    for i in np.flatnonzero(keep).tolist():
        at.setdefault(streams[i], []).append(i)
    try:
        for key in at:
            check_id(key)
    except BadId as error:
        raise ConfigError(f"{path}: column {layout.stream_column!r}: {error}") from None
    if t is not None and layout.stream_column is None:
        _add(notes, note_of_many(path, t[keep], lambda: _texts(table, keep)))
    parts = {
        key: _Part(values[rows], None if t is None else t[rows], [labels[i] for i in rows] if labels else [])
        for key, rows in at.items()
    }
    return names, parts


def _texts(table: dict[str, of_columns.Column], keep: npt.NDArray[np.bool_]) -> dict[str, list[str]]:
    """The first ROWS of the rows that are kept, of every column."""
    rows = np.flatnonzero(keep)[:ROWS]
    return {c: of_columns.texts({c: column[rows]}, c) for c, column in table.items()}


def _classes(
    found: dict[str, list[_Part]], wanted: Sequence[str] | None, label: str | None, notes: list[str]
) -> tuple[str, ...]:
    """The classes in order: as wanted, or by number where all are numbers, or by the alphabet."""
    counts: dict[str, int] = {}
    for parts in found.values():
        for part in parts:
            for text in part.labels:
                if text.lower() not in MISSING:
                    counts[text] = counts.get(text, 0) + 1
    if label is None:
        return ()
    if not counts:
        raise ConfigError(f"no row has a label in column {label!r}: see how its cells are written, or choose another")
    if wanted is None:
        _check_classes(counts, label)
        return tuple(sorted(counts, key=float) if all(map(is_number, counts)) else sorted(counts))
    for text in wanted:
        if text not in counts:
            raise ConfigError(
                f"no row has the label {text!r} in column {label!r}: it holds {', '.join(sorted(counts)[:20])}; "
                "mend --classes"
            )
    others = sum(n for text, n in counts.items() if text not in wanted)
    if others:
        notes.append(f"{others:,} labels are none of {', '.join(wanted)}: those samples count as without a label")
    return tuple(wanted)


def _check_classes(counts: dict[str, int], label: str) -> None:
    """ConfigError for a column of quantities, each of which would be a class of its own."""
    numbers = all(map(is_number, counts))
    if len(counts) > MOST_NUMBERS and numbers and not all(float(text).is_integer() for text in counts):
        raise ConfigError(
            f"column {label!r} holds {len(counts):,} different numbers, such as {next(iter(counts))}, which look like "
            f"a quantity and not like classes: learn it as one with --target {label}, or say which count with --classes"
        )
    if len(counts) > MAX_WIDTH:
        raise ConfigError(
            f"column {label!r} holds {len(counts):,} different labels; a network tells {MAX_WIDTH:,} apart at most: "
            "say which count with --classes"
        )


def _joined(stream: str, parts: Sequence[_Part], n: int, number: dict[str, int] | None, notes: list[str]) -> Recording:
    """The parts of a stream one after the other, rows whose time goes back left out."""
    timed = all(p.t is not None for p in parts)
    if timed:
        parts = sorted(parts, key=lambda p: int(p.t[0]) if p.t is not None and len(p.t) else 0)
    values = np.concatenate([p.values for p in parts])
    t = np.concatenate([p.t for p in parts if p.t is not None]) if timed else None
    target: npt.NDArray[Any] | None = None
    if number is not None:
        target = np.array([number.get(text, -1) for p in parts for text in p.labels], np.int64)
    elif values.shape[1] > n:
        target = values[:, n:]
    ahead = np.ones(len(values), bool)
    if t is not None and len(t):
        # As the engine: a sample must not be earlier than the last one that was taken.
        ahead = t >= np.maximum.accumulate(t)
        if not ahead.all():
            left = int((~ahead).sum())
            notes.append(f"stream {stream}: left out, as by the engine, {count(left, 'row')} that went back in time")
            t = t[ahead]
    return Recording(stream, values[ahead][:, :n], t, None if target is None else target[ahead])
