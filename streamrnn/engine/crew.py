"""Threads that step shards of streams side by side.

A kernel releases the interpreter's lock, so plain threads do. The caller takes the first share itself; each other share
goes to a thread that waits for it. Handing over takes some ten microseconds, so small bursts are better off alone; and
where the processors are busy with something else, a share may wait for milliseconds until one of them is free. So the
crew measures: after a round that one thread alone would have finished sooner it rests for some rounds, more with each
such round, and then tries again.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

from ..errors import ConfigError

__all__ = ["Crew"]

LONGEST_REST = 256
"""Rounds after which a crew tries again at the latest."""

_Task = tuple[Callable[..., Any], tuple[Any, ...]]


def _work(tasks: SimpleQueue[_Task | None], done: SimpleQueue[tuple[Any, BaseException | None]]) -> None:
    while (task := tasks.get()) is not None:
        function, arguments = task
        try:
            done.put((function(*arguments), None))
        except BaseException as error:
            done.put((None, error))
        # Nothing of the caller's is kept alive while waiting.
        del task, function, arguments


def _dismiss(queues: Sequence[SimpleQueue[_Task | None]]) -> None:
    for tasks in queues:
        tasks.put(None)


class Crew:
    """`size` threads, the caller's included. The others end when the crew is no longer referred to.

    Raises ConfigError where the system does not let so many start.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._rest, self._rests = 0, 1
        self._done: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._queues: list[SimpleQueue[_Task | None]] = [SimpleQueue() for _ in range(size - 1)]
        for k, tasks in enumerate(self._queues):
            thread = threading.Thread(
                target=_work, args=(tasks, self._done), name=f"streamrnn-shard-{k + 1}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:
                _dismiss(self._queues[:k])
                raise ConfigError(
                    f"threads is {size}, of which this system let {k + 1} run; lower threads, or raise its limit"
                ) from None
        weakref.finalize(self, _dismiss, self._queues)

    def pays(self) -> bool:
        """Whether to share the next round; asked once for each."""
        if self._rest:
            self._rest -= 1
        return not self._rest

    def _judge(self, own: int, waited: int) -> None:
        """Learn from a round in which the caller's share took `own` ns and the others' `waited` ns longer."""
        if waited > (self.size - 1) * own:
            self._rests = min(2 * self._rests, LONGEST_REST)
            self._rest = self._rests
        else:
            self._rests = max(self._rests // 2, 1)

    def run(self, function: Callable[..., Any], shares: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call the function once for each share of arguments, all at once; the results, in no order."""
        for tasks, arguments in zip(self._queues, shares[1:], strict=True):
            tasks.put((function, arguments))
        began = own = time.monotonic_ns()
        try:
            results = [function(*shares[0])]
            own = time.monotonic_ns()
        finally:
            # Whatever happened here, nobody may still be writing when this returns.
            others = [self._done.get() for _ in self._queues]
        self._judge(own - began, time.monotonic_ns() - own)
        for result, error in others:
            if error is not None:
                raise error
            results.append(result)
        return results
