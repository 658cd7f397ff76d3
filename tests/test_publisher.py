"""The publisher: nothing lost in silence, at the start, under pressure, over a restart."""

from __future__ import annotations

import socket
import threading
from array import array
from collections.abc import Iterator

import numpy as np
import pytest
from fake_daemon import FakeDaemon, eventually

from streamrnn.client import Publisher
from streamrnn.errors import BadId, ConfigError, InputError, Malformed, NotFinite, Timeout, WrongWidth
from streamrnn.wire.messages import Block, Limits, Sample


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    with FakeDaemon() as fake:
        yield fake


def seqs(messages: list[Sample | Block]) -> list[int | None]:
    assert all(isinstance(message, Sample) for message in messages)
    return [message.seq for message in messages if isinstance(message, Sample)]


def test_the_first_sample_arrives(daemon: FakeDaemon) -> None:
    with Publisher(daemon.ingest) as publisher:
        taken = daemon.meanwhile(lambda: publisher.send("bed1", [97.0, None], t=5, reset=True), 1)
        sample = taken[0]
        assert isinstance(sample, Sample)
        assert (sample.stream, sample.t, sample.seq, sample.reset) == (b"bed1", 5, 0, True)
        assert sample.session == publisher.session


def test_a_publisher_that_was_there_first_waits_for_the_daemon() -> None:
    with FakeDaemon() as gone:
        address = gone.ingest
    with Publisher(address) as publisher:
        asked = threading.Event()
        taken: list[Sample | Block] = []

        def later() -> None:
            asked.wait(10)
            with FakeDaemon(ingest=address) as daemon:
                taken.extend(daemon.take(1))

        thread = threading.Thread(target=later)
        thread.start()
        assert not publisher.subscribed
        asked.set()
        publisher.send("bed1", [1.0])
        thread.join(20)
    assert seqs(taken) == [0]


def test_nobody_there_is_an_error_with_a_remedy() -> None:
    with FakeDaemon() as gone:
        address = gone.ingest
    with Publisher(address, timeout=0.1) as publisher:
        with pytest.raises(Timeout, match=r"streamrnn serve") as caught:
            publisher.wait()
        assert address in str(caught.value)
        with pytest.raises(Timeout):
            publisher.send("bed1", [1.0])
        with pytest.raises(Timeout):
            publisher.send_block("bed1", [[1.0]])


def test_a_failed_send_uses_up_no_number() -> None:
    with FakeDaemon() as gone:
        address = gone.ingest
    with Publisher(address, timeout=0.1) as publisher:
        for _ in range(2):
            with pytest.raises(Timeout):
                publisher.send("bed1", [1.0])
        with FakeDaemon(ingest=address) as daemon:
            publisher.timeout = 10.0
            assert seqs(daemon.meanwhile(lambda: publisher.send("bed1", [1.0]), 1)) == [0]


def test_each_stream_is_counted_by_itself_and_each_publisher_is_a_session(daemon: FakeDaemon) -> None:
    with Publisher(daemon.ingest) as one, Publisher(daemon.ingest, session="mine") as two:

        def send() -> None:
            one.send("a", [1.0])
            one.send("b", [1.0])
            one.send("a", [1.0])
            one.send("a", [1.0], seq=10)
            one.send("a", [1.0])

        assert seqs(daemon.meanwhile(send, 5)) == [0, 0, 1, 10, 11]
        assert len(one.session) == 8
        last = daemon.meanwhile(lambda: two.send("a", [1.0]), 1)[0]
        assert last.session == b"mine"


def test_samples_sent_while_the_daemon_is_away_reach_the_next_one() -> None:
    with FakeDaemon() as first:
        publisher = Publisher(first.ingest)
        assert seqs(first.meanwhile(lambda: publisher.send("bed1", [1.0]), 1)) == [0]
        address = first.ingest
    with publisher:
        for _ in range(100):
            publisher.send("bed1", [1.0])
        with FakeDaemon(ingest=address) as second:
            assert seqs(second.take(100)) == list(range(1, 101))
            publisher.send("bed1", [1.0])
            assert seqs(second.take(1)) == [101]


def test_above_the_high_water_mark_it_waits_and_then_says_so(daemon: FakeDaemon) -> None:
    """Nothing is dropped: all that was taken arrives in order, and the sample that was refused can be sent again."""
    wide = [0.0] * 4096
    sent = 0
    with Publisher(daemon.ingest, hwm=10) as publisher:
        daemon.meanwhile(publisher.wait, 0)
        publisher.timeout = 0.2
        with pytest.raises(Timeout, match="10 messages wait"):
            while sent < 100_000:
                publisher.send("a", wide)
                sent += 1
        assert sent >= 10
        assert seqs(daemon.take(sent)) == list(range(sent))
        publisher.send("a", wide)
        assert seqs(daemon.take(1)) == [sent]


def test_what_was_sent_is_flushed_by_close(daemon: FakeDaemon) -> None:
    publisher = Publisher(daemon.ingest, hwm=10)
    daemon.meanwhile(publisher.wait, 0)
    publisher.timeout = 0.2
    sent = 0
    while not waits(publisher, [0.0] * 4096):
        sent += 1
    assert seqs(daemon.meanwhile(publisher.close, sent)) == list(range(sent))
    assert publisher.closed
    publisher.close()


def waits(publisher: Publisher, x: list[float]) -> bool:
    """Whether a sample cannot be sent."""
    try:
        publisher.send("a", x)
    except Timeout:
        return True
    return False


