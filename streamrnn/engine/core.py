"""What the engine is made of: a program, the streams' rows, the table, and the one way in for samples."""

from __future__ import annotations

import logging
import secrets
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn.burst import Burst, Results
from streamrnn.errors import ConfigError, DeviceError, ModelError
from streamrnn.gpus import choose
from streamrnn.ids import MAX_ID
from streamrnn.model import Model

from . import admission
from .admission import EVENT_ROOM, Arrivals, new_events
from .advance import advance, advance_shard, clear_row
from .crew import Crew
from .cuda.waves import passed_over
from .frame import Answers, Marks, Rows, bind, bind_arrivals, new_frame
from .ingest import SHARED, WIDER, admit_one, ingest, ingest_rows
from .outputs import Event
from .program import Slab, Work, build_program, make_layout, new_slab, new_work
from .table import GENERATION, LAST_EPOCH, lookup, new_table

if TYPE_CHECKING:
    from .cuda.device import Device

__all__ = ["Core", "Spare"]

_log = logging.getLogger("streamrnn")

_EVENTS: dict[int, tuple[str, str]] = {
    int(admission.CREATED): ("created", ""),
    int(admission.RESET): ("reset", "sample"),
    int(admission.EVICTED_IDLE): ("evicted", "idle"),
    int(admission.EVICTED_CAPACITY): ("evicted", "capacity"),
}

_EVENT_BUFFER = 4096

SHARE = 128
"""Rows a thread from which several threads are taken: fewer are stepped sooner than handed over."""


class Spare(NamedTuple):
    """Arrays of a call by handles that nobody sees, used again by the next: times and HAS_ bits where none are given,
    all zero; slots, fresh and epochs as scratch."""

    t: npt.NDArray[np.int64]
    has: npt.NDArray[np.uint8]
    slot: npt.NDArray[np.int64]
    fresh: npt.NDArray[np.uint8]
    epoch: npt.NDArray[np.int64]

    @classmethod
    def of(cls, n: int) -> Spare:
        longs, bytes_ = np.zeros((3, n), np.int64), np.zeros((2, n), np.uint8)
        return cls(longs[0], bytes_[0], longs[1], bytes_[1], longs[2])


