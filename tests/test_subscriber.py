"""The subscriber: typed messages, told losses, the same for threads and coroutines."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator

import pytest
import zmq
from fake_daemon import Background, FakeDaemon, eventually

from streamrnn.client import BlockOutput, Event, Flag, Gap, Output, Published, Subscriber
from streamrnn.errors import ConfigError, Malformed, Timeout
from streamrnn.wire.messages import (
    BLOCK_TOPIC,
    encode_block_output,
    encode_event,
    encode_output,
    flag_topic,
    output_topic,
)


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    with FakeDaemon() as fake:
        yield fake


def output(n: int, epoch: int = 0, edge: str | None = None) -> bytes:
    return encode_output(n, 10 * n, [0.5, 1.5], 2.0, edge == "raised", None, n, epoch, 1, 2, None, edge)


def publish(daemon: FakeDaemon, *numbers: int, stream: str = "bed1") -> None:
    for n in numbers:
        daemon.publish(output_topic(stream), output(n))


def joined(daemon: FakeDaemon, subscriber: Subscriber, *prefixes: bytes) -> None:
    """Wait until the daemon has the subscriptions."""
    daemon.expect_subscriptions(*prefixes)
    subscriber.wait()


def test_everything_arrives_as_what_it_is(daemon: FakeDaemon) -> None:
    with Subscriber(daemon.outputs, "", timeout=10.0) as subscriber:
        joined(daemon, subscriber, b"")
        publish(daemon, 1)
        daemon.publish(flag_topic("bed1"), output(1, edge="raised"))
        daemon.publish(
            BLOCK_TOPIC, encode_block_output("a", None, bytes(8), bytes(8), bytes(4), bytes(1), recv=1, sent=2)
        )
        daemon.publish(*encode_event("gap", "bed1", 7, missing=3))
        got = [subscriber.recv() for _ in range(4)]
    assert [type(message) for message in got] == [Output, Flag, BlockOutput, Event]
    assert got[0] == Output("bed1", 10, [0.5, 1.5], 2.0, False, 1, 0, 1, None, 1, 2)
    assert got[1].edge == "raised"  # type: ignore[union-attr]
    assert got[2].y == array("f", [0.0, 0.0])  # type: ignore[union-attr]
    assert got[3] == Event("gap", "bed1", 7, {"missing": 3})


def test_prefixes_choose(daemon: FakeDaemon) -> None:
    with Subscriber(daemon.outputs, ["out/bed1/", "flag/"], timeout=10.0) as subscriber:
        joined(daemon, subscriber, b"out/bed1/", b"flag/")
        publish(daemon, 1, stream="bed10")
        publish(daemon, 1, stream="bed1")
        daemon.publish(flag_topic("bed10"), output(1, edge="cleared"))
        got = [subscriber.recv(), subscriber.recv()]
        assert [message.stream for message in got] == ["bed1", "bed10"]  # type: ignore[union-attr]
        subscriber.subscribe("out/bed10/")
        daemon.expect_subscriptions(b"out/bed10/")
        subscriber.unsubscribe("out/bed1/")
        assert daemon.pub.poll(10_000)
        assert daemon.pub.recv() == b"\x00out/bed1/"
        publish(daemon, 2, stream="bed1")
        publish(daemon, 2, stream="bed10")
        last = subscriber.recv()
        assert isinstance(last, Output)
        assert (last.stream, last.n) == ("bed10", 2)


@pytest.mark.parametrize("prefix", ["bed1", "in/bed1/", "/out/", "outs/"])
def test_a_prefix_that_matches_no_topic_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigError, match="out/"):
        Subscriber(prefixes=[prefix])


def test_what_was_lost_is_told(daemon: FakeDaemon) -> None:
    gaps: list[Gap] = []
    with Subscriber(daemon.outputs, timeout=10.0, on_gap=gaps.append) as subscriber:
        joined(daemon, subscriber, b"out/")
        publish(daemon, 5, 6, 9)
        publish(daemon, 1, stream="bed2")
        publish(daemon, 10, 1, 2, 4)
        publish(daemon, 3, stream="bed2")
        lost = [message.lost for message in (subscriber.recv() for _ in range(9)) if isinstance(message, Output)]
        assert lost == [0, 0, 2, 0, 0, 0, 0, 1, 1]
        assert subscriber.lost == 4
    assert gaps == [Gap("bed1", 2, 9), Gap("bed1", 1, 4), Gap("bed2", 1, 3)]


def test_a_loss_is_logged_where_nobody_listens(daemon: FakeDaemon, caplog: pytest.LogCaptureFixture) -> None:
    with Subscriber(daemon.outputs, timeout=10.0) as subscriber:
        joined(daemon, subscriber, b"out/")
        publish(daemon, 1, 4)
        with caplog.at_level(logging.WARNING, "streamrnn.client"):
            subscriber.recv()
            subscriber.recv()
    assert "missed 2 outputs of bed1 before its number 4" in caplog.text


def test_rows_of_blocks_count_as_received(daemon: FakeDaemon) -> None:
    with Subscriber(daemon.outputs, ["out/", "block/"], timeout=10.0) as subscriber:
        joined(daemon, subscriber, b"out/", b"block/")
        publish(daemon, 1)
        answer = encode_block_output(["bed1", "x", "bed1"], None, bytes(24), bytes(12), bytes(12), bytes(3), 1, 2)
        daemon.publish(BLOCK_TOPIC, answer)
        publish(daemon, 4)
        for _ in range(3):
            subscriber.recv()
        assert subscriber.lost == 0


def test_a_slow_subscriber_learns_what_was_dropped_for_it(daemon: FakeDaemon) -> None:
    n = 10_000
    wide = [0.0] * 1000
    with Subscriber(daemon.outputs, timeout=10.0, hwm=10, on_gap=lambda gap: None) as subscriber:
        joined(daemon, subscriber, b"out/")
        for i in range(1, n):
            daemon.publish(b"out/bed1/", encode_output(None, 1, wide, 0.0, False, None, i, 0, 1, 2))
        got = drained(subscriber)
        assert got < n - 1
        publish(daemon, n)  # the last ones are missed only once another follows
        assert got + drained(subscriber) + subscriber.lost == n


def drained(subscriber: Subscriber) -> int:
    """How many messages are there until none comes for a while."""
    taken = 0
    with contextlib.suppress(Timeout):
        while subscriber.recv(timeout=1.0):
            taken += 1
    return taken


def test_a_later_versions_topic_is_passed_over(daemon: FakeDaemon) -> None:
    with Subscriber(daemon.outputs, "", timeout=10.0) as subscriber:
        joined(daemon, subscriber, b"")
        daemon.publish(b"metrics/", b"\x80")
        publish(daemon, 1)
        assert isinstance(subscriber.recv(), Output)
        assert subscriber.skipped == 1
        daemon.publish(b"out/bed1/", b"\xc1")
        with pytest.raises(Malformed):
            subscriber.recv()


def test_silence_is_a_timeout(daemon: FakeDaemon) -> None:
    with Subscriber(daemon.outputs, timeout=0.05) as subscriber:
        with pytest.raises(Timeout, match=daemon.outputs):
            next(subscriber)
        with pytest.raises(Timeout):
            asyncio.run(subscriber.arecv())


def test_wait_says_where_nobody_is() -> None:
    with FakeDaemon() as gone:
        address = gone.outputs
    with Subscriber(address) as subscriber, pytest.raises(Timeout, match="streamrnn serve"):
        subscriber.wait(0.05)


def test_iteration_ends_when_closed(daemon: FakeDaemon) -> None:
    subscriber = Subscriber(daemon.outputs, timeout=10.0)
    joined(daemon, subscriber, b"out/")
    publish(daemon, 1, 2)
    got: list[Published] = []
    for message in subscriber:
        got.append(message)
        if len(got) == 2:
            subscriber.close()
    assert len(got) == 2
    subscriber.close()


def test_async_iteration_is_the_same(daemon: FakeDaemon) -> None:
    async def collect() -> tuple[list[Published], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        got: list[Published] = []
        with Subscriber(daemon.outputs, timeout=10.0, on_gap=lambda gap: None) as subscriber:
            joined(daemon, subscriber, b"out/")
            ticking = asyncio.create_task(tick())
            publish(daemon, *range(1, 91), 93)
            async for message in subscriber:
                got.append(message)
                if len(got) == 91:
                    subscriber.close()
            ticking.cancel()
            assert subscriber.lost == 2
        return got, ticks

    got, ticks = asyncio.run(collect())
    assert [message.n for message in got if isinstance(message, Output)] == [*range(1, 91), 93]
    assert ticks


def test_a_coroutine_waits_without_holding_up_others(daemon: FakeDaemon) -> None:
    async def both() -> Published:
        with Subscriber(daemon.outputs, timeout=10.0) as subscriber:
            joined(daemon, subscriber, b"out/")
            waiting = asyncio.create_task(subscriber.arecv())
            for _ in range(10):
                await asyncio.sleep(0)
            assert not waiting.done()
            publish(daemon, 1)
            return await waiting

    assert isinstance(asyncio.run(both()), Output)


def test_subscriptions_survive_a_restart_of_the_daemon() -> None:
    with FakeDaemon() as first:
        address = first.outputs
        subscriber = Subscriber(address, timeout=10.0)
        joined(first, subscriber, b"out/")
    with subscriber, FakeDaemon(outputs=address) as second:
        got: list[Published] = []
        with Background(lambda: got.append(subscriber.recv())):
            second.expect_subscriptions(b"out/")
            publish(second, 1)
        assert isinstance(got[0], Output)


IN_A_LOOP = """
import sys
from streamrnn.client import Subscriber