def test_a_bound_publisher_notices_that_its_daemon_went_away() -> None:
    with Publisher("@tcp://127.0.0.1:*") as publisher:
        daemon = FakeDaemon()
        daemon.sub.connect(publisher.address)
        assert seqs(daemon.meanwhile(lambda: publisher.send("a", [1.0]), 1)) == [0]
        assert publisher.subscribed
        daemon.close()
        publisher.timeout = 0.05
        eventually(lambda: waits(publisher, [1.0]))
        assert not publisher.subscribed


def test_a_daemon_that_unsubscribes_is_waited_for(daemon: FakeDaemon) -> None:
    with Publisher(daemon.ingest) as publisher:
        daemon.meanwhile(lambda: publisher.send("a", [1.0]), 1)
        daemon.sub.unsubscribe(b"in/")
        publisher.timeout = 0.05
        eventually(lambda: waits(publisher, [1.0]))
        publisher.timeout = 10.0
        daemon.sub.subscribe(b"in/")
        daemon.meanwhile(lambda: publisher.send("a", [1.0]), 1)


def test_a_daemon_of_one_ward_gets_its_samples() -> None:
    with FakeDaemon(topics=(b"in/ward3/",)) as daemon, Publisher(daemon.ingest) as publisher:
        assert seqs(daemon.meanwhile(lambda: publisher.send("ward3/bed1", [1.0]), 1)) == [0]
        publisher.timeout = 0.1
        with pytest.raises(Timeout, match="in/ward4/bed1/"):
            publisher.send("ward4/bed1", [1.0])


def test_a_block_from_an_array(daemon: FakeDaemon) -> None:
    X = np.arange(6.0).reshape(3, 2)
    t = np.array([10, 20, 30])
    with Publisher(daemon.ingest) as publisher:
        block = daemon.meanwhile(lambda: publisher.send_block(["a", "b", "a"], X, t=t), 1)[0]
        assert isinstance(block, Block)
        assert block.streams == [b"a", b"b", b"a"]
        assert block.x == array("f", range(6))
        assert (block.t, block.seq) == (array("q", [10, 20, 30]), array("Q", [0, 0, 1]))
        assert block.session == publisher.session
        second = daemon.meanwhile(lambda: publisher.send_block("a", [[1.0, None]] * 4), 1)[0]
        assert isinstance(second, Block)
        assert second.one_id
        assert second.seq == array("Q", [2, 3, 4, 5])
        assert second.t is None


@pytest.mark.parametrize("one", [True, False])
def test_a_long_block_is_cut_to_the_limits_in_order(daemon: FakeDaemon, one: bool) -> None:
    n = 100
    ids = "a" if one else [f"s{i % 7}" for i in range(n)]
    X = np.arange(n * 2, dtype="f4").reshape(n, 2)
    with Publisher(daemon.ingest, limits=Limits(max_block=30)) as publisher:
        blocks = daemon.meanwhile(lambda: publisher.send_block(ids, X, t=list(range(n))), 4)
    assert [block.n for block in blocks if isinstance(block, Block)] == [30, 30, 30, 10]
    assert [v for block in blocks for v in block.x] == list(range(2 * n))
    assert [t for block in blocks for t in block.t] == list(range(n))  # type: ignore[union-attr]
    counted: dict[bytes, list[int]] = {}
    for block in blocks:
        assert isinstance(block, Block)
        assert block.seq is not None
        for stream, seq in zip(block.streams, block.seq, strict=True):
            counted.setdefault(stream, []).append(seq)
    assert all(numbers == list(range(len(numbers))) for numbers in counted.values())


def test_the_largest_pieces_are_within_the_daemons_limits(daemon: FakeDaemon) -> None:
    with Publisher(daemon.ingest) as publisher:
        ids = ["i" * 200] * 6000
        blocks = daemon.meanwhile(lambda: publisher.send_block(ids, np.zeros((6000, 8), "f4"), t=[1] * 6000), 2)
    assert sum(block.n for block in blocks if isinstance(block, Block)) == 6000


@pytest.mark.parametrize(
    ("ids", "X", "t", "error"),
    [
        ("", [[1.0]], None, BadId),
        (["a", "b\n"], [[1.0]] * 2, None, BadId),
        (["a", "b"], [[1.0]], None, Malformed),
        ("a", [[1.0], [1.0, 2.0]], None, WrongWidth),
        ("a", [1.0, 2.0], None, Malformed),
        ("a", np.zeros(3), None, Malformed),
        ("a", [[float("inf")]], None, NotFinite),
        ("a", [[1.0]], [1, 2], Malformed),
        ("a", [[1.0]], [0.5], InputError),
        ("a", [[1.0]], np.array(["2020-01-01"], "M8[ns]"), InputError),
    ],
)
def test_a_wrong_block_is_refused_before_it_is_sent(ids: object, X: object, t: object, error: type[Exception]) -> None:
    with Publisher("@tcp://127.0.0.1:*", timeout=0.0) as publisher, pytest.raises(error):
        publisher.send_block(ids, X, t)  # type: ignore[arg-type]


def test_a_daemon_can_be_reached_over_ipv6() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with Publisher("@tcp://[::1]:*") as publisher:
        daemon = FakeDaemon()
        daemon.sub.ipv6 = True
        daemon.sub.connect(publisher.address)
        assert seqs(daemon.meanwhile(lambda: publisher.send("a", [1.0]), 1)) == [0]
        daemon.close()


def test_an_endpoint_in_use_is_a_configuration_error(daemon: FakeDaemon) -> None:
    with pytest.raises(ConfigError, match="cannot open"):
        Publisher("@" + daemon.ingest)
