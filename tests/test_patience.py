"""A burst that waits for more: by a clock of the tests' own on both data paths, and in a daemon by the real one."""

from __future__ import annotations

import ctypes
import signal
import time
from contextlib import contextmanager

import pytest
import zmq
from daemon_process import DaemonProcess, eventually, raw_publisher, until
from hypothesis import given, settings
from hypothesis import strategies as st
from pumps import PATHS, Bench, timeless
from traffic import traffic

from streamrnn.client import Event, Subscriber
from streamrnn.engine import Engine
from streamrnn.model import Model
from streamrnn.transport import paths
from streamrnn.transport.fleet import Fleet
from streamrnn.transport.native import find_library
from streamrnn.transport.patience import Patience, nap
from streamrnn.wire.messages import Limits, decode_published, encode_sample, sample_topic

LSTM = Model.random(cell="lstm", n_in=2, hidden=8, n_out=3, seed=1)
BUDGET = 500_000
LIMITS = Limits(max_message=3000, max_width=8, max_block=40, max_depth=4, max_skipped=30)


def fixed():
    return Fleet(lambda n_in: Engine(LSTM, 4), 2, 8)


def learned():
    return Fleet(lambda n_in: Engine(Model.adaptive(n_in, hidden=8), 4), None, 8, max_width=4, max_widths=2)


class Clock:
    """Time that goes on in naps alone, for Python and, as functions of C, for compiled code; `plan` are calls by when
    they are due, ns from the beginning."""

    def __init__(self):
        self.began = self.now = time.monotonic_ns()
        self._wall = time.time_ns() - self.began
        self.naps = []
        self.plan = []
        self._gettime = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64, ctypes.c_void_p)(self._tell)
        self._nanosleep = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(self._rest)

    @property
    def spent(self):
        return self.now - self.began

    def tell(self):
        return self.now

    def sleep(self, seconds):
        self._nap(round(seconds * 1e9))

    def _nap(self, ns):
        assert 0 <= ns < 10**9
        self.naps.append(ns)
        self.now += ns
        while self.plan and self.plan[0][0] <= self.spent:
            self.plan.pop(0)[1]()

    def _tell(self, clock, where):
        ns = self.now
        if clock == time.CLOCK_REALTIME:
            self._wall += 1  # so that no two times are alike, and each can be told in a message
            ns += self._wall
        (ctypes.c_int64 * 2).from_address(where)[:] = divmod(ns, 10**9)
        return 0

    def _rest(self, where, _):
        seconds, ns = (ctypes.c_int64 * 2).from_address(where)
        self._nap(seconds * 10**9 + ns)
        return 0

    def library(self):
        address = [ctypes.cast(f, ctypes.c_void_p).value for f in (self._gettime, self._nanosleep)]
        return find_library()._replace(clock_gettime=address[0], nanosleep=address[1])


