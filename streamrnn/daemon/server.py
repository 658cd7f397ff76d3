"""The server: one thread that owns every socket, and the order in which a daemon starts, runs and stops."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import zmq

from .. import __version__
from .._jit import cache_dir
from ..engine import Engine
from ..errors import ConfigError, DeviceError, DeviceFull
from ..gpus import choose
from ..model import Model
from ..model.builtin import model_path
from ..transport.counters import Counters
from ..transport.events import MAX_REASON
from ..transport.fleet import Fleet
from ..transport.outlet import Outlet
from ..transport.paths import Companion, open_path
from ..transport.sockets import Door, Marks, open_control, open_ingest, open_outputs
from ..wire.control import MAX_REQUEST
from .advice import warn_of_threads
from .config import ADAPTIVE, Settings, unknown_variables
from .control import Control
from .logs import Log, make_log
from .notify import notify
from .signals import Signals, Waker
from .timers import Timers

__all__ = ["DEVICE_FAILED", "Server", "run"]

HOUSEKEEPING = 1.0
"""Seconds between two looks at idle and silent streams, connections and held-back events."""

FLUSH = 0.25
"""Share of the time to stop that is kept for handing the last messages to subscribers."""

QUIET_MS = 50
"""With the ways in shut, this long without a message means that all that was received has been read."""


DEVICE_FAILED = 1
"""The exit status where a GPU failed: that of what failed while running, and may be run again."""


class _StoppedEarly(BaseException):
    """A signal came before the daemon was ready; compilation need not be waited for."""


class Server:
    """A daemon in the thread that calls `run`; `stop` may be called from any other.

    `ready` is set once it serves, after which `on_ready` is called, and `addresses` then has its endpoints by role,
    with the ports that were found. A `context` of the caller's lets inproc:// endpoints meet; it is not closed.
    """

    def __init__(
        self,
        settings: Settings,
        log: Log | None = None,
        context: zmq.Context[Any] | None = None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._context = context
        self._on_ready = on_ready
        self.settings = settings
        self.log = log if log is not None else make_log(settings.log_format, settings.log_level)
        self.ready = threading.Event()
        self.addresses: dict[str, list[str]] = {}
        self._waker = Waker()
        self._why: str | None = None
        self._draining = False
        self._started = time.time_ns()
        self._rejected: dict[str, int] = {}
        self._told: dict[str, Any] = {}

    def stop(self, reason: str = "request") -> None:
        """Ask the server to publish what it has received, and to end."""
        if self._why is None:
            self._why = reason
        self._waker.wake()

    def run(self) -> int:
        """Serve until stopped; returns the exit status. ConfigError where an endpoint or the model is wrong,
        DeviceError where there is no GPU and must be one."""
        context: zmq.Context[Any] = zmq.Context() if self._context is None else self._context
        doors: list[Door] = []
        linger, status = 0.0, 0
        try:
            with Signals(self._waker, self._on_signal):
                try:
                    self._open(context, doors)
                    self._load()
                except _StoppedEarly:
                    self.log.info("stopped", reason=self._why, ready=False)
                    return 0
                self._announce()
                try:
                    self._serve()
                    linger = self._drain()
                except DeviceError as error:
                    status, linger = DEVICE_FAILED, self._fail(error)
                for door in doors:
                    door.close(linger)
                if self._context is None:
                    context.term()
                self.log.info("stopped", reason=self._why, **self._totals())
                return status
        finally:
            for door in doors:
                door.close(0)
            if self._context is None:
                context.destroy(0)
            self._waker.close()

    def _on_signal(self, name: str) -> None:
        self.stop(name)
        if not self.ready.is_set():
            raise _StoppedEarly

    # Starting

    def _open(self, context: zmq.Context[Any], doors: list[Door]) -> None:
        """Open the sockets before anything that takes long, so that an endpoint in use is told at once."""
        s = self.settings
        marks = Marks(s.receive_queue, s.send_queue, s.max_message)
        self._ingest = open_ingest(context, s.endpoints("ingest"), marks)
        doors.append(self._ingest)
        self._outputs = open_outputs(context, s.endpoints("outputs"), marks)
        doors.append(self._outputs)
        self._control = open_control(context, s.endpoints("control"), MAX_REQUEST)
        doors.append(self._control)
        for door in doors:
            door.attach()
            self.addresses[door.role] = door.addresses
        if s.exposed():
            self.log.warning(
                "exposed",
                endpoints=s.exposed(),
                hint="other machines can reach these, and nothing is encrypted; use a network you trust, or a tunnel",
            )

    def _load(self) -> None:
        s = self.settings
        began = time.monotonic()
        if cache_dir() is None:
            self.log.warning(
                "no_cache", hint="every start compiles anew; set NUMBA_CACHE_DIR to a folder that can be written"
            )
        self._device, why = choose(s.device)
        if why is not None:
            self.log.info("no_gpu", reason=why, hint="samples are stepped on the CPU")
        self._rows = s.rows_on(self._device)
        self._model = _model(s)
        companion = Companion(s.data_path)
        try:
            self._load_engine(companion)
        finally:
            companion.end()
        self.log.debug("compiled", seconds=round(time.monotonic() - began, 3))
        self._requests = Control(self._control.socket, self._fleet, self._outlet, self._info, self.stop)

    def _load_engine(self, companion: Companion) -> None:
        s = self.settings
        n_in = None if self._model is None else self._model.spec.n_in
        self._fleet = Fleet(self._make, n_in, self._rows, s.max_width, s.max_widths)
        try:
            (self._engine(1) if self._model is None else next(iter(self._fleet))).compile()
        except OSError as error:
            raise ConfigError(
                f"cannot keep compiled code: {error}; set NUMBA_CACHE_DIR to a folder that can be written"
            ) from None
        companion.wait()
        self._outlet = Outlet(self._outputs.socket, Counters(), s.event_rate, s.event_burst)
        sockets = self._ingest.socket, self._outputs.socket
        budget = round(s.latency_budget * 1e9)
        self._pump, why = open_path(s.data_path, *sockets, self._outlet, self._fleet, s.limits, self._rows, budget)
        if why is not None:
            self.log.warning("slow_path", reason=why, hint="messages go through pyzmq, at about an eighth of the rate")
        warn_of_threads(self.log, s, self._device, self._rows)

    def _engine(self, n_in: int) -> Engine:
        s = self.settings
        model = self._model
        if model is None:
            model = Model.adaptive(n_in, hidden=s.hidden, seed=s.seed)
        # Counted from the microsecond of now, so that epochs grow over restarts and from one width's engine to another.
        try:
            return Engine(
                model,
                s.capacity,
                s.idle_ttl,
                s.ring,
                epoch=time.time_ns() // 1000,
                threads=s.threads if self._device == "cpu" else 1,
                device=self._device,
            )
        except DeviceFull as error:
            raise ConfigError(f"no room for {s.capacity} streams of {n_in} channels on the GPU: {error}") from None
        except MemoryError:
            raise ConfigError(
                f"{s.capacity} streams of {n_in} channels do not fit into memory; lower capacity"
            ) from None

    def _make(self, n_in: int) -> Engine:
        engine = self._engine(n_in)
        if self._model is None:
            self.log.info("width_learned", n_in=n_in)
        return engine

    def _announce(self) -> None:
        seconds = round((time.time_ns() - self._started) / 1e9, 3)
        said = {"version": __version__, "model": self.settings.model, "device": self._device}
        if self._model is not None:  # each learned width has a fingerprint of its own
            said["fingerprint"] = self._model.fingerprint
        self._outlet.events.daemon("ready", **said, **self.addresses)
        self.ready.set()
        self._on_ready()
        notify("READY=1")
        self.log.info("ready", **said, **self.addresses, path=self._pump.name, pid=os.getpid(), seconds=seconds)

    # Running

    def _serve(self) -> None:
        s = self.settings
        control, waker = self._control.socket, self._waker.fileno()
        timers = Timers()
        limits = [x / 4 for x in (s.idle_ttl, s.stale_after) if x is not None]
        timers.every(max(0.01, min([HOUSEKEEPING, *limits])), self._keep_house)
        timers.every(s.stats_interval, self._log_totals)
        while self._why is None:
            ready = self._pump.serve((control, waker), timers.wait_ms())
            if control in ready:
                self._requests.serve()
            if waker in ready:
                self._waker.clear()
            timers.run()

    def _keep_house(self) -> None:
        now = time.time_ns()
        after = self.settings.stale_after
        outlet = self._outlet
        for lane in self._fleet.lanes:
            if lane.engine.evict_idle(now):
                outlet.lives(lane.engine)
            if after is not None:
                for stream in lane.engine.stale(now, round(after * 1e9)):
                    outlet.counters.stale += 1
                    outlet.events.publish("stale", stream, after=after)
        outlet.events.flush()
        self._ingest.count_peers()
        self._outputs.count_peers()
        self._control.count_peers()

    def _log_totals(self) -> None:
        totals = self._totals()
        if totals != self._told:
            self.log.info("totals", **totals)
            self._told = totals
        rejected = self._outlet.counters.rejected
        if rejected != self._rejected:
            new = {code: n - self._rejected.get(code, 0) for code, n in rejected.items()}
            self.log.warning("rejected", **{code: n for code, n in new.items() if n})
            self._rejected = dict(rejected)

    # Stopping

    def _drain(self) -> float:
        """Publish the answer to everything received; returns the seconds left for handing it to subscribers."""
        self._draining = True
        end = time.monotonic() + self.settings.drain_timeout
        last = end - FLUSH * self.settings.drain_timeout
        notify("STOPPING=1")
        self.log.info("stopping", reason=self._why, messages=self._outlet.counters.messages)
        bound = self._ingest.shut()
        taken = 0
        while bound is None or taken < bound:
            if time.monotonic() > last:
                lost = self._pump.discard(max(0.0, end - time.monotonic()) / 2)
                self.log.warning("discarded", messages=lost, hint="raise drain_timeout, or lower receive_queue")
                break
            if not self._pump.pending and not self._ingest.socket.poll(QUIET_MS):
                break
            taken += self._pump.burst()
            self._requests.serve()
        self._requests.serve()
        self._outlet.events.flush()
        self._outlet.events.daemon("stopping", reason=self._why, discarded=self._outlet.counters.discarded or None)
        return max(0.0, end - time.monotonic())

    def _fail(self, error: DeviceError) -> float:
        """A GPU failed: what it was given is not answered, nor what came later. Says so, and returns the seconds for
        handing that to subscribers.

        States lived on the GPU and are lost with it; of each engine the log tells what this side knows.
        """
        self._why = error.code
        seconds = FLUSH * self.settings.drain_timeout
        notify("STOPPING=1")
        if not self._draining:
            self._ingest.shut()
        lost = self._pump.discard(seconds)
        known = [{"n_in": engine.n_in, "streams": len(engine)} for engine in self._fleet]
        hint = "the states of these streams are lost: look at the GPU, and start anew"
        self.log.error("device_failed", reason=str(error), engines=known, discarded=lost, hint=hint)
        events = self._outlet.events
        events.flush()
        events.daemon("failed", code=error.code, reason=str(error)[:MAX_REASON])
        events.daemon("stopping", reason=self._why, discarded=self._outlet.counters.discarded or None)
        return seconds

    # Telling

    def _info(self) -> dict[str, Any]:
        s = self.settings
        self._ingest.count_peers()
        self._outputs.count_peers()
        model: dict[str, Any] = {"name": s.model}
        if self._model is not None:
            model |= self._model.describe()
        return {
            "version": __version__,
            "pid": os.getpid(),
            "state": "ready" if self._why is None else "stopping",
            "started": self._started,
            "now": time.time_ns(),
            "model": model,
            "device": self._device,
            "engines": [
                {
                    "n_in": engine.n_in,
                    "n_out": engine.n_out,
                    "fingerprint": engine.model.fingerprint,
                    "streams": len(engine),
                    "capacity": engine.capacity,
                    "bytes": sum(engine.nbytes.values()),
                }
                for engine in self._fleet
            ],
            "streams": len(self._fleet),
            "endpoints": self.addresses,
            "publishers": self._ingest.connected,
            "subscribers": self._outputs.connected,
            "counters": self._outlet.counters.asdict(),
            "settings": s.model_dump(mode="json"),
        }

    def _totals(self) -> dict[str, Any]:
        """Who is here, and the counters that are not zero."""
        counters = {name: value for name, value in self._outlet.counters.asdict().items() if value}
        return {
            "streams": len(self._fleet),
            "publishers": self._ingest.connected,
            "subscribers": self._outputs.connected,
            **counters,
        }


def _model(settings: Settings) -> Model | None:
    """The model, or None for the adaptive one whose width is learned."""
    if settings.model == ADAPTIVE:
        if settings.width is None:
            return None
        return Model.adaptive(settings.width, hidden=settings.hidden, seed=settings.seed, features=settings.features)
    return Model.load(model_path(settings.model))


def run(settings: Settings, ready: Callable[[], None] = lambda: None) -> int:
    """Serve in this thread until a signal or a request stops it; returns the exit status.

    `ready` is called once it serves.
    """
    server = Server(settings, on_ready=ready)
    for name, near in unknown_variables().items():
        server.log.warning("unknown_variable", name=name, hint=f"did you mean {near}?" if near else "it sets nothing")
    return server.run()