with Subscriber(sys.argv[1]) as subscriber:
    print("waiting", flush=True)
    for message in subscriber:
        pass
"""

IN_A_COROUTINE = """
import asyncio, sys
from streamrnn.client import Subscriber

async def main():
    with Subscriber(sys.argv[1]) as subscriber:
        print("waiting", flush=True)
        async for message in subscriber:
            pass

asyncio.run(main())
"""


@pytest.mark.parametrize("code", [IN_A_LOOP, IN_A_COROUTINE], ids=["loop", "coroutine"])
def test_control_c_ends_a_waiting_subscriber(daemon: FakeDaemon, code: str) -> None:
    command = [sys.executable, "-c", code, daemon.outputs]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        daemon.expect_subscriptions(b"out/")
        assert child.stdout is not None
        assert child.stdout.readline() == "waiting\n"
        start = time.monotonic()
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=10)
        assert time.monotonic() - start < 5
        assert errors.rstrip().endswith("KeyboardInterrupt")
    finally:
        child.kill()
        child.communicate()


def test_it_knows_whether_its_daemon_is_there() -> None:
    with FakeDaemon() as daemon, Subscriber(daemon.outputs) as subscriber:
        subscriber.wait()
        assert subscriber.connected
        publish(daemon, 1)
        daemon.close()
        eventually(lambda: not subscriber.connected)


def test_a_bound_subscriber_waits_for_a_daemon_to_connect() -> None:
    with Subscriber("@tcp://127.0.0.1:*") as subscriber:
        with pytest.raises(Timeout):
            subscriber.wait(0.05)
        with zmq.Context() as context, context.socket(zmq.PUB) as socket:
            socket.linger = 0
            socket.connect(subscriber.address)
            subscriber.wait(10)
