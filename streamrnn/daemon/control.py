"""Control: requests are answered between bursts, a few at a time, so that neither side starves the other."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Any

import zmq

from ..errors import BadRequest, DeviceError, StreamRNNError
from ..transport.fleet import Fleet
from ..transport.outlet import Outlet
from ..wire.messages import decode_request, encode_error, encode_reply

__all__ = ["Control"]

TURN = 16
"""Most requests answered between two bursts."""

TURN_SECONDS = 0.005
"""No further request is begun in a turn that has lasted so long."""

MAX_PAGE = 10_000
"""Most streams in one reply."""

MAX_ENVELOPE = 8
"""Most frames that may precede the body."""

Request = dict[str, Any]


class Control:
    """Answers the requests on the ROUTER `socket`.

    `info()` gives the daemon's description and `stop(reason)` makes it drain and end. A wrong request is answered
    with an error; nothing that a peer sends ends the daemon. Only a GPU that fails does: DeviceError, after its answer.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        fleet: Fleet,
        outlet: Outlet,
        info: Callable[[], dict[str, Any]],
        stop: Callable[[str], None],
    ) -> None:
        self._socket = socket
        self._fleet = fleet
        self._outlet = outlet
        self._info = info
        self._stop = stop
        self._listing = _Listing(fleet)
        self._ops: dict[str, Callable[[Request], dict[str, Any]]] = {
            "ping": self._ping,
            "info": self._describe,
            "streams": self._streams,
            "stream": self._stream,
            "reset": self._reset,
            "evict": self._evict,
            "stop": self._stop_daemon,
        }

    def serve(self) -> int:
        """Answer what is waiting, for one turn; returns how many requests there were."""
        deadline = time.monotonic() + TURN_SECONDS
        for served in range(TURN):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return served
            self._outlet.counters.requests += 1
            self._answer(frames)
            if time.monotonic() > deadline:
                return served + 1
        return TURN

    def _answer(self, frames: list[bytes]) -> None:
        """REQ sends an empty frame before the body, and a DEALER may: the envelope goes back as it came."""
        at = frames.index(b"", 1) + 1 if b"" in frames[1:-1] else 1
        envelope, rest = frames[:at], frames[at:]
        failed: DeviceError | None = None
        try:
            if len(rest) != 1 or at > MAX_ENVELOPE:
                envelope = envelope[:MAX_ENVELOPE]
                raise BadRequest(f"a request of {len(rest)} frames; send one msgpack map, after an empty frame or none")
            reply = encode_reply(**self._carry_out(decode_request(rest[0])))
        except StreamRNNError as error:
            self._outlet.counters.bad_requests += 1
            reply = encode_error(error)
            failed = error if isinstance(error, DeviceError) else None
        self._socket.send_multipart([*envelope, reply], zmq.NOBLOCK)
        if failed is not None:  # what a request broke, samples must not meet
            raise failed

    def _carry_out(self, request: Request) -> dict[str, Any]:
        op = self._ops.get(request["op"])
        if op is None:
            raise BadRequest(f"unknown op {request['op']!r:.60}; there are {', '.join(self._ops)}")
        return op(request)

    def _ping(self, _: Request) -> dict[str, Any]:
        return {"now": time.time_ns()}

    def _describe(self, _: Request) -> dict[str, Any]:
        return self._info()

    def _streams(self, request: Request) -> dict[str, Any]:
        prefix, after = _text(request, "prefix", ""), _text(request, "after", "")
        limit = request.get("limit", 1000)
        if type(limit) is not int or not 1 <= limit <= MAX_PAGE:
            raise BadRequest(f"limit is {limit!r:.60}; give 1 to {MAX_PAGE}")
        return {"streams": self._listing.page(prefix, after, limit), "total": len(self._fleet)}

    def _stream(self, request: Request) -> dict[str, Any]:
        stream = _text(request, "stream")
        engine = self._fleet.find(stream).engine
        return {"id": stream, "features": list(engine.model.spec.features), **engine.stream_info(stream)}

    def _reset(self, request: Request) -> dict[str, Any]:
        lane = self._fleet.find(stream := _text(request, "stream"))
        lane.engine.reset(stream)
        self._outlet.lives(lane.engine)
        return {"id": stream}

    def _evict(self, request: Request) -> dict[str, Any]:
        lane = self._fleet.find(stream := _text(request, "stream"))
        lane.engine.evict(stream)
        self._outlet.lives(lane.engine)
        return {"id": stream}

    def _stop_daemon(self, _: Request) -> dict[str, Any]:
        self._stop("control")
        return {}


class _Listing:
    """The ids in order. Sorting many takes long, so a list is kept until ten times that has gone by."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._ids: list[str] = []
        self._good_until = 0.0

    def page(self, prefix: str, after: str, limit: int) -> list[dict[str, Any]]:
        if time.monotonic() >= self._good_until:
            began = time.monotonic()
            self._ids = sorted(stream for engine in self._fleet for stream in engine)
            ended = time.monotonic()
            self._good_until = ended + 10 * (ended - began)
        ids = self._ids
        at = max(bisect_right(ids, after), bisect_left(ids, prefix))
        found: list[dict[str, Any]] = []
        while at < len(ids) and len(found) < limit and ids[at].startswith(prefix):
            found += self._entry(ids[at])
            at += 1
        return found

    def _entry(self, stream: str) -> list[dict[str, Any]]:
        """One entry, or none where the stream has left since the list was made."""
        for engine in self._fleet:
            if stream in engine:
                return [{"id": stream, "n_in": engine.n_in, **engine.stream_info(stream, ring=False)}]
        return []


def _text(request: Request, key: str, default: str | None = None) -> str:
    value = request.get(key, default)
    if type(value) is not str:
        raise BadRequest(f"{key} is {value!r:.60}; give a str")
    return value
