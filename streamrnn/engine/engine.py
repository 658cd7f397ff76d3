"""The engine: one model, many streams, one step a sample. Live, offline and in tests it is this class."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.burst import HAS_RESET, HAS_T, Burst, Results
from streamrnn.errors import BadTime, ConfigError, StaleHandle, UnknownStream, WrongWidth
from streamrnn.ids import check_id

from .admission import Arrivals
from .arguments import (
    Streams,
    handle_of,
    ids_of,
    one_sample,
    refuse_infinite,
    resets,
    samples,
    streams_of,
    time_of,
    times,
)
from .calls import BACK, STALE_HANDLE, step_one, step_rows
from .core import Core, Spare, answers_of
from .frame import Answers, Rows
from .outputs import Event, Output, Outputs, StreamState
from .queries import lookup_all, newly_stale, oldest_idle, times_go_back, touch_handles
from .snapshot import check_state, read_state, write_state
from .table import ALIVE, COUNT, EPOCH, FLAGS, LAST_EPOCH, LAST_T, LIVE, RECV, SEEN_T, remove
from .tokens import one_token, tokens_of

__all__ = ["Engine"]

_FLOAT32 = np.dtype(np.float32)
_NO_ID = np.frombuffer(b"", np.uint8)
_new_tuple = tuple.__new__


def _back(row: int, t: npt.NDArray[np.int64]) -> BadTime:
    return BadTime(f"t[{row}] is {t[row]}, earlier than the stream's last sample; send in order, or reset")


class Engine(Core):
    """Keeps a state for every stream and advances it by one step for each of its samples.

    `capacity` is the most streams that live at once: one more evicts the least recently used. A stream without a
    sample for `idle_ttl` seconds of receipt time starts anew. `ring` is how many of its last samples each stream keeps.
    Epochs count up from `epoch`. With `threads` above 1, large bursts are stepped by as many threads side by side, each
    its own streams, to the same bits; still, only one thread at a time may use an engine.

    `device` is "cpu", "cuda", or "auto": a GPU where there is one, else the CPU with a line in the log. On a GPU the
    bits are the same. Once it has failed, every call that is about a stream raises DeviceError: no answer is wrong.

    >>> from streamrnn import Model
    >>> engine = Engine(Model.random(cell="gru", n_in=2, hidden=8, n_out=1), capacity=100)
    >>> out = engine.step("bed1", [97.0, 12.0])
    >>> out.y.shape, out.n, "bed1" in engine
    ((1,), 1, True)
    """

    def step(self, stream: str | int, x: npt.ArrayLike, t: int | None = None, reset: bool = False) -> Output:
        """Advance one stream by one sample.

        `stream` is an id, or a handle; `x` (n_in,) numbers with NaN for a missing channel; `t` the event time in ns
        since the Unix epoch; `reset` forgets the state first. Where the model takes tokens, x is one, an integer.
        Raises WrongWidth, NotFinite, BadToken, BadTime, BadId, StaleHandle; then nothing has changed.
        """
        row = self._row
        if type(x) is not np.ndarray or x.dtype is not _FLOAT32 or x.shape != self._row_shape:
            x = one_token(x, self.tokens) if self.tokens else one_sample(x, self.n_in)
        row[:] = x
        has = HAS_RESET if reset else 0
        if t is not None:
            t = time_of(t)
            has |= HAS_T
        now = time.time_ns()
        if isinstance(stream, str):
            handle, name = 0, np.frombuffer(check_id(stream), np.uint8)
        else:
            handle, name = stream if type(stream) is int and -(2**63) <= stream < 2**63 else handle_of(stream), _NO_ID
        slot, score, flag, cause, n, missing = step_one(self._one_frame, handle, name, t or 0, has, now, self.ttl)
        if slot < 0:
            return self._step_slowly(stream, x, t, reset)
        if self._device is not None:
            score, flag, cause, n, missing = self._step_one_row()
        # Half the time of Output(...), which goes through keyword arguments.
        return _new_tuple(
            Output,
            (
                self._one_y.copy(),
                score,
                flag != 0,
                self.model.cause_name(cause) if flag else None,
                n,
                tuple(np.flatnonzero(self._one.missing[0]).tolist()) if missing else (),
            ),
        )

    def _step_slowly(self, stream: str | int, x: npt.NDArray[np.float32], t: int | None, reset: bool) -> Output:
        """A step that the quick way refused: a stream that is new or was idle, or an error that wants its words."""
        streams = [stream] if isinstance(stream, str) else np.array([stream], np.int64)
        return self.step_many(streams, x[None, :], None if t is None else [t], reset)[0]

    def step_many(
        self,
        streams: Streams,
        X: npt.ArrayLike,
        t: npt.ArrayLike | None = None,
        reset: bool | npt.ArrayLike = False,
    ) -> Outputs:
        """Advance many streams, in order; a stream may appear several times.

        `streams` are n ids, or an int64 array (n,) of `handles`; `X` (n, n_in), NaN for a missing channel, or (n,)
        tokens; `t` int64 (n,), event times in ns; `reset` one bool or (n,). Raises as `step` does,
        and then no stream has changed.
        """
        X = tokens_of(X, self.tokens) if self.tokens else samples(X, self.n_in)
        n = len(X)
        given = streams_of(streams)
        if len(given) != n:
            raise WrongWidth(f"{len(given)} streams for {n} samples; give one stream a sample")
        if isinstance(given, np.ndarray):
            return self._step_handles(given, X, t, reset)
        has = np.zeros(n, np.uint8)
        if reset is not False:
            has[resets(reset, n)] |= HAS_RESET
        if t is None:
            at = np.zeros(n, np.int64)
        else:
            at = times(t, n)
            has |= HAS_T
        results = Results(n, self.n_in, self.n_out)
        self._step_ids(given, X, at, has, results)
        return Outputs(
            results.y,
            results.score,
            results.flag.view(np.bool_),
            results.edge,
            results.count,
            results.missing.view(np.bool_),
            results.cause,
            self.model,
        )

    def _step_ids(
        self,
        streams: Sequence[str],
        X: npt.NDArray[np.float32],
        t: npt.NDArray[np.int64],
        has: npt.NDArray[np.uint8],
        results: Results,
    ) -> None:
        n = len(X)
        now = time.time_ns()
        encoded = [check_id(s) for s in streams]
        refuse_infinite(X)
        ids = np.frombuffer(bytearray().join(encoded), np.uint8)
        id_end = np.zeros(n + 1, np.int64)
        np.cumsum([len(e) for e in encoded], out=id_end[1:])
        if n and has[0] & HAS_T:
            slots = np.empty(n, np.int64)
            lookup_all(self._table, ids, id_end, slots)
            self._refuse_old_times(slots, encoded, t, has)
        none = np.zeros(n, np.int64)
        arrivals = Arrivals(none, none, ids, id_end, results.verdict, results.gap)
        self._bind(Rows(X, t, has, results.slot, results.fresh), answers_of(results), arrivals)
        row = 0
        while row < n:
            row = self._ingest(n, now, row)
            if row < n:
                self._keep_events()

    def _step_handles(
        self,
        handles: npt.NDArray[np.int64],
        X: npt.NDArray[np.float32],
        t: npt.ArrayLike | None,
        reset: bool | npt.ArrayLike,
    ) -> Outputs:
        self._alive()
        n = len(X)
        if n > len(self._spare.slot):
            self._spare = Spare.of(2 * n)
        at, has, slot, fresh, epoch = self._spare
        if reset is not False or t is not None:
            has = np.zeros(n, np.uint8)
            if reset is not False:
                has[resets(reset, n)] |= HAS_RESET
            if t is not None:
                at = times(t, n)
                has |= HAS_T
        now = time.time_ns()
        if self.ttl:
            self.evict_idle(now)
        empty = np.empty  # every row is stepped, and with it written
        y, score = empty((n, self.n_out), np.float32), empty(n, np.float32)
        flag, edge, cause = empty(n, np.bool_), empty(n, np.int8), empty(n, np.int32)
        count, missing = empty(n, np.int64), empty(X.shape, np.bool_)
        alone = not self.share_from or n < self.share_from
        why, row = step_rows(
            self._frame, X, at, has, handles, slot, fresh,
            y, score, flag, edge, cause, count, epoch, missing, now, t is not None, alone,
        )  # fmt: skip
        self._bound = self._bound_to = None
        if why:
            self._refuse(why, row, handles, X, at)
        if not alone:
            answers = Answers(y, score, flag.view(np.uint8), edge, cause, count, epoch, missing.view(np.uint8))
            self._bind(Rows(X, at, has, slot, fresh), answers)
            self._share(0, n)
        return Outputs(y, score, flag, edge, count, missing, cause, self.model)

    def _refuse(
        self,
        why: int,
        row: int,
        handles: npt.NDArray[np.int64],
        X: npt.NDArray[np.float32],
        t: npt.NDArray[np.int64],
    ) -> None:
        """Raise what `step_rows` refused."""
        if why == STALE_HANDLE:
            raise StaleHandle(
                f"handle {handles[row]} at position {row} belongs to no stream of this engine: it was evicted, or "
                "this never was a handle; ask engine.handles() for a new one"
            )
        if why == BACK:
            raise _back(row, t)
        refuse_infinite(X)

    def _refuse_old_times(
        self,
        slots: npt.NDArray[np.int64],
        ids: list[bytes],
        t: npt.NDArray[np.int64],
        has: npt.NDArray[np.uint8],
    ) -> None:
        """Raise BadTime where a stream's time would go back, before anything has changed."""
        n = len(slots)
        row = times_go_back(self._table, slots, t, has, n, np.empty(n, np.int64), np.empty(n, np.int64))
        if row < 0 and (slots < 0).any():
            last: dict[bytes, int] = {}
            for i in np.flatnonzero(slots < 0).tolist():
                if t[i] < last.get(ids[i], t[i]) and not has[i] & HAS_RESET:
                    row = i
                    break
                last[ids[i]] = int(t[i])
        if row >= 0:
            raise _back(row, t)

    def handles(self, ids: Iterable[str]) -> npt.NDArray[np.int64]:
        """A handle for each id, int64 (n,): slot and generation in one number. Streams that do not exist are created.

        A handle spares a hot loop the strings. It is refused (StaleHandle) once its stream was evicted.
        """
        self._alive()
        ids = ids_of(ids)
        if len(set(ids)) > self.capacity:
            raise ConfigError(f"{len(set(ids))} streams do not fit a capacity of {self.capacity}; raise capacity")
        now = time.time_ns()
        out = np.zeros(len(ids), np.int64)
        nothing = np.zeros(1, np.int64)
        for i, stream in enumerate(ids):
            slot = self._find(stream)
            if slot < 0:
                slot = self._create(check_id(stream), now)
            touch_handles(self._table, np.array([slot]), nothing, nothing.view(np.uint8), now)
            out[i] = self._handle(slot)
        return out

    def _slot(self, stream: str) -> int:
        self._alive()
        slot = self._find(stream)
        if slot < 0:
            raise UnknownStream(f"no stream {stream!r}; {len(self)} are alive")
        return slot

    def reset(self, stream: str) -> None:
        """Forget a stream's state; it stays alive and starts from zero. Raises UnknownStream."""
        slot = self._slot(stream)
        n = int(self._table.meta[slot, COUNT])
        self._clear(slot)
        self._table.head[LAST_EPOCH] += 1
        self._table.meta[slot, EPOCH] = self._table.head[LAST_EPOCH]
        self._table.meta[slot, COUNT] = 0
        self._table.meta[slot, FLAGS] &= ~SEEN_T
        self._keep_events(Event("reset", stream, "request", n))

    def evict(self, stream: str) -> None:
        """Forget a stream altogether; its handles become stale. Raises UnknownStream."""
        slot = self._slot(stream)
        n = int(self._table.meta[slot, COUNT])
        remove(self._table, slot)
        self._keep_events(Event("evicted", stream, "request", n))

    def evict_idle(self, now: int) -> int:
        """Evict every stream idle for longer than `idle_ttl` at receipt time `now` (ns); returns how many."""
        if not self.ttl:
            return 0
        total = 0
        while True:
            self._keep_events()
            done, more = oldest_idle(self._table, self._events, now - self.ttl)
            total += int(done)
            if not more:
                return total

    def stale(self, now: int, after: int) -> list[str]:
        """Streams silent for more than `after` ns at receipt time `now`, each named once until it sends again."""
        slots = newly_stale(self._table, now - after)
        return [self._id(slot) for slot in slots.tolist()]

    def state(self, stream: str) -> StreamState:
        """A copy of a stream's state. Raises UnknownStream."""
        slot = self._slot(stream)
        return read_state(self.model, self._layout, self._row_of(slot), self._table, slot)

    def load_state(self, stream: str, state: StreamState) -> None:
        """Give a stream a saved state, creating the stream if need be. Raises StateError if it does not fit."""
        self._alive()
        slot = self._find(stream)
        check_state(self.model, self._layout, self._slab.ring.shape[1:], state)
        if slot < 0:
            slot = self._create(check_id(stream), time.time_ns())
        row = self._row_of(slot)
        write_state(self._layout, row, self._table, slot, state)
        self._put_row(slot, row)

    def stream_info(self, stream: str, ring: bool = True) -> dict[str, Any]:
        """Plain values about a stream: n, epoch, last_t, last_recv (ns, None before), and its ring, oldest first.

        Without `ring` only the numbers, which are quick to tell for many streams.
        """
        slot = self._slot(stream)
        meta = self._table.meta[slot]
        n = int(meta[COUNT])
        info: dict[str, Any] = {
            "n": n,
            "epoch": int(meta[EPOCH]),
            "last_t": int(meta[LAST_T]) if meta[FLAGS] & SEEN_T else None,
            "last_recv": int(meta[RECV]),
        }
        if not ring:
            return info
        kept = min(n, self.ring)
        last = [(n - kept + i) % self.ring for i in range(kept)]
        rows = self._row_of(slot).ring[0, last] if kept else np.zeros((0, 0))
        x = [[None if np.isnan(v) else float(v) for v in row[: self.n_in]] for row in rows]
        return info | {
            "x": x,
            "y": [row[self.n_in : -1].tolist() for row in rows],
            "score": [float(row[-1]) for row in rows],
        }

    def __len__(self) -> int:
        return int(self._table.head[LIVE])

    def __contains__(self, stream: object) -> bool:
        return isinstance(stream, str) and self._find(stream) >= 0

    def __iter__(self) -> Iterator[str]:
        """Ids of the live streams, as they are when iteration begins, in no particular order."""
        return iter([self._id(slot) for slot in np.flatnonzero(self._table.meta[:, FLAGS] & ALIVE).tolist()])

    def __repr__(self) -> str:
        return f"Engine({self.model!r}, {len(self)} of {self.capacity} streams)"

    # Housekeeping

    def compile(self) -> None:
        """Compile every function of the data path, or load it from the cache, without touching a stream."""
        # Compiling may take longer than a short idle_ttl, which would make the handles stale.
        spare = Engine(self.model, capacity=2, idle_ttl=1e8, ring=min(self.ring, 1), device=self.device)
        burst, results = Burst(2, self.n_in), Results(2, self.n_in, self.n_out)
        for stream in (b"a", b"b"):
            burst.add(stream, [0.0] * self.n_in, t=0, seq=0, session=b"s")
        spare.ingest(burst, results)
        spare.step_many(spare.handles(["a", "c"]), np.zeros((2, self.n_in), np.float32), t=[0, 0])
        spare.step("a", np.zeros(self.n_in, np.float32))
        spare.load_state("a", spare.state("a"))
        spare.reset("a")
        spare.stale(time.time_ns(), 1)
        spare.evict("a")
        spare.evict_idle(2**62)
