"""What the engine is made of: a program, the streams' rows, the table, and the one way in for samples."""

from __future__ import annotations

import secrets
from collections import deque

import numpy as np
import numpy.typing as npt

from streamrnn.burst import Burst, Results
from streamrnn.errors import ConfigError
from streamrnn.ids import MAX_ID
from streamrnn.model import Model

from . import admission
from .admission import DONE, EVENT_ROOM, FULL, WIDER, Samples, admit, new_events
from .advance import Answers, advance, begin, clear_row
from .calls import new_single
from .crew import Crew
from .frame import new_frame
from .outputs import Event
from .program import build_program, make_layout, new_slab, new_work
from .table import GENERATION, LAST_EPOCH, lookup, new_table

__all__ = ["Core"]

_EVENTS = {
    admission.CREATED: ("created", ""),
    admission.RESET: ("reset", "sample"),
    admission.EVICTED_IDLE: ("evicted", "idle"),
    admission.EVICTED_CAPACITY: ("evicted", "capacity"),
}

_EVENT_BUFFER = 4096

SHARE = 128
"""Rows a thread from which several threads are taken: fewer are stepped sooner than handed over."""


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
    ) -> None:
        _check_integer("capacity", capacity, 1, 2**31 - 1)
        _check_integer("ring", ring, 0, 1_000_000)
        _check_integer("threads", threads, 1, 1024)
        if idle_ttl is not None and not 0 < idle_ttl < 1e9:
            raise ConfigError(f"idle_ttl is {idle_ttl!r}; it must be a positive number of seconds, or None")
        self.model = model
        self.capacity = capacity
        self.ring = ring
        self.idle_ttl = idle_ttl
        self._ttl = 0 if idle_ttl is None else int(idle_ttl * 1e9)
        self._layout = make_layout(model.spec)
        self._program = build_program(model, ring)
        self._slab = new_slab(model, capacity, ring)
        self._work = new_work(model)
        self.threads = threads
        self._crew = Crew(threads) if threads > 1 else None
        self._other_work = [new_work(model) for _ in range(threads - 1)]
        self._table = new_table(capacity, secrets.randbits(64))
        self._table.head[LAST_EPOCH] = epoch
        self._events = new_events(_EVENT_BUFFER)
        self._kept_events: deque[Event] = deque(maxlen=_EVENT_BUFFER + 2 * capacity)
        self.events_lost = 0
        """Events that nobody asked for in time: the oldest are dropped from twice the capacity on."""
        self._stamp = np.zeros(capacity, np.int64)
        self._mark = 0
        self._slots = np.zeros(1024, np.int64)
        self._fresh = np.zeros(1024, np.uint8)
        self._one = Results(1, self.n_in, self.n_out)
        self._one_y = self._one.y[0]
        self._sample = np.zeros((1, self.n_in), np.float32)
        self._row, self._row_shape = self._sample[0], (self.n_in,)
        self._single = new_single(answers_of(self._one), self._sample)
        self._make_frames()

    @property
    def n_in(self) -> int:
        return self.model.spec.n_in

    @property
    def n_out(self) -> int:
        return self.model.spec.n_out

    def ingest(self, burst: Burst, results: Results, start: int = 0) -> int:
        """Step the burst's rows from `start` on into `results`; returns how many were settled.

        That is fewer than remain only where the event buffer is full: drain `events()` and call again. The codec has
        checked ids, widths, infinities and ranges; sequence numbers and times are checked here (Results.verdict).
        """
        samples = Samples(
            burst.x,
            burst.t,
            burst.seq.view(np.int64),
            burst.session.view(np.int64),
            burst.has,
            burst.ids,
            burst.id_end,
        )
        return self._ingest(samples, burst.n, burst.recv, results, start) - start

    def _ingest(self, samples: Samples, n: int, recv: int, results: Results, start: int) -> int:
        if n > len(self._slots):
            self._slots, self._fresh = np.zeros(2 * n, np.int64), np.zeros(2 * n, np.uint8)
        answers = answers_of(results)
        row = start
        while row < n:
            self._mark += 1
            stop, why = admit(
                self._table,
                self._events,
                samples,
                row,
                n,
                recv,
                self._ttl,
                self._stamp,
                self._mark,
                results.verdict,
                results.gap,
                self._slots,
                self._fresh,
            )
            self._advance(samples.x, samples.t, samples.has, self._slots, self._fresh, row, stop, answers)
            results.slot[row:stop] = self._slots[row:stop]
            row = stop
            if why in (DONE, FULL):
                break
            if why == WIDER:
                self._widen(int(samples.id_end[row + 1] - samples.id_end[row]))
        return row

    def _advance(
        self,
        x: npt.NDArray[np.float32],
        t: npt.NDArray[np.int64],
        has: npt.NDArray[np.uint8],
        slots: npt.NDArray[np.int64],
        fresh: npt.NDArray[np.uint8],
        start: int,
        stop: int,
        answers: Answers,
    ) -> None:
        """Step admitted rows, on several threads where there are enough rows to pay for them."""
        rows = (x, t, has, slots, fresh, start, stop)
        self._mark += 1
        begin(self._frame, slots, fresh, start, stop, self._mark, answers)
        if self._crew is None or stop - start < SHARE * self.threads:
            self._mark = advance(self._frame, *rows, self._mark, answers, 0, 1)
            return
        n = self.threads
        shares = [(frame, *rows, self._mark, answers, k, n) for k, frame in enumerate(self._frames)]
        self._mark = max(self._crew.run(advance, shares))

    def _widen(self, needed: int) -> None:
        """Make room for longer ids: rows of ids grow by doubling, so that short ids cost little memory."""
        old = self._table.ids
        width = old.shape[1]
        while width < needed:
            width = min(2 * width, MAX_ID)
        ids = np.zeros((self.capacity, width), np.uint8)
        ids[:, : old.shape[1]] = old
        self._table = self._table._replace(ids=ids)
        self._make_frames()

    def _make_frames(self) -> None:
        """All of the engine's arrays as one argument, for each thread with scratch of its own."""
        self._frames = [
            new_frame(self._program, self._slab, self._table, work, (self._stamp,), self._single)
            for work in (self._work, *self._other_work)
        ]
        self._frame = self._frames[0]

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
            kept.append(Event(kind, bytes(e.ids[i, : e.lengths[i]]).decode(), reason, int(e.seen[i])))
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
            self._widen(len(stream))
        if int(self._events.n[0]) + EVENT_ROOM > _EVENT_BUFFER:
            self._keep_events()
        samples = Samples(
            np.zeros((1, self.n_in), np.float32),
            np.zeros(1, np.int64),
            np.zeros(1, np.int64),
            np.zeros(1, np.int64),
            np.zeros(1, np.uint8),
            np.frombuffer(bytearray(stream), np.uint8),  # writable: a read-only array would be compiled for anew
            np.array([0, len(stream)]),
        )
        self._mark += 1
        verdict, gap = np.zeros(1, np.int8), np.zeros(1, np.int64)
        slots, fresh = np.zeros(1, np.int64), np.zeros(1, np.uint8)
        admit(
            self._table,
            self._events,
            samples,
            0,
            1,
            now,
            0,
            self._stamp,
            self._mark,
            verdict,
            gap,
            slots,
            fresh,
        )
        slot = int(slots[0])
        clear_row(self._program, self._slab, self._work, slot)
        return slot

    def _id(self, slot: int) -> str:
        return bytes(self._table.ids[slot, : self._table.lengths[slot]]).decode()

    @property
    def nbytes(self) -> dict[str, int]:
        """Bytes of the arrays, by purpose; the operating system commits those of unused slots only when written."""
        t, s = self._table, self._slab
        return {
            "state": s.state.nbytes + s.adapt.nbytes + s.detector.nbytes,
            "ring": s.ring.nbytes,
            "ids": t.ids.nbytes,
            "table": t.lengths.nbytes + t.hashes.nbytes + t.buckets.nbytes + t.meta.nbytes + self._stamp.nbytes,
        }


def answers_of(r: Results) -> Answers:
    return Answers(r.y, r.score, r.flag, r.edge, r.cause, r.count, r.epoch, r.missing)


def _check_integer(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}; it must be an integer from {low} to {high}")
