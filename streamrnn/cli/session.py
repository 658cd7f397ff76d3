"""A demo under way: rows out to a daemon, its answers back in, each in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from queue import SimpleQueue
from typing import NamedTuple

from ..client import Publisher, Subscriber
from ..errors import Timeout
from ..feeds import Row
from ..wire.messages import Output
from .pace import Pace, Rate

__all__ = ["Answer", "Session"]

CONNECT_SECONDS = 10.0
"""How long the publisher waits for the daemon's subscription."""

QUIET_SECONDS = 2.0
"""With everything sent and no answer for so long, no more answers are coming."""

LISTEN_SECONDS = 0.2
"""How often the listening thread looks whether it is to stop."""


class Answer(NamedTuple):
    """An output of the daemon with the sample that it answers.

    `round_trip_ns` is from just before the sample was handed to ZeroMQ until its output had been received.
    """

    output: Output
    x: list[float]
    round_trip_ns: int


class Session:
    """Plays `rows` at `rate` into a daemon and hands its answers to the thread that draws.

    A context manager: entering connects and starts to play, leaving stops both threads. An error of a thread
    is raised by `answers`.
    """

    def __init__(self, rows: Iterable[Row], rate: Rate, ingest: str, outputs: str) -> None:
        self._rows = rows
        self._stop = threading.Event()
        self._pace = Pace(rate, self._stop.is_set)
        self._ingest, self._outputs = ingest, outputs
        self._listening = threading.Event()
        self._played = threading.Event()
        self._sent_at: dict[tuple[str, int], tuple[int, list[float]]] = {}
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._errors: SimpleQueue[Exception] = SimpleQueue()
        self._last_answer = 0.0
        self._threads = [
            threading.Thread(target=self._guard, args=(part,), name=part.__name__, daemon=True)
            for part in (self._listen, self._play)
        ]
        self._began: float | None = None

    def __enter__(self) -> Session:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for thread in self._threads:
            thread.join()

    def stop(self) -> None:
        """Stop playing and listening soon."""
        self._stop.set()

    def answers(self) -> list[Answer]:
        """The answers since the last call; raises the error that a thread ended with, if one did."""
        if not self._errors.empty():
            raise self._errors.get()
        taken = []
        while not self._answers.empty():  # only this thread takes from it
            taken.append(self._answers.get())
        return taken

    @property
    def played(self) -> float:
        """Seconds since the first sample; 0 before both sides were connected."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    @property
    def done(self) -> bool:
        """Whether all was played and every answer that can be expected has come."""
        if not self._played.is_set():
            return False
        return not self._sent_at or time.monotonic() - self._last_answer > QUIET_SECONDS

    def _guard(self, part: object) -> None:
        try:
            part()  # type: ignore[operator]
        except Exception as error:
            self._errors.put(error)

    def _play(self) -> None:
        seq: dict[str, int] = {}
        try:
            with Publisher(self._ingest) as publisher:
                publisher.wait(CONNECT_SECONDS)
                self._listening.wait(CONNECT_SECONDS)
                self._began = time.monotonic()
                for row in self._rows:
                    self._pace.wait(row.t)
                    if self._stop.is_set():
                        break
                    number = seq.get(row.stream, 0)
                    seq[row.stream] = number + 1
                    self._sent_at[row.stream, number] = (time.perf_counter_ns(), row.x)
                    publisher.send(row.stream, row.x, t=row.t, seq=number)
        finally:
            self._last_answer = time.monotonic()
            self._played.set()

    def _listen(self) -> None:
        with Subscriber(self._outputs, "out/") as subscriber:
            subscriber.wait(CONNECT_SECONDS)
            self._listening.set()
            while not self._stop.is_set():
                try:
                    message = subscriber.recv(LISTEN_SECONDS)
                except Timeout:
                    continue
                now = time.perf_counter_ns()
                if not isinstance(message, Output) or message.seq is None:
                    continue
                sent = self._sent_at.pop((message.stream, message.seq), None)
                if sent is not None:
                    self._answers.put(Answer(message, sent[1], now - sent[0]))
                    self._last_answer = time.monotonic()
