"""Whether a file that is taken for one stream holds many: their rows then share times, or go back in time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["ROWS", "note_of_many"]

ROWS = 20_000
"""Rows in which a column that names streams is looked for."""

SHARE = 0.1
"""Of all rows: where fewer share their time, and no column names streams, nothing is said."""

RARE = 0.01
"""Share of rows that may repeat their own stream's time, where a column names streams."""

Cells = Mapping[str, Sequence[str]]


def note_of_many(path: object, t: npt.NDArray[np.int64], cells: Callable[[], Cells]) -> str | None:
    """What to say of times int64 (T,) that stand still or go back; None where they do not, or seldom.

    `cells` gives the file's columns as text, their first ROWS rows; it is called only where it is needed.

    >>> print(note_of_many("ward.csv", np.array([1, 1, 2, 2, 3, 3]), lambda: {"bed": ["a", "b"] * 3}))
    ward.csv: 3 of 6 rows have the time of the row before, as where many streams are in one file: --stream-column bed \
would tell them apart (2 of them, in each of which time goes on)
    """
    step = np.diff(t)
    again, back = int((step == 0).sum()), int((step < 0).sum())
    if not again and not back:
        return None
    found = _naming(t[:ROWS], cells())
    told = []
    if again:
        told.append(f"{again:,} of {len(t):,} rows have the time of the row before")
    if back:
        told.append(f"{back:,} times go back")
    said = f"{path}: {' and '.join(told)}, as where many streams are in one file: "
    if found is not None:
        name, n = found
        return f"{said}--stream-column {name} would tell them apart ({n:,} of them, in each of which time goes on)"
    if again + back < SHARE * len(t):
        return None
    return f"{said}if so, name the column that tells them apart (--stream-column); none of its columns looks like that"


def _naming(t: npt.NDArray[np.int64], cells: Cells) -> tuple[str, int] | None:
    """(the column of values in each of which time goes on, how many they are), or None. Where time goes on alike in
    several, that with the fewest values.
    """
    found: list[tuple[int, int, str]] = []
    for name, texts in cells.items():
        values, of = np.unique(np.array(texts), return_inverse=True)
        n = len(values)
        if "" in values or not 2 <= n <= len(t) // 2:
            continue
        order = np.argsort(of, kind="stable")
        own = np.diff(of[order]) == 0
        still = int((np.diff(t[order])[own] <= 0).sum())
        if still <= RARE * len(t):
            found.append((still, n, name))
    if not found:
        return None
    _, n, name = min(found)
    return name, n
