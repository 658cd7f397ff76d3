"""Blocks: many samples in one message, stepped in pieces, answered by one message."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ..burst import ACCEPTED, Results
from ..errors import WrongWidth
from ..wire.messages import BLOCK_TOPIC, Block, encode_block_output
from .fill import Columns, columns_of, fill_rows
from .fleet import Fleet, Lane
from .outlet import Outlet
from .rows import publish_rows

__all__ = ["BlockPath"]

_SENT = ("verdict", "y", "score", "flag")
_LITTLE = {name: np.dtype(name).newbyteorder("<") for name in ("f4", "i8", "u8")}


class BlockPath:
    """Answers blocks through `outlet` with the engines of `fleet`."""

    def __init__(self, outlet: Outlet, fleet: Fleet) -> None:
        self._outlet = outlet
        self._fleet = fleet

    def answer(self, block: Block, recv: int) -> Iterator[None]:
        """Step the block's rows in order and publish one `block/` for those that were accepted, if any; pauses after
        each piece, until it is asked to go on.

        `event/` and `flag/` messages come row by row, as for single samples. A row whose stream has another width
        is refused alone; a block whose width no engine takes is refused as a whole.
        """
        counters = self._outlet.counters
        counters.blocks += 1
        columns = columns_of(block)
        try:
            lane = self._lane(block)
        except WrongWidth as error:
            stream = block.streams[0].decode() if block.one_id else None
            self._outlet.events.reject(stream, error.code, str(error), rows=block.n)
            return
        columns = self._admitted(columns, lane)
        n, size = len(columns), lane.burst.capacity
        counters.samples += n
        kept = _Answers(n, lane.engine.n_out)
        for start in range(0, n, size):
            stop = min(start + size, n)
            fill_rows(lane.burst, columns, start, stop)
            lane.burst.recv = recv
            done = 0
            while start + done < stop:
                first = done
                done += lane.engine.ingest(lane.burst, lane.results, first)
                publish_rows(self._outlet, lane, first, done, recv, outputs=False)
            kept.take(lane.results, start, stop)
            yield
        accepted = np.flatnonzero(kept.verdict == ACCEPTED)
        counters.accepted += len(accepted)
        counters.outputs += len(accepted)
        if len(accepted):
            self._outlet.send(BLOCK_TOPIC, _encode(columns, kept, accepted, block.one_id, recv))

    def _lane(self, block: Block) -> Lane:
        if block.one_id:
            return self._fleet.route(block.streams[0], block.n_in)
        return self._fleet.lane(block.n_in)

    def _admitted(self, columns: Columns, lane: Lane) -> Columns:
        """The rows whose streams belong to the lane; the others are refused."""
        if self._fleet.n_in is not None:
            return columns
        width = lane.engine.n_in
        strangers: dict[bytes, str] = {}
        for stream in dict.fromkeys(columns.streams):
            try:
                self._fleet.route(stream, width)
            except WrongWidth as error:  # noqa: PERF203 - one try a stream, not a row
                strangers[stream] = str(error)
        if not strangers:
            return columns
        rows = []
        for i, stream in enumerate(columns.streams):
            if stream in strangers:
                self._outlet.events.reject(stream.decode(), WrongWidth.code, strangers[stream])
            else:
                rows.append(i)
        return columns.take(rows)


class _Answers:
    """Columns of a whole block's results, filled piece by piece."""

    def __init__(self, n: int, n_out: int) -> None:
        self.verdict: npt.NDArray[np.int8] = np.zeros(n, np.int8)
        self.y: npt.NDArray[np.float32] = np.zeros((n, n_out), np.float32)
        self.score: npt.NDArray[np.float32] = np.zeros(n, np.float32)
        self.flag: npt.NDArray[np.uint8] = np.zeros(n, np.uint8)

    def take(self, results: Results, start: int, stop: int) -> None:
        for name in _SENT:
            getattr(self, name)[start:stop] = getattr(results, name)[: stop - start]


def _encode(columns: Columns, kept: _Answers, rows: npt.NDArray[np.int64], one_id: bool, recv: int) -> bytes:
    streams = columns.streams
    ids = streams[0].decode() if one_id else [streams[i].decode() for i in rows.tolist()]
    t = np.full(len(rows), recv, np.int64) if columns.t is None else columns.t[rows]
    seq = None if columns.seq is None else columns.seq[rows].astype(_LITTLE["u8"]).tobytes()
    return encode_block_output(
        ids,
        seq,
        t.astype(_LITTLE["i8"]).tobytes(),
        kept.y[rows].astype(_LITTLE["f4"]).tobytes(),
        kept.score[rows].astype(_LITTLE["f4"]).tobytes(),
        kept.flag[rows].tobytes(),
        recv,
        time.time_ns(),
    )
