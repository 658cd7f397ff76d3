"""Scored rows as CSV or Parquet."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TextIO

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError

__all__ = ["Columns", "Scored", "Table", "open_table"]

ENDINGS = (".csv", ".parquet")

RESERVED = ("stream", "t", "score", "flag", "cause")


@dataclass(frozen=True)
class Columns:
    """What a table holds: the stream and the time where there are any, inputs, outputs, score, flag and
    cause.
    """

    stream: bool
    t: bool
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @classmethod
    def of(cls, stream: bool, t: bool, inputs: Sequence[str], outputs: Sequence[str]) -> Columns:
        """Names that differ from each other: an input that is called like a column of ours gets `x_` in
        front.
        """
        taken = {*RESERVED, *outputs}
        return cls(stream, t, tuple(f"x_{name}" if name in taken else name for name in inputs), tuple(outputs))

    @property
    def names(self) -> list[str]:
        lead = [name for name, there in (("stream", self.stream), ("t", self.t)) if there]
        return [*lead, *self.inputs, *self.outputs, "score", "flag", "cause"]


@dataclass(frozen=True)
class Scored:
    """Some rows: ids, times (ns) if there are any, `x` and `y` float32 `(n, ...)`, score, flag and cause."""

    streams: list[str]
    t: list[int] | None
    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.float32]
    score: npt.NDArray[np.float32]
    flag: npt.NDArray[np.bool_]
    cause: list[str | None]


class Table(Protocol):
    """Where scored rows go; a context manager."""

    def write(self, rows: Scored) -> None: ...

    def __enter__(self) -> Table: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_table(path: Path | None, columns: Columns) -> Table:
    """A CSV file or a Parquet one, as the name ends; None is CSV on stdout.

    Raises ConfigError for another ending, and where Parquet is wanted and pyarrow is not installed.
    """
    if path is not None and path.suffix not in ENDINGS:
        raise ConfigError(f"the output {path} must end in {' or '.join(ENDINGS)}, which says what is written")
    if path is not None and path.suffix == ".parquet":
        return _Parquet(path, columns)
    return _Csv(path, columns)


class _Csv:
    """Numbers are written so that reading them as float32 gives the same bits: NumPy's shortest such
    decimal.
    """

    def __init__(self, path: Path | None, columns: Columns) -> None:
        self._columns = columns
        self._close = ExitStack()
        file: TextIO = sys.stdout
        if path is not None:
            part = self._close.enter_context(_replacing(path))
            file = self._close.enter_context(part.open("w", encoding="utf-8", newline=""))
        self._out = csv.writer(file, lineterminator="\n")
        self._out.writerow(columns.names)

    def write(self, rows: Scored) -> None:
        cells: list[Sequence[Any]] = []
        if self._columns.stream:
            cells.append(rows.streams)
        if self._columns.t:
            cells.append(rows.t or [""] * len(rows.streams))
        cells.extend(_texts(column) for column in rows.x.T)
        cells.extend(_texts(column) for column in rows.y.T)
        cells.append(_texts(rows.score))
        cells.append(["1" if flag else "0" for flag in rows.flag.tolist()])
        cells.append([cause or "" for cause in rows.cause])
        self._out.writerows(zip(*cells, strict=True))

    def __enter__(self) -> _Csv:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close.__exit__(kind, error, trace)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A file to write that becomes `path` only once all went well: no half a table is ever left behind."""
    part = path.with_name(path.name + ".part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _texts(values: npt.NDArray[np.float32]) -> list[str]:
    """Shortest decimals that give the same float32 again; whole numbers without a point, NaN as nothing."""
    return ["" if text == "nan" else text.removesuffix(".0") for text in map(str, values)]


class _Parquet:
    """One row group a call; missing inputs are nulls, times are timestamps in ns, UTC."""

    def __init__(self, path: Path, columns: Columns) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError:
            raise ConfigError(
                f"writing {path} needs pyarrow: pip install 'streamrnn[parquet]', or write a .csv"
            ) from None
        self._columns = columns
        self._arrow: Any = pyarrow
        kinds: dict[str, Any] = dict.fromkeys(columns.names, pyarrow.float32())
        kinds["flag"], kinds["cause"] = pyarrow.bool_(), pyarrow.string()
        if columns.stream:
            kinds["stream"] = pyarrow.string()
        if columns.t:
            kinds["t"] = pyarrow.timestamp("ns", tz="UTC")
        self._schema = pyarrow.schema(list(kinds.items()))
        self._close = ExitStack()
        part = self._close.enter_context(_replacing(path))
        self._writer: Any = self._close.enter_context(parquet.ParquetWriter(part, self._schema))

    def write(self, rows: Scored) -> None:
        cells: list[Any] = []
        if self._columns.stream:
            cells.append(rows.streams)
        if self._columns.t:
            cells.append(rows.t)
        cells.extend(self._floats(column) for column in rows.x.T)
        cells.extend(self._floats(column) for column in rows.y.T)
        cells += [rows.score, rows.flag, rows.cause]
        arrays = [self._arrow.array(cell, type=kind) for cell, kind in zip(cells, self._schema.types, strict=True)]
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))

    def _floats(self, values: npt.NDArray[np.float32]) -> Any:
        return self._arrow.array(values, type=self._arrow.float32(), from_pandas=True)

    def __enter__(self) -> _Parquet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close.__exit__(kind, error, trace)
