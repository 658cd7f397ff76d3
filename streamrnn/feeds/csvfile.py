"""CSV files as feeds: which columns they hold, what their times mean, and their rows merged by time.

Everything that `publish`, `score` and `demo --feed` read comes through here, so that a value is the same
number on every path: the decimal text is rounded to float64, and later to float32, once each.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from heapq import merge
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from ..errors import BadId, ConfigError, Malformed, StreamRNNError
from ..ids import check_id
from .cells import LARGEST, MISSING, POINTLESS, index_of, is_number, number, time_index
from .times import TimeParser, time_parser

__all__ = ["STDIN", "Layout", "Recording", "Row"]

GZIP = b"\x1f\x8b"
"""What a gzipped file begins with (RFC 1952)."""

STDIN = Path("-")


class Row(NamedTuple):
    """One sample: `t` in ns since the epoch or None, its stream, its values, NaN for a missing one, and the cells of
    the columns that are kept as text.
    """

    t: int | None
    stream: str
    x: list[float]
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """What the user said about the columns; None means: find out.

    `time` is a column's name or "none"; `unit` one of s, ms, us, ns, iso; `streams` names each file's stream;
    `stream_column` the column that does; `where` keeps the rows whose cells equal the given text. `encoding` is the
    files'; `decimal_comma` reads 36,6 as a number; `time_format` is that of `datetime.strptime`; `skip_bad_rows` leaves
    out rows that cannot be read, and counts them. With `tokens` above 0 values are whole numbers below that. The
    columns `texts` are no values: rows carry their cells as text. `remedies` says by column what to do where a cell is
    no number, in place of the usual advice, and under "" for all others.
    """

    time: str | None = None
    unit: str | None = None
    columns: tuple[str, ...] | None = None
    streams: tuple[str, ...] = ()
    stream_column: str | None = None
    where: tuple[tuple[str, str], ...] = ()
    encoding: str = "utf-8"
    decimal_comma: bool = False
    time_format: str | None = None
    skip_bad_rows: bool = False
    tokens: int = 0
    texts: tuple[str, ...] = ()
    remedies: Mapping[str, str] = field(default_factory=dict)


class Recording:
    """CSV files, plain or gzipped, opened together and played as one feed.

    `columns` are the names of the values in every row, `header` all names of the first file, `timed` says whether rows
    carry a time, `several` whether there may be more than one stream, and `streams` names them, or is None where a
    column does. A context manager: leaving it closes the files.

    Raises ConfigError for a column that is not there and OSError for a file that cannot be read, on opening;
    Malformed, naming file, line and column, while the rows are read.
    """

    def __init__(self, paths: Sequence[Path], layout: Layout) -> None:
        self._close = ExitStack()
        self._where = layout.where
        names = _stream_names(paths, layout)
        try:
            self._tables = [_Table(path, layout, name, self._close) for path, name in zip(paths, names, strict=True)]
        except BaseException:
            self._close.close()
            raise
        first = self._tables[0]
        for table in self._tables[1:]:
            if table.columns != first.columns:
                self._close.close()
                raise ConfigError(
                    f"{table.path} has the columns {', '.join(table.columns)} where {first.path} has "
                    f"{', '.join(first.columns)}: choose those that both have with --columns"
                )
            if table.timed != first.timed:
                self._close.close()
                raise ConfigError(
                    f"of {first.path} and {table.path} only one has times: name the column with --time, "
                    "or leave times out with --time none"
                )
        self.columns = first.columns
        self.header = tuple(first.header)
        self.timed = first.timed
        self.streams = None if layout.stream_column is not None else names
        self.several = len(self._tables) > 1 or layout.stream_column is not None
        self.bytes_total = sum(table.size() for table in self._tables)

    @property
    def bytes_read(self) -> int:
        """How far into the files the rows have come, of `bytes_total`."""
        return sum(table.position() for table in self._tables)

    @property
    def skipped(self) -> int:
        """How many rows were left out so far."""
        return sum(table.skipped for table in self._tables)

    @property
    def first_skipped(self) -> Malformed | None:
        """What was wrong with the first row that was left out."""
        return next((table.first_skipped for table in self._tables if table.first_skipped is not None), None)

    def rows(self) -> Iterator[Row]:
        """The rows of all files in order of time; without times, one of each file in turn.

        Raises ConfigError at the end where there were rows and `where` let none of them pass.
        """
        passed = False
        for row in self._merged():
            passed = True
            yield row
        if not passed and self._where and any(table.held_rows for table in self._tables):
            wanted = " and ".join(f"{name}={value}" for name, value in self._where)
            names = ", ".join(str(table.path) for table in self._tables)
            raise ConfigError(f"no row of {names} has {wanted}: see how the cells are written, and mend --where")

    def _merged(self) -> Iterator[Row]:
        if len(self._tables) == 1:
            return self._tables[0].rows()
        if self.timed:
            return merge(*(table.rows() for table in self._tables), key=_time_of)
        numbered = (enumerate(table.rows()) for table in self._tables)
        return (row for _, row in merge(*numbered, key=_number_of))

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close.close()


def _time_of(row: Row) -> int:
    return row.t or 0


def _number_of(numbered: tuple[int, Row]) -> int:
    return numbered[0]


def _stream_names(paths: Sequence[Path], layout: Layout) -> list[str]:
    """The stream of each file: as given, or the file's name without its ending."""
    if not paths:
        raise ConfigError("no file was given")
    if layout.streams and layout.stream_column is not None:
        raise ConfigError("--stream and --stream-column both name the stream: give one of them")
    if layout.streams and len(layout.streams) != len(paths):
        raise ConfigError(
            f"--stream was given {len(layout.streams)} times for {len(paths)} files: give it once a file, "
            "or leave it out and the files' names are used"
        )
    if paths.count(STDIN) > 1:
        raise ConfigError("- was given twice: standard input can be read once")
    names = list(layout.streams) or [
        "stdin" if path == STDIN else path.name.removesuffix(".gz").removesuffix(".csv") for path in paths
    ]
    if layout.stream_column is None:
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"two files would both be the stream {name!r}: name them with --stream")
    return names