@contextmanager
def bench_of(path, budget=BUDGET, make=fixed, limit=8, limits=None):
    """A data path by a clock of its own."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch, zmq.Context() as context:
        patch.setattr(paths, "find_library", clock.library)
        bench = Bench(context, make(), limit=limit, limits=limits, path=path, budget=budget)
        bench.pump.patience = Patience(budget, clock.tell, clock.sleep)
        bench.pump.turn = 10**12  # by the real clock, which on a busy machine leaps
        try:
            yield bench, clock
        finally:
            bench.close()


def outputs(bench):
    return [m for m in map(decode_published, bench.published()) if type(m).__name__ == "Output"]


@pytest.mark.parametrize("path", PATHS)
def test_a_burst_waits_for_more_until_its_first_message_has_waited_for_the_budget(path):
    with bench_of(path) as (bench, clock):
        bench.sample("a", [1.0, 2.0])
        for at, stream in ((100_000, "b"), (440_000, "c"), (BUDGET + 1, "d")):
            clock.plan.append((at, lambda stream=stream: bench.sample(stream, [1.0, 2.0])))
        bench.pump.serve((), 20)
        answers = outputs(bench)
        assert [m.stream for m in answers] == ["a", "b", "c"]
        assert len({m.recv for m in answers}) == 1, "it was one burst"
        assert clock.spent == BUDGET
        # One that comes later begins a burst of its own.
        clock.now += 1
        clock.plan.pop()[1]()
        bench.pump.serve((), 20)
        assert [m.stream for m in outputs(bench)] == ["d"]
        assert clock.spent == 2 * BUDGET + 1


@pytest.mark.parametrize("path", PATHS)
def test_a_full_burst_waits_for_nothing(path):
    with bench_of(path, limit=4) as (bench, clock):
        for stream in "abcdef":
            bench.sample(stream, [1.0, 2.0])
        clock.plan.append((1, lambda: answered.extend(outputs(bench))))
        answered = []
        bench.pump.serve((), 20)
        if path == "pyzmq":  # which gives other sources their turn after each burst
            assert clock.naps == []
            bench.pump.serve((), 20)
        assert [m.stream for m in answered + outputs(bench)] == list("abcdef")
        assert len(answered) == (4 if path == "compiled" else 0) or path == "pyzmq"
        assert clock.spent == BUDGET


@pytest.mark.parametrize("path", PATHS)
def test_a_burst_that_fills_while_it_waits_waits_no_longer(path):
    with bench_of(path, limit=3) as (bench, clock):
        bench.sample("a", [1.0, 2.0])
        clock.plan.append((1, lambda: [bench.sample(s, [1.0, 2.0]) for s in "bc"]))
        bench.pump.serve((), 20)
        assert [m.stream for m in outputs(bench)] == list("abc")
        assert clock.naps == [nap(BUDGET, BUDGET)]


@pytest.mark.parametrize("path", PATHS)
def test_without_a_budget_nothing_waits(path):
    with bench_of(path, budget=0) as (bench, clock):
        bench.sample("a", [1.0, 2.0])
        bench.pump.serve((), 20)
        assert len(outputs(bench)) == 1
        assert clock.naps == []


@pytest.mark.parametrize("path", PATHS)
def test_blocks_wait_for_nothing_and_samples_before_one_go_with_it(path):
    with bench_of(path) as (bench, clock):
        bench.sample("a", [1.0, 2.0])
        bench.block(["a", "b"], [[1.0, 2.0]] * 2)
        bench.pump.serve((), 20)
        assert [type(m).__name__ for m in map(decode_published, bench.published()) if "Output" in type(m).__name__] == [
            "Output",
            "BlockOutput",
        ]
        assert clock.naps == []


@pytest.mark.parametrize("path", PATHS)
def test_others_have_their_turn_while_a_burst_waits(path):
    """It returns at the first look after a nap, with the rows kept; the next call goes on, to the same end."""
    with bench_of(path) as (bench, clock), bench_of("pyzmq", 0) as (other, _):
        bench.sample("a", [1.0, 2.0])
        clock.plan.append((1, lambda: other.sample("x", [1.0, 2.0])))
        assert bench.pump.serve((other.ingest,), 20) == {other.ingest}
        assert clock.naps == [nap(BUDGET, BUDGET)]
        assert bench.pump.pending
        assert outputs(bench) == []
        other.ingest.recv_multipart()
        assert bench.pump.serve((other.ingest,), 20) == set()
        assert len(outputs(bench)) == 1
        assert clock.spent == BUDGET
        assert not bench.pump.pending


@pytest.mark.parametrize("path", PATHS)
def test_timers_have_their_turn_while_a_burst_waits(path):
    with bench_of(path, budget=50_000_000) as (bench, clock):
        bench.sample("a", [1.0, 2.0])
        clock.began = clock.now = time.monotonic_ns()  # where the time to wait until is reckoned from
        bench.pump.serve((), 10)
        assert 10_000_000 <= clock.spent < 50_000_000
        assert bench.pump.pending
        assert outputs(bench) == []
        clock.now += 50_000_000
        bench.pump.serve((), 10)
        assert len(outputs(bench)) == 1


@pytest.mark.parametrize("path", PATHS)
def test_a_daemon_that_stops_does_not_wait(path):
    with bench_of(path) as (bench, clock), bench_of("pyzmq", 0) as (other, _):
        for stream in "ab":
            bench.sample(stream, [1.0, 2.0])
        clock.plan.append((1, lambda: other.sample("x", [1.0, 2.0])))
        bench.pump.serve((other.ingest,), 20)
        naps = len(clock.naps)
        bench.sample("c", [1.0, 2.0])
        bench.pump.burst()
        assert [m.stream for m in outputs(bench)] == list("abc")
        assert len(clock.naps) == naps
        assert not bench.pump.pending


@pytest.mark.parametrize("path", PATHS)
def test_what_waited_and_is_let_go_of_is_counted(path):
    with bench_of(path) as (bench, clock), bench_of("pyzmq", 0) as (other, _):
        for stream in "ab":
            bench.sample(stream, [1.0, 2.0])
        clock.plan.append((1, lambda: other.sample("x", [1.0, 2.0])))
        bench.pump.serve((other.ingest,), 20)
        bench.sample("c", [1.0, 2.0])
        assert bench.pump.discard(5.0) == 3
        assert not bench.pump.pending
        bench.sample("d", [1.0, 2.0])
        bench.pump.burst()
        assert [m.stream for m in outputs(bench)] == ["d"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("make", [fixed, learned])
def test_what_comes_after_a_message_that_python_settled_has_a_time_of_its_own(path, make):
    """A refusal leaves compiled code; the next message, however much later, is not of its burst."""
    with zmq.Context() as context:
        bench = Bench(context, make(), path=path)
        bench.sample("a", [1.0, 2.0])
        bench.send(b"in/a/", b"no map")
        bench.pump.serve((), 1)
        bench.published()
        later = time.time_ns()
        bench.sample("a", [1.0, 2.0])
        bench.pump.serve((), 1)
        (answer,) = outputs(bench)
        assert answer.recv >= later
        bench.close()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("make", [fixed, learned])
@given(traffic(), st.lists(st.integers(0, 300_000), min_size=40, max_size=40), st.sampled_from([2, 8]))
@settings(max_examples=40, deadline=None)
def test_what_is_published_does_not_depend_on_waiting(path, make, messages, gaps, limit):
    with bench_of("compiled", 0, make, limit=8, limits=LIMITS) as (bench, _):
        for frames in messages:
            bench.send(*frames)
        expected = [timeless(frames) for frames in bench.raw()]
    with bench_of(path, BUDGET, make, limit=limit, limits=LIMITS) as (bench, clock):
        at = 0
        for frames, gap in zip(messages, gaps * (1 + len(messages) // len(gaps)), strict=False):
            at += gap
            clock.plan.append((at, lambda frames=frames: bench.send(*frames)))
        for _ in range(1000):
            clock._nap(50_000)  # or nothing would ever be due
            bench.pump.serve((), 0)
            if not bench.pump.pending and not bench.ingest.poll(0):
                if not clock.plan:
                    break
                clock._nap(min(10**8, max(0, clock.plan[0][0] - clock.spent)))
        assert not clock.plan
        assert without_clock([timeless(frames) for frames in bench.published()]) == without_clock(expected)


def without_clock(frames):
    """Refusals say how far a time is ahead of the clock, which is another one here."""
    return [(topic, b"" if b" ahead" in body else body) for topic, body in frames]


# In a daemon


@pytest.mark.parametrize("path", PATHS)
def test_a_daemon_waits_for_its_budget_and_no_longer(path):
    flags = ["--n-in=2", "--latency-budget=100ms", "--burst=4", f"--data-path={path}", "--hidden=8"]
    with DaemonProcess(*flags) as process, zmq.Context() as context:
        assert process.ask("info")["settings"]["latency_budget"] == 0.1
        with Subscriber(process.outputs, ["out/"], timeout=20) as subscriber:
            subscriber.wait()
            socket = raw_publisher(context, process.ingest)

            def send(n):
                for i in range(n):
                    socket.send_multipart([sample_topic("bed1"), encode_sample([1.0, float(i)])])

            send(2)
            few = [next(iter(subscriber)) for _ in range(2)]
            assert all(m.sent - few[0].recv >= 100_000_000 for m in few)
            send(4)
            full = [next(iter(subscriber)) for _ in range(4)]
            if full[0].recv == full[3].recv:  # else the network cut it
                assert full[0].sent - full[0].recv < 100_000_000
            socket.close(0)
        assert process.stop() == 0


@pytest.mark.parametrize("path", PATHS)
def test_control_and_the_end_do_not_wait_for_a_burst(path):
    flags = ["--n-in=2", "--latency-budget=1s", f"--data-path={path}", "--hidden=8"]
    with DaemonProcess(*flags) as process, zmq.Context() as context:
        with Subscriber(process.outputs, ["out/", "event/daemon/"], timeout=20) as subscriber:
            subscriber.wait()
            socket = raw_publisher(context, process.ingest)
            socket.send_multipart([sample_topic("bed1"), encode_sample([1.0, 2.0])])
            eventually(lambda: process.counters["messages"] == 1, what="arrival")
            assert process.counters["accepted"] == 0, "it waited no second, or control did"
            process.signal(signal.SIGTERM)
            messages = until(subscriber, lambda m: isinstance(m, Event) and m.data["state"] == "stopping")
            assert process.wait() == 0
            (answer,) = [m for m in messages if not isinstance(m, Event)]
            assert answer.sent - answer.recv < 1_000_000_000
            socket.close(0)
        assert process.lines("stopped")[0]["accepted"] == 1
