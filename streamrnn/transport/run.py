"""Compiled: the phases of the data path in turn, and the wait between bursts."""

from __future__ import annotations

from .._jit import call_at, fused, inlined, kernel
from ..engine.frame import INGEST, events_of, marks_of
from ..engine.ingest import SHARED, WIDER
from ..frames import address_of, numbers_at
from ..wire.raw import native64
from . import flow as at
from .flow import GATHER, GATHERING, REST, STEPPING, TELL_ROWS, TELLING, flow_of, library_of
from .native import INTERRUPTED, MONOTONIC, now, pause, poll
from .patience import nap
from .pump import TURN_NS

__all__ = ["run"]

_nap = fused(nap)


@inlined
def _step(flow):
    """Have the engine settle rows: ON, EVENTS, WIDER or SHARED."""
    s = flow.state
    lane = flow.lanes[s[at.LANE]]
    address = lane[at.FRAME]
    frame = numbers_at(address)
    why = call_at(frame[INGEST], (address, s[at.ROW], s[at.ROWS], s[at.RECV], lane[at.TTL], lane[at.SHARE]))
    cursor = marks_of(frame).cursor
    s[at.ROW] = cursor[0]
    s[at.STOP] = cursor[1]
    if why == SHARED:
        return at.SHARED
    if events_of(frame).n[0] > 0:
        return at.EVENTS
    return at.WIDER if why == WIDER else at.ON


@inlined
def _turn(frame, library, flow):
    """Go on from where the flow stands to the end of its burst, or to what Python has to do."""
    s = flow.state
    address = address_of(frame)
    while True:
        if s[at.PHASE] == GATHERING:
            why = call_at(frame[GATHER], (address,))
            if why != at.FLUSH:
                return why
            s[at.PHASE] = STEPPING
        elif s[at.PHASE] == TELLING:
            why = call_at(frame[TELL_ROWS], (address,))
            if why != at.ON:
                return why
            s[at.PHASE] = STEPPING
        elif s[at.ROW] < s[at.ROWS]:
            why = _step(flow)
            s[at.PHASE] = TELLING
            if why != at.ON:
                return why
        else:
            if call_at(frame[REST], (address,)) == at.BROKEN:
                return at.BROKEN
            if s[at.LAST] == 0 and now(library, MONOTONIC, address_of(flow.clock)) > s[at.UNTIL]:
                s[at.TAKEN] = 0  # what comes next is of another burst
                return at.DONE


@inlined
def _returned(item):
    """The events that a `zmq_pollitem_t` came back with: its last two bytes."""
    return (native64(item + 8) >> 48) & 0xFFFF


@kernel
def run(frame, deadline, waiting):
    """Carry messages until Python is needed; returns why (`flow.py`). `frame` is that of a flow.

    With `waiting`, wait for more between bursts, until the monotonic clock shows `deadline` (ns) or another source can
    be read, and within a burst for as long as its budget allows; without it, one burst.
    """
    flow = flow_of(frame)
    library = library_of(flow)
    s = flow.state
    s[at.OTHERS] = 0
    s[at.PATIENT] = 1 if waiting and s[at.BUDGET] > 0 else 0
    began = now(library, MONOTONIC, address_of(flow.clock))
    s[at.UNTIL] = began + TURN_NS
    # A burst from which Python was called goes on; what comes later is of another, with its own time of receipt.
    ready = not waiting or s[at.PHASE] != GATHERING or s[at.HELD] != 0 or s[at.TAKEN] != 0
    while True:
        patient = False
        if ready:
            why = _turn(frame, library, flow)
            patient = why == at.WAIT
            if (why != at.DONE and not patient) or not waiting:
                return why
            if s[at.OTHERS] != 0:
                return at.READY
            began = now(library, MONOTONIC, address_of(flow.clock))
        left = deadline - began
        if left <= 0:
            return at.DONE
        ready = patient or s[at.PHASE] != GATHERING or s[at.HELD] != 0
        if patient:
            pause(library, _nap(s[at.BUDGET], min(left, s[at.DUE] - began)), flow.clock)
        # Rounded up, so that time is not spent in polls of no time.
        found = poll(library, s[at.ITEMS], s[at.N_ITEMS], 0 if ready else (left + 999_999) // 1_000_000)
        if found < 0:
            return at.INTERRUPTED if found == INTERRUPTED else at.BROKEN
        if found == 0 and not ready:
            return at.DONE
        ready = ready or _returned(s[at.ITEMS]) != 0
        for k in range(1, s[at.N_ITEMS]):
            if _returned(s[at.ITEMS] + 16 * k) != 0:
                s[at.OTHERS] |= 1 << k
        if not ready:
            return at.READY
        s[at.UNTIL] = now(library, MONOTONIC, address_of(flow.clock)) + TURN_NS
