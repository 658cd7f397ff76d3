"""A daemon's three sockets and nothing behind them, to test clients by the bytes they send."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

import zmq

from streamrnn.wire.messages import DEFAULT_LIMITS, Block, Limits, Sample, decode_ingest

ANY = "tcp://127.0.0.1:*"


class FakeDaemon:
    """Binds ingest, outputs and control to ports of its own, or to the ports of one that went away."""

    def __init__(
        self,
        ingest: str = ANY,
        outputs: str = ANY,
        topics: tuple[bytes, ...] = (b"in/", b"block/"),
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.limits = limits
        self.context = zmq.Context()
        self.sub = self.context.socket(zmq.SUB)
        for topic in topics:
            self.sub.subscribe(topic)
        self.pub = self.context.socket(zmq.XPUB)
        self.pub.sndhwm = 100
        self.router = self.context.socket(zmq.ROUTER)
        self.router.bind(ANY)
        self.control = self.router.last_endpoint.decode()
        for socket, address in ((self.sub, ingest), (self.pub, outputs)):
            eventually(lambda socket=socket, address=address: bound(socket, address))
        self.ingest = self.sub.last_endpoint.decode()
        self.outputs = self.pub.last_endpoint.decode()

    def take(self, n: int, timeout: float = 10.0) -> list[Sample | Block]:
        """The next `n` messages, decoded."""
        taken: list[Sample | Block] = []
        end = time.monotonic() + timeout
        while len(taken) < n:
            left = round(1000 * (end - time.monotonic()))
            assert left > 0, f"{len(taken)} of {n} messages came"
            if self.sub.poll(left):
                taken.append(decode_ingest(self.sub.recv_multipart(), self.limits, time.time_ns()))
        return taken

    def meanwhile(self, action: Callable[[], object], n: int) -> list[Sample | Block]:
        """Take `n` messages while `action` runs in a thread of its own."""
        with Background(action) as thread:
            taken = self.take(n)
            while thread.is_alive():
                self.sub.poll(10)  # a socket tells its subscriptions while it is used
        return taken

    def expect_subscriptions(self, *prefixes: bytes) -> None:
        told = set()
        for _ in prefixes:
            assert self.pub.poll(10_000)
            told.add(self.pub.recv())
        assert told == {b"\x01" + prefix for prefix in prefixes}

    def publish(self, topic: bytes, body: bytes) -> None:
        self.pub.send_multipart([topic, body])

    def close(self) -> None:
        self.context.destroy(linger=0)

    def __enter__(self) -> FakeDaemon:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Background:
    """Runs `action` in a thread; leaving the block joins it and raises what it raised."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._error: BaseException | None = None
        self._action = action
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self._action()
        except BaseException as error:
            self._error = error

    def __enter__(self) -> threading.Thread:
        self._thread.start()
        return self._thread

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self._error is not None and value is None:
            raise self._error


def bound(socket: zmq.Socket[bytes], address: str) -> bool:
    try:
        socket.bind(address)
    except zmq.ZMQError:
        return False
    return True


def eventually(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    """Poll until the condition holds."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)