class Core:
    """The engine's arrays and its data path; `Engine` is the class to use."""

    def __init__(
        self,
        model: Model,
        capacity: int = 10_000,
        idle_ttl: float | None = None,
        ring: int = 16,
        epoch: int = 0,
        threads: int = 1,
        device: str = "cpu",
    ) -> None:
        if not isinstance(model, Model):
            raise ModelError(f"model is {model!r:.60}; give a Model, as from Model.adaptive(n_in) or Model.load(path)")
        _check_integer("capacity", capacity, 1, 2**31 - 1)
        _check_integer("ring", ring, 0, 1_000_000)
        _check_integer("threads", threads, 1, 1024)
        if idle_ttl is not None and not 0 < idle_ttl < 1e9:
            raise ConfigError(f"idle_ttl is {idle_ttl!r}; it must be a positive number of seconds, or None")
        self.model = model
        self.capacity = capacity
        self.ring = ring
        self.idle_ttl = idle_ttl
        self.ttl = 0 if idle_ttl is None else int(idle_ttl * 1e9)
        self._layout = make_layout(model.spec)
        self._program = build_program(model, ring)
        self._work = new_work(model)
        self.threads = threads
        self._device = self._open(device)
        self.device = "cpu" if self._device is None else "cuda"
        self._crew = Crew(threads) if threads > 1 else None
        # Whatever is admitted for a GPU comes to Python, which has the way to it.
        self.share_from = 1 if self._device is not None else SHARE * threads if threads > 1 else 0
        self._other_work = [new_work(model) for _ in range(threads - 1)]
        self._table = new_table(capacity, secrets.randbits(64))
        self._table.head[LAST_EPOCH] = epoch
        self._events = new_events(_EVENT_BUFFER)
        self._kept_events: deque[Event] = deque(maxlen=_EVENT_BUFFER + 2 * capacity)
        self.events_lost = 0
        """Events that nobody asked for in time: the oldest are dropped from twice the capacity on."""
        self._marks = Marks(np.zeros(capacity, np.int64), np.zeros(1, np.int64), np.zeros(2, np.int64))
        self._one = Results(1, self.n_in, self.n_out)
        self._one_y = self._one.y[0]
        self._single = Burst(1, self.n_in)
        # No array has the shape None: a token is always looked at.
        self._row, self._row_shape = self._single.x[0], None if self.tokens else (self.n_in,)
        self._spare = Spare.of(64)
        self.frames_made = 0
        self._bound: tuple[Rows, Answers, Arrivals | None] | None = None
        self._bound_to: tuple[Burst, Results] | None = None
        self._make_frames()

    @property
    def n_in(self) -> int:
        return self.model.spec.n_in

    @property
    def tokens(self) -> int:
        """How many tokens there are where a sample is one, else 0."""
        return self.model.spec.tokens

    @property
    def n_out(self) -> int:
        return self.model.spec.n_out

    def ingest(self, burst: Burst, results: Results, start: int = 0) -> int:
        """Step the burst's rows from `start` on into `results`; returns how many were settled.

        That is fewer than remain only where the event buffer is full: drain `events()` and call again. The codec has
        checked ids, widths, infinities and ranges; sequence numbers and times are checked here (Results.verdict).
        """
        self._bind_burst(burst, results)
        return self._ingest(burst.n, burst.recv, start) - start

    def _bind_burst(self, burst: Burst, results: Results) -> None:
        if self._bound_to != (burst, results):
            self._bind(rows_of(burst, results), answers_of(results), arrivals_of(burst, results))
            self._bound_to = (burst, results)

    def _bind(self, rows: Rows, answers: Answers, arrivals: Arrivals | None = None) -> None:
        """Let the frames be about these arrays, which stay alive until the next call."""
        for frame in self._frames:
            bind(frame, rows, answers)
        if arrivals is not None:
            bind_arrivals(self._frame, arrivals)
        self._bound = (rows, answers, arrivals)
        self._bound_to = None

    def _ingest(self, n: int, recv: int, start: int) -> int:
        """Settle rows of the arrays that are bound; returns the first that is not."""
        self._alive()
        row = start
        while True:
            why = ingest_rows(self._frame, row, n, recv, self.ttl, self.share_from)
            row, stop = map(int, self._marks.cursor)
            if why == SHARED:
                self._share(row, stop)
                row = stop
            elif why == WIDER:
                assert self._bound is not None and self._bound[2] is not None
                ends = self._bound[2].id_end
                self.widen(int(ends[row + 1] - ends[row]))
            else:
                return row

    def share(self, burst: Burst, results: Results, start: int, stop: int) -> None:
        """Step rows of a burst that compiled code has admitted, on all threads or on the GPU."""
        self._bind_burst(burst, results)
        self._share(start, stop)

    def _share(self, start: int, stop: int) -> None:
        if self._device is not None:
            self._device.step(self._frame, start, stop)
            return
        assert self._crew is not None
        mark, n = self._marks.mark, self.threads
        if not self._crew.pays():
            mark[0] = advance_shard(self._frame, start, stop, int(mark[0]), 0, 1)
            return
        shares = [(frame, start, stop, int(mark[0]), k, n) for k, frame in enumerate(self._frames)]
        mark[0] = max(self._crew.run(advance_shard, shares))

    def widen(self, needed: int) -> None:
        """Make room for longer ids: rows of ids grow by doubling, so that short ids cost little memory."""
        old = self._table.ids
        width = old.shape[1]
        while width < needed:
            width = min(2 * width, MAX_ID)
        ids = np.zeros((self.capacity, width), np.uint8)
        ids[:, : old.shape[1]] = old
        self._table = self._table._replace(ids=ids)
        self._make_frames()
        if self._bound is not None:
            self._bind(*self._bound)

    def _make_frames(self) -> None:
        """All of the engine's arrays as one argument: for each thread with scratch of its own, and for single steps."""
        self.frames_made += 1
        self._frames = [self._new_frame(work) for work in (self._work, *self._other_work)]
        self._frame = self._frames[0]
        self._one_frame = self._new_frame(self._work, rows_of(self._single, self._one), answers_of(self._one))

    def _new_frame(self, work: Work, *more: tuple[npt.NDArray[np.generic], ...]) -> npt.NDArray[np.int64]:
        entries = ((advance if self._device is None else passed_over).address, ingest.address)
        own = (self._program, self._slab, self._table, work, self._marks, self._events)
        return new_frame(entries, *own, *more)

    def frame(self, burst: Burst, results: Results) -> npt.NDArray[np.int64]:
        """A frame of this engine about a burst, for compiled code; good until `frames_made` grows."""
        return self._new_frame(self._work, rows_of(burst, results), answers_of(results), arrivals_of(burst, results))

    def events(self) -> list[Event]:
        """What happened to streams since the last call, in order (but see `events_lost`)."""
        self._keep_events()
        events = list(self._kept_events)
        self._kept_events.clear()
        return events

    def _keep_events(self, *more: Event) -> None:
        """Make room in the compiled code's buffer of events by moving them to ours, with `more` behind them."""
        e, kept = self._events, self._kept_events
        n = int(e.n[0])
        self.events_lost += max(0, len(kept) + n + len(more) - (kept.maxlen or 0))
        for i in range(n):
            kind, reason = _EVENTS[int(e.kind[i])]
            name = bytes(e.ids[i, : e.lengths[i]]).decode()
            kept.append(Event(kind, name, reason, int(e.seen[i]), int(e.row[i])))
        e.n[0] = 0
        kept.extend(more)

    def _find(self, stream: str) -> int:
        if not isinstance(stream, str) or not stream or len(stream) > MAX_ID:
            return -1
        encoded = np.frombuffer(stream.encode("utf-8", "surrogatepass"), np.uint8)
        return int(lookup(self._table, encoded, 0, len(encoded)))

    def _handle(self, slot: int) -> int:
        return int(self._table.meta[slot, GENERATION]) << 32 | slot

    def _create(self, stream: bytes, now: int) -> int:
        """A new stream through the same admission as a sample's, without a sample."""
        if len(stream) > self._table.ids.shape[1]:
            self.widen(len(stream))
        if int(self._events.n[0]) + EVENT_ROOM > _EVENT_BUFFER:
            self._keep_events()
        burst, results = Burst(1, self.n_in), Results(1, self.n_in, self.n_out)
        burst.add(stream, np.zeros(self.n_in, np.float32))
        self._bind_burst(burst, results)
        slot = int(admit_one(self._frame, now))
        self._clear(slot)
        return slot

    def _open(self, device: str) -> Device | None:
        """The GPU that `device` means here, with rows for all slots, or None. With it the slab here is a blank row."""
        chosen, why_not = choose(device)
        if why_not is not None:
            _log.warning("device is %r; the CPU is taken: %s", device, why_not)
        gpu = chosen == "cuda"
        if gpu and self.threads > 1:
            raise ConfigError(
                f"threads is {self.threads} with device {device!r}; a GPU steps all rows: let threads be 1, or use "
                "device 'cpu'"
            )
        self._slab = new_slab(self.model, 1 if gpu else self.capacity, self.ring)
        if not gpu:
            return None
        clear_row(self._program, self._slab, self._work, 0)
        try:
            from .cuda.device import Device  # noqa: PLC0415 - what imports Numba's CUDA target
        except ImportError as error:
            raise DeviceError(f"device is {device!r}, but Numba's CUDA target cannot be imported: {error}") from error
        return Device(self._program, self._slab, self._work, self.capacity)

    def _alive(self) -> None:
        """Raise DeviceError where the engine's GPU has failed."""
        if self._device is not None:
            self._device.check()

    def _step_one_row(self) -> tuple[float, int, int, int, bool]:
        """Step the row of single steps on the GPU; what `step_one` returns of the CPU's step."""
        assert self._device is not None
        self._device.step(self._one_frame, 0, 1)
        one = self._one
        return float(one.score[0]), int(one.flag[0]), int(one.cause[0]), int(one.count[0]), bool(one.missing[0].any())

    def _clear(self, slot: int) -> None:
        """Give a slot the state of a stream that has seen nothing."""
        if self._device is not None:
            self._device.clear(slot)
        else:
            clear_row(self._program, self._slab, self._work, slot)

    def _row_of(self, slot: int) -> Slab:
        """A slot's row as a slab of one slot: a view on the CPU, a copy of a GPU's."""
        if self._device is not None:
            return self._device.row(slot)
        return Slab._make(array[slot : slot + 1] for array in self._slab)

    def _put_row(self, slot: int, row: Slab) -> None:
        """Let what was written to `_row_of` be the slot's."""
        if self._device is not None:
            self._device.put(slot, row)

    def _id(self, slot: int) -> str:
        return bytes(self._table.ids[slot, : self._table.lengths[slot]]).decode()

    @property
    def numbers(self) -> int:
        """Weights and elements of its own matrix that a sample of a stream goes through."""
        return len(self._program.weights) + self._layout.adapt_width

    @property
    def nbytes(self) -> dict[str, int]:
        """Bytes of the arrays, by purpose; the operating system commits those of unused slots only when written."""
        t, s = self._table, self._slab
        slots = self.capacity // len(s.state)  # a GPU has the rows of which one is here
        return {
            "state": slots * (s.state.nbytes + s.adapt.nbytes + s.detector.nbytes),
            "ring": slots * s.ring.nbytes,
            "ids": t.ids.nbytes,
            "table": t.lengths.nbytes + t.hashes.nbytes + t.buckets.nbytes + t.meta.nbytes + self._marks.stamp.nbytes,
        }


def answers_of(r: Results) -> Answers:
    return Answers(r.y, r.score, r.flag, r.edge, r.cause, r.count, r.epoch, r.missing)


def rows_of(b: Burst, r: Results) -> Rows:
    return Rows(b.x, b.t, b.has, r.slot, r.fresh)


def arrivals_of(b: Burst, r: Results) -> Arrivals:
    return Arrivals(b.seq.view(np.int64), b.session.view(np.int64), b.ids, b.id_end, r.verdict, r.gap)


def _check_integer(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}; it must be an integer from {low} to {high}")