class _Table:
    """One open CSV file."""

    def __init__(self, path: Path, layout: Layout, stream: str, close: ExitStack) -> None:
        self.path = path
        self._stream = stream
        self._raw: io.BufferedReader = (
            sys.stdin.buffer if path == STDIN else close.enter_context(path.open("rb"))  # type: ignore[assignment]
        )
        self._packed = self._raw.peek(2)[:2] == GZIP
        binary = gzip.GzipFile(fileobj=self._raw) if self._packed else self._raw
        self._encoding = layout.encoding
        encoding = "utf-8-sig" if layout.encoding == "utf-8" else layout.encoding
        self._text = close.enter_context(io.TextIOWrapper(binary, encoding=encoding, newline=""))
        if layout.stream_column is None:
            try:
                check_id(stream)
            except BadId as error:
                raise ConfigError(f"{error}: name the stream of {path} with --stream") from None
        self._read = 0
        self._comma = layout.decimal_comma
        self._time_format = layout.time_format
        self._skip = layout.skip_bad_rows
        self._tokens = layout.tokens
        self._remedies = layout.remedies
        self.skipped = 0
        self.first_skipped: Malformed | None = None
        self.held_rows = False
        self._line = 1
        self._underscore = False
        self._known: set[str] = set()
        header = self._header()
        self._header_width = len(header)
        self._where = [(index_of(path, header, name), value) for name, value in layout.where]
        self._stream_at = None if layout.stream_column is None else index_of(path, header, layout.stream_column)
        self._time_at = time_index(path, header, layout.time, layout.columns)
        self._unit = layout.unit
        self._to_ns: TimeParser | None = None
        self._texts_at = [index_of(path, header, name) for name in layout.texts]
        taken = {self._stream_at, self._time_at, *self._texts_at, *(at for at, _ in self._where)}
        if layout.columns is None:
            self._at = [i for i, name in enumerate(header) if i not in taken and name]
        else:
            self._at = [index_of(path, header, name) for name in layout.columns]
        if not self._at:
            raise ConfigError(f"{path} has no column of values: it holds {', '.join(header)}")
        for i in self._at:
            index_of(path, header, header[i])  # refuses a name that is there twice
        self.header = header
        self.columns = tuple(header[i] for i in self._at)
        self._needed = 1 + max(
            [*self._at, *self._texts_at, *(at for at in (self._time_at, self._stream_at) if at is not None)]
            + [at for at, _ in self._where]
        )

    @property
    def timed(self) -> bool:
        return self._time_at is not None

    def position(self) -> int:
        """Bytes of the file that the rows have come to, about."""
        if not self._raw.seekable():
            return 0
        return self._raw.tell() if self._packed else min(self._read, self._raw.tell())

    def size(self) -> int:
        """Bytes of the file; 0 where it is a pipe."""
        return self.path.stat().st_size if self._raw.seekable() and self.path != STDIN else 0

    def _lines(self) -> Iterator[str]:
        for line in self._text:
            self._read += len(line)
            # The csv module asks for no line before its turn, so this is about the row in hand.
            self._underscore = self._underscore or "_" in line
            yield line

    def rows(self) -> Iterator[Row]:
        """The rows that pass `where`, blank lines left out."""
        for cells in self._cells():
            if not cells:
                continue
            self.held_rows = True
            try:
                row = self._row(cells)
            except Malformed as error:
                if not self._skip:
                    raise
                self.skipped += 1
                self.first_skipped = self.first_skipped or error
                continue
            if row is not None:
                yield row

    def _row(self, cells: list[str]) -> Row | None:
        """The row that these cells are; None where it does not pass `where`."""
        if len(cells) != self._header_width:
            self._check_width(cells)
        if self._where and any(cells[i] != value for i, value in self._where):
            return None
        try:
            if self._comma or (self._underscore and any("_" in cells[i] for i in self._at)):
                raise ValueError
            x = [float(cells[i]) for i in self._at]
        except ValueError:
            x = [self._number(cells, i) for i in self._at]
        self._underscore = False
        for i, value in zip(self._at, x, strict=True):
            if not -LARGEST < value < LARGEST and not math.isnan(value):
                raise self._bad(
                    i, f"{cells[i]!r} is beyond float32, whose largest is 3.4e38; leave it empty if missing"
                )
            if self._tokens and not (0 <= value < self._tokens and value == int(value)):
                raise self._bad(i, f"{cells[i]!r} is no token: they are whole numbers from 0 to {self._tokens - 1}")
        stream = self._stream
        if self._stream_at is not None:
            stream = cells[self._stream_at].strip()
            if stream not in self._known:
                self._check_stream(stream, self._stream_at)
                self._known.add(stream)
        t = None if self._time_at is None else self._time(cells[self._time_at])
        return Row(t, stream, x, tuple(cells[i].strip() for i in self._texts_at) if self._texts_at else ())

    def _check_width(self, cells: list[str]) -> None:
        """Raise Malformed for a row that lacks a cell that is wanted, or has one that no name stands above."""
        extra = [cell for cell in cells[self._header_width :] if cell.strip()]
        if extra or len(cells) < self._needed:
            more = f"; {extra[0]!r:.60} has no name" if extra else ""
            raise Malformed(
                f"{self.path}:{self._line}: {len(cells)} cells where the first line names "
                f"{self._header_width} columns{more}"
            )

    def _check_stream(self, stream: str, at: int) -> None:
        try:
            check_id(stream)
        except BadId as error:
            raise self._bad(at, str(error)) from None

    def _cells(self) -> Iterator[list[str]]:
        """The file's rows as text; `_line` is the line where the last one ended."""
        started = self._line
        try:
            for cells in self._reader:
                self._line = started + self._reader.line_num
                yield cells
        except UnicodeDecodeError:
            raise Malformed(f"{self.path}: after line {self._line} is {self._strange()}") from None
        except (csv.Error, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise Malformed(f"{self.path}: unreadable after line {self._line}: {error}") from None

    def _header(self) -> list[str]:
        try:
            line = self._text.readline()
        except UnicodeDecodeError:
            raise Malformed(f"{self.path}: in its first line is {self._strange()}") from None
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise Malformed(f"{self.path} is not a CSV file: {error}") from None
        self._read += len(line)
        if not line.strip():
            raise Malformed(f"{self.path} is empty: its first line must name the columns")
        delimiter = max(";\t" if self._comma else ",;\t", key=line.count)
        header = [name.strip() for name in next(csv.reader([line], delimiter=delimiter))]
        if all(is_number(name) for name in header):
            raise Malformed(f"{self.path}:1: the first line must name the columns, and it holds numbers")
        self._reader = csv.reader(self._lines(), delimiter=delimiter, strict=True)  # refuses a quote that never ends
        return header

    def _strange(self) -> str:
        other = "latin-1" if self._encoding == "utf-8" else "utf-8"
        return f"a byte that is not {self._encoding.upper()}: name the file's encoding, as in --encoding {other}"

    def _time(self, cell: str) -> int:
        if self._comma and POINTLESS.fullmatch(cell.strip()):
            cell = cell.replace(",", ".")
        if self._to_ns is None:
            assert self._time_at is not None
            try:
                self._to_ns = time_parser(self.header[self._time_at], self._unit, cell, self._time_format)
            except StreamRNNError as error:
                raise self._bad(self._time_at, str(error)) from None
        try:
            return self._to_ns(cell)
        except (ValueError, ArithmeticError):
            assert self._time_at is not None
            raise self._bad(self._time_at, f"{cell!r} is not a time") from None

    def _number(self, cells: list[str], i: int) -> float:
        cell = cells[i].strip()
        if cell.lower() in MISSING:
            return math.nan
        if self._comma:
            if "." in cell:
                raise self._bad(i, f"{cell!r} has a point: with --decimal-comma numbers are written like 36,6")
            cell = cell.replace(",", ".")
        try:
            return number(cell)
        except ValueError:
            remedy = "is its comma a decimal one? then --decimal-comma" if POINTLESS.fullmatch(cell) else ""
            other = self._remedies.get("", "choose the columns with --columns")
            remedy = remedy or self._remedies.get(self.header[i], other)
            raise self._bad(i, f"{cell!r} is not a number; {remedy}") from None

    def _bad(self, i: int, what: str) -> Malformed:
        return Malformed(f"{self.path}:{self._line}: column {self.header[i]!r}: {what}")
