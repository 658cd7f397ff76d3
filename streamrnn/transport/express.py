"""The data path in compiled code, and the Python around it: `pump.py` does what is out of the ordinary."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import zmq

from ..wire.messages import Limits
from ..wire.packer import OUTPUT_ROOM
from . import flow as at
from .answer import rest
from .block import begin_block
from .fleet import Fleet, Lane
from .flow import COUNTED, GATHERING, LANE_COLUMNS, NEVER, ROW_BYTES, TELLING, Flow, new_flow, new_frame, room
from .gather import gather
from .native import Library, Messages
from .outlet import Outlet
from .pump import Pump
from .rows import publish_rows
from .run import run
from .tell import tell

__all__ = ["Express"]

_POLLIN = int(zmq.POLLIN)


class Express(Pump):
    """A pump whose bursts run in compiled code, from receiving to sending."""

    name = "compiled"

    def __init__(
        self,
        ingest: zmq.Socket[bytes],
        outlet: Outlet,
        fleet: Fleet,
        limits: Limits,
        limit: int,
        library: Library,
        outputs: zmq.Socket[bytes],
        budget: int = 0,
    ) -> None:
        super().__init__(ingest, outlet, fleet, limits, limit)  # compiled code does the waiting
        self._messages = Messages(library, 3)
        topic, body, spare = self._messages.addresses
        self._library = library
        self._known: list[tuple[Lane, int]] = []
        self._frames: list[Any] = []
        self._items = np.zeros(0, np.int64)
        self._sources: Sequence[Any] | None = None
        given = {
            at.INGEST: ingest.underlying,
            at.OUTPUTS: outputs.underlying,
            at.TOPIC: topic,
            at.BODY: body,
            at.SPARE: spare,
            at.LIMIT: limit,
            at.MAX_MESSAGE: limits.max_message,
            at.AHEAD: limits.max_ahead_ns,
            at.FIXED: fleet.n_in is not None,
            at.BUDGET: budget,
        }
        self._entries = (gather.address, begin_block.address, tell.address, rest.address)
        self._set(new_flow(library, self.limits, given))
        self._state = self._flow.state
        self._room = (0, 0, 0)
        self._sync()

    def _set(self, flow: Flow) -> None:
        self._flow = flow
        self._frame = new_frame(self._entries, flow)

    def compile(self) -> None:
        """Compile the data path, or load it from the cache."""
        run(self._frame, 0, False)

    @property
    def pending(self) -> bool:
        s = self._state
        return super().pending or bool(s[at.HELD]) or bool(s[at.ROWS]) or s[at.PHASE] != GATHERING

    def serve(self, others: Sequence[Any], wait_ms: int) -> set[Any]:
        if super().pending:  # what Python began, Python ends
            return super().serve(others, wait_ms)
        if others != self._sources:
            self._watch(others)
        deadline = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + wait_ms * 1_000_000
        self._carry(deadline, True)
        ready = int(self._state[at.OTHERS])
        return {source for k, source in enumerate(others) if ready >> (k + 1) & 1}

    def burst(self) -> int:
        if super().pending:
            return super().burst()
        before = self.counters.messages
        self._carry(0, False)
        return self.counters.messages - before

    def _carry(self, deadline: int, waiting: bool) -> None:
        """Run compiled code, and do what it returns for, until it has done what it was called for."""
        self._sync()
        try:
            while self._attend(run(self._frame, deadline, waiting)):
                continue
        finally:
            self._count()

    def _forget(self) -> int:
        s = self._state
        rows = 0 if s[at.BLOCK] else int(s[at.ROWS] - s[at.TELL])
        total = super()._forget() + int(s[at.HELD]) + rows
        s[at.PHASE] = GATHERING
        for place in (at.HELD, at.BLOCK, at.ROWS, at.ROW, at.TELL):
            s[place] = 0
        return total

    def _watch(self, others: Sequence[Any]) -> None:
        """Let `run` wait for these sources too: sockets, or file descriptors."""
        self._sources = tuple(others)
        self._items = np.zeros(2 * (1 + len(others)), np.int64)
        for k, source in enumerate((self.ingest, *others)):
            socket, number = (0, source) if isinstance(source, int) else (source.underlying, 0)
            self._items[2 * k] = socket
            self._items[2 * k + 1] = number | _POLLIN << 32
        self._state[at.ITEMS] = self._items.ctypes.data
        self._state[at.N_ITEMS] = 1 + len(others)

    def _attend(self, why: int) -> bool:
        """Do what compiled code returned for; whether it is to go on."""
        s = self._state
        if why == at.NOTE:
            lane, row = self._known[s[at.LANE]][0], int(s[at.TELL])
            publish_rows(self.outlet, lane, row, row + 1, int(s[at.RECV]), outputs=not s[at.BLOCK])
            self._next_event(lane)
            s[at.TELL] = row + 1
        elif why == at.EVENTS:
            self._gather_events()
        elif why == at.HANDOVER:
            recv = int(s[at.RECV])
            self.take(self._held(), recv)
            s[at.HELD] = 0  # from now on it is among what Python has not settled
            self.flush(recv)
            self._sync()
            if self._answering is not None:
                s[at.TAKEN] = 0  # what comes next is of another burst
                return False
        elif why == at.WIDER:
            lane, row = self._known[s[at.LANE]][0], int(s[at.ROW])
            lane.engine.widen(int(lane.burst.id_end[row + 1] - lane.burst.id_end[row]))
            self._sync()
        elif why == at.SHARED:
            lane = self._known[s[at.LANE]][0]
            lane.engine.share(lane.burst, lane.results, int(s[at.ROW]), int(s[at.STOP]))
            s[at.ROW] = s[at.STOP]
            self._gather_events()
        elif why == at.ROOM:
            self._make_room(int(s[at.WANTED]))
        elif why == at.BROKEN:
            raise zmq.ZMQError
        else:
            return False
        return True

    def _gather_events(self) -> None:
        """Take over the engine's events, and let compiled code stop at their rows."""
        lane = self._known[self._state[at.LANE]][0]
        lane.events.extend(lane.engine.events())
        self._next_event(lane)
        self._state[at.PHASE] = TELLING

    def _next_event(self, lane: Lane) -> None:
        row = lane.events[0].row if lane.events else NEVER
        self._flow.lanes[self._state[at.LANE], at.EVENT_ROW] = row

    def _held(self) -> tuple[bytes, ...]:
        """The frames of the held message; those after the second are counted, not kept."""
        library, n = self._library, int(self._state[at.FRAMES])
        frames = []
        for place in (at.TOPIC, at.BODY)[:n]:
            message = int(self._state[place])
            where = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(library.msg_data)(message)
            size = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p)(library.msg_size)(message)
            frames.append(ctypes.string_at(where, size) if where else b"")
        return (*frames, *[b""] * (n - 2))

    def _sync(self) -> None:
        """Tell compiled code of lanes that came or went, and of arrays that engines replaced."""
        found = [(lane, lane.engine.frames_made) for lane in self.fleet.lanes]
        if found == self._known:
            return
        current = self._known[self._state[at.LANE]][0] if self._known else None
        self._known = found
        lanes = np.zeros((len(found), LANE_COLUMNS), np.int64)
        self._frames = []
        for k, (lane, _) in enumerate(found):
            engine = lane.engine
            frame = engine.frame(lane.burst, lane.results)
            names = [name.encode() for name in engine.model.cause_names]
            causes = np.frombuffer(b"".join(names), np.uint8)
            ends = np.cumsum([0, *map(len, names)], dtype=np.int64)
            self._frames.append((frame, causes, ends))
            lanes[k] = (
                frame.ctypes.data,
                engine.n_in,
                engine.n_out,
                lane.burst.capacity,
                engine.ttl,
                engine.share_from,
                causes.ctypes.data,
                ends.ctypes.data,
                lane.events[0].row if lane.events else NEVER,
            )
            largest = OUTPUT_ROOM + 5 * engine.n_out + 3 * engine.n_in + max(map(len, names), default=0)
            if len(self._flow.out) < largest:
                self._set(self._flow._replace(out=np.zeros(2 * largest, np.uint8)))
        self._set(self._flow._replace(lanes=lanes))
        self._state[at.N_LANES] = len(found)
        self._state[at.LANE] = next((k for k, (lane, _) in enumerate(found) if lane is current), 0)

    def _make_room(self, rows: int) -> None:
        """Larger arrays for the answers to blocks; they stay, so that this is rare."""
        n_out = self._known[self._state[at.LANE]][0].engine.n_out
        wanted = (rows, n_out, sum(map(len, self._held())))
        self._room = tuple(max(2 * b if b > a else a, b) for a, b in zip(self._room, wanted, strict=True))
        most, most_out, most_bytes = self._room
        out = 2 * most_bytes + most * (ROW_BYTES + 4 * most_out) + OUTPUT_ROOM
        out = max(out, len(self._flow.out))
        self._set(self._flow._replace(**room(*self._room), out=np.zeros(out, np.uint8)))

    def _count(self) -> None:
        """Add what compiled code counted to the counters."""
        counts = self._flow.counts
        for name, n in zip(COUNTED, counts.tolist(), strict=True):
            if n:
                setattr(self.counters, name, getattr(self.counters, name) + n)
        counts[:] = 0


def compile_path() -> None:
    """Compile all of the data path but the engine, or load it from the cache."""
    for entry in (gather, begin_block, tell, rest):
        assert entry.address
    run(new_frame((0, 0, 0, 0), new_flow((0,) * len(Library._fields), Limits(), {})), -1, True)
