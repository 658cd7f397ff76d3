"""Parquet and npz files as named columns of one length."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.errors import ConfigError, Malformed, NotInstalled
from streamrnn.feeds.cells import MISSING, number
from streamrnn.feeds.times import TIME_NAME, time_parser

__all__ = ["Column", "numbers", "read_columns", "texts", "times"]

Column = npt.NDArray[Any]

_NAMES = ("channels", "features", "columns")
"""Arrays of an npz file that name the channels of its array x."""


_DAMAGED = (
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    TypeError,
    AttributeError,
    NotImplementedError,
)
"""What NumPy and zipfile raise of bytes that are no npz file."""


def read_columns(path: Path) -> dict[str, Column]:
    """The columns of a .parquet or .npz file by name; Malformed for a damaged one."""
    return _parquet(path) if path.suffix.lower() == ".parquet" else _npz(path)


def _parquet(path: Path) -> dict[str, Column]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise NotInstalled(f"reading {path} needs pyarrow: pip install 'streamrnn[parquet]'") from None
    try:
        table = parquet.read_table(path)
        twice = {name for name in table.column_names if table.column_names.count(name) > 1}
        if twice:
            raise Malformed(f"{path} has more than one column {min(twice)!r}; give each a name of its own")
        return _of_table(table)
    except (ArrowException, OSError) as error:
        if getattr(error, "errno", None) is not None:
            raise  # the system's, which names the file
        raise Malformed(f"{path} is no Parquet file, or it is damaged: {' '.join(str(error).split())[:160]}") from None


def _of_table(table: Any) -> dict[str, Column]:
    """The columns of pyarrow's table."""
    out: dict[str, Column] = {}
    for name in table.column_names:
        column = table.column(name)
        kind = str(column.type)
        if kind.startswith(("timestamp", "date")):
            out[name] = column.cast("timestamp[ns]").to_numpy().astype("datetime64[ns]")
        elif kind.startswith(("double", "float", "half", "int", "uint", "bool", "decimal")):
            nulls = column.null_count > 0
            out[name] = np.asarray(column.to_numpy(), np.float64 if nulls or kind.startswith("decimal") else None)
        else:
            out[name] = np.array(["" if v is None else str(v) for v in column.to_pylist()])
    return out


def _npz(path: Path) -> dict[str, Column]:
    try:
        with np.load(path, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
    except _DAMAGED:  # NumPy's words advise to unpickle
        raise Malformed(
            f"{path} is no npz file of plain arrays, or it is damaged; write one with np.savez, of numbers and text"
        ) from None
    out: dict[str, Column] = {}
    x = held.pop("x", None)
    if x is not None:
        x = x[:, None] if x.ndim == 1 else x
        if x.ndim != 2:
            raise Malformed(f"{path}: x has shape {x.shape}; it must be (samples, channels)")
        given = next((held.pop(name) for name in _NAMES if name in held), None)
        names = [f"x{k}" for k in range(x.shape[1])] if given is None else [str(v) for v in np.atleast_1d(given)]
        if len(names) != x.shape[1]:
            raise Malformed(f"{path} names {len(names)} channels ({', '.join(names)}) where x has {x.shape[1]}")
        out = {name: x[:, k] for k, name in enumerate(names)}
    for name, array in held.items():
        if array.ndim == 2:
            out |= {f"{name}{k}": array[:, k] for k in range(array.shape[1])}
        elif array.ndim == 1:
            out[name] = array
    lengths = {len(v) for v in out.values()}
    if x is not None:
        odd = next((name for name, v in out.items() if len(v) != len(x) and TIME_NAME.fullmatch(name)), None)
        if odd is not None:
            raise Malformed(f"{path}: {odd} has {len(out[odd])} times for the {len(x)} samples of x; give one a sample")
        out = {name: v for name, v in out.items() if len(v) == len(x)}
    elif len(lengths) > 1:
        each = ", ".join(f"{name} ({len(v)})" for name, v in out.items())
        raise Malformed(f"{path} holds arrays of different lengths: {each}; all columns must have one length")
    return out


def numbers(
    path: Path, columns: Mapping[str, Column], name: str, remedies: Mapping[str, str]
) -> npt.NDArray[np.float32]:
    """A column as float32, text read as in a CSV file; Malformed, with the remedy, for what is no number, or infinite.

    `remedies` are as in `Layout`.
    """
    column = columns[name]
    remedy = remedies.get(name) or remedies.get("", "choose the columns with --columns")
    if column.dtype.kind in "UO":
        column = _parsed(path, name, column, remedy)
    if column.dtype.kind not in "fiub":
        what = _KINDS.get(column.dtype.kind, str(column.dtype))
        raise Malformed(f"{path}: column {name!r} holds {what}, no numbers; {remedy}")
    with np.errstate(over="ignore"):
        out = column.astype(np.float32)
    wrong = np.flatnonzero(np.isinf(out))
    if len(wrong):
        i = int(wrong[0])
        raise Malformed(
            f"{path}: column {name!r}, row {i}: {column[i]!r} is infinite in float32, whose largest number is 3.4e38; "
            "write NaN where a value is missing"
        )
    return out


_KINDS = {"M": "dates", "m": "durations", "c": "complex numbers", "S": "bytes", "V": "records"}


def _parsed(path: Path, name: str, column: Column, remedy: str) -> npt.NDArray[np.float64]:
    """A column of text as numbers, NaN where a cell says that there is none."""
    out = np.full(len(column), np.nan)
    for i, cell in enumerate(column.tolist()):
        text = str(cell).strip()
        try:
            if text.lower() not in MISSING:
                out[i] = number(text)
        except ValueError:
            raise Malformed(f"{path}: column {name!r}, row {i}: {text!r:.60} is not a number; {remedy}") from None
    return out


def texts(columns: Mapping[str, Column], name: str) -> list[str]:
    """A column as text; whole numbers without a point, what is missing as nothing."""
    column = columns[name]
    if column.dtype.kind == "f":
        return ["" if np.isnan(v) else str(int(v)) if v.is_integer() else repr(v) for v in column.tolist()]
    return [str(v).strip() for v in column.tolist()]


def times(
    path: Path, columns: Mapping[str, Column], time: str | None, unit: str | None
) -> tuple[str | None, npt.NDArray[np.int64] | None]:
    """(name of the column of times, ns since the epoch); None, None where there is none."""
    if time is None:
        time = next((name for name in columns if TIME_NAME.fullmatch(name)), None)
    if time is None or time == "none":
        return None, None
    column = columns[time]
    if column.dtype.kind == "M":
        lacking = np.flatnonzero(np.isnat(column))
        if len(lacking):
            raise Malformed(f"{path}: column {time!r}, row {lacking[0]} has no time; leave such rows out")
        return time, column.astype("datetime64[ns]").astype(np.int64)
    if not len(column):
        return time, np.zeros(0, np.int64)
    cells = [repr(v) if isinstance(v, float) else str(v) for v in column.tolist()]
    try:
        to_ns = time_parser(time, unit, cells[0])
    except ConfigError as error:
        raise Malformed(f"{path}: column {time!r}: {error}") from None
    i = 0
    out = np.zeros(len(cells), np.int64)
    try:
        for i, cell in enumerate(cells):
            out[i] = to_ns(cell)
    except (ValueError, ArithmeticError):
        raise Malformed(
            f"{path}: column {time!r}, row {i}: {cells[i]!r:.60} is not a time; name another column (--time), or 'none'"
        ) from None
    return time, out
