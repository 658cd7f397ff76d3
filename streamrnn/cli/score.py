"""`streamrnn score`: the daemon's engine over files, without a daemon, and the same bits out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..feeds import STDIN, Layout, Recording, Row
from .notice import COMPILING, count, patience, say, say_skipped
from .options import (
    ColumnsOption,
    DecimalCommaOption,
    EncodingOption,
    FilesArgument,
    ForceOption,
    ModelOption,
    SkipBadRowsOption,
    StreamColumnOption,
    StreamOption,
    TimeFormatOption,
    TimeOption,
    TimeUnitOption,
    WhereOption,
    layout_of,
)

if TYPE_CHECKING:
    from ..engine import Engine
    from ..model import Model
    from .tables import Scored

__all__ = ["score"]

BATCH = 1024
"""Rows for one call of the engine: enough to fill its tiles, few enough to see progress."""


def score(
    files: FilesArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="OUT", help="A .csv, .csv.gz or .parquet file; else CSV on stdout."),
    ] = None,
    force: ForceOption = False,
    model: ModelOption = "adaptive",
    stream: StreamOption = None,
    stream_column: StreamColumnOption = None,
    time: TimeOption = None,
    time_unit: TimeUnitOption = None,
    columns: ColumnsOption = None,
    where: WhereOption = None,
    encoding: EncodingOption = "utf-8",
    decimal_comma: DecimalCommaOption = False,
    time_format: TimeFormatOption = None,
    skip_bad_rows: SkipBadRowsOption = False,
    capacity: Annotated[int, typer.Option(min=1, help="Streams alive at once, as in the daemon.")] = 10_000,
) -> int:
    """Score CSV files offline, to the same bits as the daemon.

    Writes t, the inputs, the outputs (y_...), score, flag and cause of every row; t in ns since 1970.
    Causes name the file's columns; the daemon says x0, x1, ... unless it is given names: serve --features.

    Example: streamrnn score bed1.csv bed2.csv -o scored.csv
    """
    from ..engine import Engine
    from .models import check_width, load
    from .tables import Columns, check_output, open_table

    layout = layout_of(
        streams=stream,
        stream_column=stream_column,
        time=time,
        time_unit=time_unit,
        columns=columns,
        where=where,
        encoding=encoding,
        decimal_comma=decimal_comma,
        time_format=time_format,
        skip_bad_rows=skip_bad_rows,
    )
    if output is not None:
        check_output(output, files, force)
    chosen = None if model == "adaptive" else load(model)
    with Recording(files, _for_model(layout, chosen, files)) as recording:
        network = chosen or load(model, recording.columns)
        check_width(network, recording.columns)
        outputs = [f"y_{name}" if network.spec.head == "forecast" else name for name in network.spec.outputs]
        table_columns = Columns.of(recording.several, recording.timed, recording.columns, outputs)
        engine = Engine(network, capacity=capacity)
        from .progress import tracked

        admitted = _Admitted(tracked(recording.rows(), recording, "scoring"))
        batches = _batches(admitted, BATCH)
        tally = _Tally()
        first = next(batches, None)  # what is wrong with the first row is said before anything is written
        with open_table(output, table_columns) as table, patience(COMPILING) as compiled:
            for rows in chain([] if first is None else [first], batches):
                scored = _scored(engine, rows)
                table.write(scored)
                tally.add(scored)
                compiled()
        say_skipped(recording.skipped, recording.first_skipped)
    if output is not None:
        say(f"{output}: {tally}")
    if admitted.refused:
        print(
            f"streamrnn: {admitted.refused} rows went back in time and were left out, as the daemon would "
            f"(first: {admitted.first_refused})",
            file=sys.stderr,
        )
    return 0


class _Admitted:
    """Rows whose stream's time does not go back: the daemon refuses the others and touches no state."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = rows
        self._last: dict[str, int] = {}
        self.refused = 0
        self.first_refused = ""

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            if row.t is not None:
                if row.t < self._last.get(row.stream, row.t):
                    self.refused += 1
                    self.first_refused = self.first_refused or f"{row.stream} at {row.t} ns"
                    continue
                self._last[row.stream] = row.t
            yield row


class _Tally:
    """What a table holds, for the line at its end."""

    def __init__(self) -> None:
        self._rows = self._flags = 0
        self._flagged: dict[str, bool] = {}

    def add(self, rows: Scored) -> None:
        self._rows += len(rows.streams)
        for stream, flag in zip(rows.streams, rows.flag.tolist(), strict=True):
            self._flags += flag and not self._flagged.get(stream, False)
            self._flagged[stream] = flag

    def __str__(self) -> str:
        return (
            f"{count(self._rows, 'row')} of {count(len(self._flagged), 'stream')}, {count(self._flags, 'flag')} raised"
        )


def _batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    source = iter(rows)
    while batch := list(islice(source, size)):
        yield batch


def _scored(engine: Engine, rows: Sequence[Row]) -> Scored:
    import numpy as np

    from .tables import Scored

    streams = [row.stream for row in rows]
    x = np.array([row.x for row in rows], np.float64).astype(np.float32)
    t = None if rows[0].t is None else [row.t or 0 for row in rows]
    out = engine.step_many(streams, x, t)
    return Scored(streams, t, x, out.y, out.score, out.flag, list(out.cause))


def _for_model(layout: Layout, model: Model | None, files: Sequence[Path]) -> Layout:
    """A model file knows its columns by name: use those where the files have them and the user named none."""
    if model is not None and model.spec.tokens:
        layout = replace(layout, tokens=model.spec.tokens)
    if model is None or layout.columns is not None or STDIN in files:  # which can be opened once
        return layout
    with Recording(files, layout) as recording:
        fits = set(model.spec.features) <= set(recording.columns)
    return replace(layout, columns=model.spec.features) if fits else layout
