"""Streams and their lives: creation, order of use, eviction, handles, missing channels, refusals."""

from __future__ import annotations

import time
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from networks import samples

from streamrnn import Engine, Model
from streamrnn.burst import ACCEPTED, BAD_TIME, DUPLICATE, LATE, Burst, Results
from streamrnn.engine import calls, frame
from streamrnn.errors import (
    ConfigError,
    StaleHandle,
    StateError,
    UnknownStream,
)

MODEL = Model.random("gru", n_in=2, hidden=5, n_out=3, seed=1)
FORECAST = Model.random("lstm", n_in=2, hidden=6, seed=1, head="forecast")
SECOND = 10**9


def ingest(engine, *rows, recv=0):
    """Push (stream, x, keys) through the wire's entrance; returns verdicts, gaps and events."""
    burst = Burst(max(len(rows), 1), engine.n_in)
    results = Results(burst.capacity, engine.n_in, engine.n_out)
    burst.recv = recv
    for stream, x, keys in rows:
        burst.add(stream.encode(), x, **keys)
    done = 0
    events = []
    while done < burst.n:
        done += engine.ingest(burst, results, done)
        events += engine.events()
    return results.verdict[: burst.n].tolist(), results.gap[: burst.n].tolist(), events


class Lives(RuleBasedStateMachine):
    """The stream table against an ordered dictionary: ids of many lengths, a small capacity, every way out."""

    capacity = 7
    ids = st.sampled_from([f"bed{i}" * (1 + i % 5) for i in range(12)] + ["é" * 60, "x" * 200, "a/b", "a"])

    def __init__(self):
        super().__init__()
        self.engine = Engine(MODEL, capacity=self.capacity, idle_ttl=50e-9)
        self.truth = OrderedDict()  # id -> [samples, last receipt], least recently used first
        self.now = 1000
        self.handles = {}

    @rule(streams=st.lists(ids, min_size=1, max_size=20), reset=st.booleans(), dt=st.integers(0, 20))
    def send(self, streams, reset, dt):
        self.now += dt
        expected = []
        for row, s in enumerate(streams):
            if s in self.truth and self.now - self.truth[s][1] > 50:
                expected.append(("evicted", s, "idle", self.truth.pop(s)[0], row))
            if s not in self.truth:
                if len(self.truth) == self.capacity:
                    old, (n, _) = self.truth.popitem(last=False)
                    expected.append(("evicted", old, "capacity", n, row))
                expected.append(("created", s, "", 0, row))
                self.truth[s] = [0, self.now]
            elif reset:
                expected.append(("reset", s, "sample", self.truth[s][0], row))
                self.truth[s][0] = 0
            self.truth[s] = [self.truth[s][0] + 1, self.now]
            self.truth.move_to_end(s)
        verdicts, _, events = ingest(self.engine, *((s, [1.0, 2.0], {"reset": reset}) for s in streams), recv=self.now)
        assert verdicts == [ACCEPTED] * len(streams)
        got = [(e.kind, e.stream, e.reason, e.n, e.row) for e in events]
        assert got == expected

    @rule(s=ids)
    def evict(self, s):
        if s in self.truth:
            n, _ = self.truth.pop(s)
            self.engine.evict(s)
            assert self.engine.events() == [("evicted", s, "request", n, -1)]
        else:
            with pytest.raises(UnknownStream):
                self.engine.evict(s)

    @rule(s=ids)
    def reset(self, s):
        if s in self.truth:
            n = self.truth[s][0]
            self.truth[s][0] = 0
            self.engine.reset(s)
            assert self.engine.events() == [("reset", s, "request", n, -1)]

    @rule(dt=st.integers(0, 80))
    def sweep(self, dt):
        self.now += dt
        idle = [s for s, (_, recv) in self.truth.items() if recv < self.now - 50]
        assert self.engine.evict_idle(self.now) == len(idle)
        assert [e.stream for e in self.engine.events()] == idle
        for s in idle:
            del self.truth[s]

    @invariant()
    def same(self):
        assert len(self.engine) == len(self.truth)
        assert set(self.engine) == set(self.truth)
        for s, (n, recv) in self.truth.items():
            info = self.engine.stream_info(s)
            assert (info["n"], info["last_recv"]) == (n, recv)


Lives.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestLives = Lives.TestCase


def test_step_returns_an_output_of_the_documented_shape():
    engine = Engine(MODEL)
    out = engine.step("bed1", [1.0, 2.0])
    assert out.y.shape == (3,)
    assert out.y.dtype == np.float32
    assert (out.score, out.flag, out.cause, out.n, out.missing) == (0.0, False, None, 1, ())
    assert len(engine) == 1
    assert "bed1" in engine
    assert "bed2" not in engine
    assert list(engine) == ["bed1"]


def test_an_empty_batch_is_legal():
    engine = Engine(MODEL)
    assert len(engine.step_many([], np.zeros((0, 2)))) == 0
    assert len(engine.step_many(np.zeros(0, np.int64), np.zeros((0, 2)))) == 0


def test_handles_are_refused_once_stale():
    engine = Engine(MODEL, capacity=2)
    a, b = engine.handles(["a", "b"])
    engine.step_many(np.array([a, b]), np.ones((2, 2)))
    engine.step("c", [1, 2])  # evicts a
    before = engine.state("b").arrays["h_l0"]
    with pytest.raises(StaleHandle, match="position 1"):
        engine.step_many(np.array([b, a]), np.ones((2, 2)))
    assert np.array_equal(engine.state("b").arrays["h_l0"], before)
    assert engine.step(int(b), [1, 2]).n == 2
    for nonsense in (-1, 2**62, 12345):
        with pytest.raises(StaleHandle):
            engine.step(nonsense, [1, 2])


def test_handles_do_not_evict_each_other():
    with pytest.raises(ConfigError, match="capacity of 2"):
        Engine(MODEL, capacity=2).handles(["a", "b", "c"])


def test_missing_channels_take_the_forecast_where_there_is_one():
    engine = Engine(FORECAST)
    y = engine.step("s", [0.5, -0.5]).y
    out = engine.step("s", [np.nan, 2.0])
    assert out.missing == (0,)
    twin = Engine(FORECAST)
    twin.step("s", [0.5, -0.5])
    assert twin.step("s", [y[0], 2.0]).y.tobytes() == out.y.tobytes()


def test_missing_channels_hold_the_last_value_where_there_is_no_forecast():
    engine = Engine(MODEL)
    engine.step("s", [0.5, -0.5])
    engine.step("s", [np.nan, 2.0])
    out = engine.step("s", [np.nan, np.nan])
    assert out.missing == (0, 1)
    twin = Engine(MODEL)
    for x in ([0.5, -0.5], [0.5, 2.0], [0.5, 2.0]):
        last = twin.step("s", x)
    assert last.y.tobytes() == out.y.tobytes()


@pytest.mark.parametrize("head", ["regress", "forecast"])
def test_a_channel_never_seen_takes_the_normalisers_mean(head):
    spec = Model.random("gru", n_in=2, hidden=5, n_out=2, seed=1, head=head).spec
    arrays = dict(Model.random("gru", n_in=2, hidden=5, n_out=2, seed=1).arrays)
    arrays["normaliser.mean"], arrays["normaliser.scale"] = np.array([90.0, 97.0]), np.array([10.0, 2.0])
    from dataclasses import replace

    model = Model(replace(spec, normaliser="fixed"), arrays)
    engine, twin = Engine(model), Engine(model)
    for x in ([80.0, np.nan], [85.0, np.nan]):
        out = engine.step("s", x)
        assert out.missing == (1,)
        assert out.y.tobytes() == twin.step("s", [x[0], 97.0]).y.tobytes()


def test_a_classifier_gives_probabilities():
    model = Model.random("lstm", n_in=2, hidden=8, n_out=4, seed=1, head="classify")
    y = Engine(model).step_many(["s"] * 50, samples(50, 2)).y
    assert np.abs(y.sum(axis=1) - 1).max() < 1e-6
    assert y.min() > 0


def test_outputs_stay_finite_for_the_largest_inputs():
    for model in (MODEL, FORECAST, Model.random("rnn_relu", n_in=2, hidden=6), Model.adaptive(2, hidden=8)):
        engine = Engine(model)
        for x in ([3.4e38, -3.4e38], [-3.4e38, 3.4e38], [0, np.nan], [1e-45, 3.4e38]) * 30:
            out = engine.step("s", x)
            assert np.isfinite(out.y).all()
            assert np.isfinite(out.score)
            assert out.score >= 0


def test_the_ring_keeps_the_last_samples():
    engine = Engine(MODEL, ring=4)
    outs = [engine.step("s", [i, np.nan if i == 5 else -i]) for i in range(7)]
    info = engine.stream_info("s")
    assert info["x"] == [[3, -3], [4, -4], [5, None], [6, -6]]
    assert np.array_equal(np.array(info["y"], np.float32), [o.y for o in outs[3:]])
    assert info["n"] == 7
    assert Engine(MODEL, ring=0).step("s", [1, 2]).n == 1


def test_epochs_grow_with_every_replacement_of_a_state():
    engine = Engine(MODEL, capacity=1, epoch=100)
    seen = []

    def note():
        seen.append(engine.stream_info("s")["epoch"])

    engine.step("s", [1, 2])
    note()
    engine.step("s", [1, 2], reset=True)
    note()
    engine.reset("s")
    note()
    engine.load_state("s", engine.state("s"))
    note()
    engine.step("other", [1, 2])
    engine.step("s", [1, 2])
    note()
    assert seen == sorted(set(seen))
    assert seen[0] > 100


def test_states_that_do_not_fit_are_refused():
    engine, other = Engine(MODEL), Engine(FORECAST)
    engine.step("s", [1, 2])
    state = engine.state("s")
    with pytest.raises(StateError, match="model"):
        other.load_state("s", state)
    with pytest.raises(StateError, match="ring"):
        Engine(MODEL, ring=3).load_state("s", state)
    broken = dict(state.arrays, h_l0=state.arrays["h_l0"] * np.nan)
    with pytest.raises(StateError, match="h_l0.*not finite"):
        engine.load_state("t", type(state)(state.fingerprint, state.n, broken, state.feed))
    assert "t" not in engine
    assert "s" not in other


def test_stale_streams_are_named_once_until_they_send_again():
    engine = Engine(MODEL)
    ingest(engine, ("a", [1, 2], {}), recv=10)
    ingest(engine, ("b", [1, 2], {}), recv=20)
    assert engine.stale(100, 85) == ["a"]
    assert engine.stale(100, 85) == []
    assert engine.stale(200, 85) == ["b"]
    ingest(engine, ("a", [1, 2], {}), recv=210)
    assert engine.stale(250, 85) == []
    assert engine.stale(300, 85) == ["a"]


def run_of(*seqs, session=b"p"):
    return [("s", [1.0, 2.0], {"seq": s, "session": session}) for s in seqs]


@pytest.mark.parametrize(
    ("rows", "verdicts", "gaps"),
    [
        (run_of(5, 6, 7), "AAA", [0, 0, 0]),
        (run_of(5, 8, 9), "AAA", [0, 2, 0]),
        (run_of(5, 5, 6), "ADA", [0, 0, 0]),
        (run_of(5, 8, 6, 6, 9), "AALDA", [0, 2, 0, 0, 0]),
        (run_of(100, 200, 100, 137, 136), "AALLL", [0, 99, 0, 0, 0]),
        (run_of(9) + run_of(0, 1, session=b"q"), "AAA", [0, 0, 0]),
        (run_of(2**64 - 1, 0, 1), "AAA", [0, 0, 0]),
        (run_of(1000, 3, session=None), "AA", [0, 0]),
        (run_of(1000, 999, session=None), "AL", [0, 0]),
    ],
)
def test_sequence_numbers(rows, verdicts, gaps):
    names = {"A": ACCEPTED, "D": DUPLICATE, "L": LATE}
    for one_by_one in (False, True):
        engine = Engine(MODEL)
        if one_by_one:
            got = [ingest(engine, row) for row in rows]
            v, g = [x[0][0] for x in got], [x[1][0] for x in got]
        else:
            v, g, _ = ingest(engine, *rows)
        assert v == [names[c] for c in verdicts]
        assert g == gaps
        assert engine.stream_info("s")["n"] == verdicts.count("A")


def test_time_may_stand_still_but_not_go_back_unless_reset():
    engine = Engine(MODEL)
    rows = [
        ("s", [1.0, 2.0], {"t": t, "reset": r}) for t, r in ((5, False), (5, False), (4, False), (3, True), (4, False))
    ]
    verdicts, _, events = ingest(engine, *rows)
    assert verdicts == [ACCEPTED, ACCEPTED, BAD_TIME, ACCEPTED, ACCEPTED]
    assert [e.kind for e in events] == ["created", "reset"]
    assert engine.stream_info("s") == {**engine.stream_info("s"), "n": 2, "last_t": 4}


def test_a_flood_of_new_ids_keeps_exact_events_and_spares_the_burst_in_flight():
    engine = Engine(MODEL, capacity=3)
    kinds = {"created": 0, "evicted": 0}
    rows = [(f"id{i // 2}", [1.0, 2.0], {}) for i in range(10_000)]
    for a in range(0, len(rows), 1000):
        verdicts, _, events = ingest(engine, *rows[a : a + 1000])
        assert verdicts == [ACCEPTED] * 1000
        for e in events:
            kinds[e.kind] += 1
            assert e.n == (2 if e.kind == "evicted" else 0)
    assert kinds == {"created": 5000, "evicted": 4997}


def test_events_that_nobody_asks_for_are_bounded_and_their_loss_is_counted():
    engine = Engine(MODEL, capacity=2)
    for a in range(0, 20_000, 100):
        engine.step_many([f"s{i}" for i in range(a, a + 100)], np.ones((100, 2)))
    kept = engine.events()
    assert len(kept) + engine.events_lost == 20_000 + 19_998
    assert len(kept) < 10_000
    assert (kept[-1].kind, kept[-1].stream) == ("created", "s19999")
    assert engine.events() == []


def test_engines_refuse_impossible_options():
    for options in ({"capacity": 0}, {"capacity": 1.5}, {"ring": -1}, {"idle_ttl": 0}, {"idle_ttl": -3.0}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            Engine(MODEL, **options)


def test_an_idle_stream_starts_anew():
    engine = Engine(MODEL, idle_ttl=5.0)
    ingest(engine, ("s", [1.0, 2.0], {}), recv=SECOND)
    ingest(engine, ("s", [1.0, 2.0], {}), recv=6 * SECOND)
    assert engine.stream_info("s")["n"] == 2
    _, _, events = ingest(engine, ("s", [1.0, 2.0], {}), recv=12 * SECOND)
    assert [(e.kind, e.reason, e.n) for e in events] == [("evicted", "idle", 2), ("created", "", 0)]


def test_a_handle_of_an_idle_stream_is_stale(monkeypatch):
    engine = Engine(MODEL, idle_ttl=5.0)
    handle = engine.handles(["s"])
    engine.step_many(handle, [[1, 2]])
    later = time.time_ns() + 6 * SECOND
    monkeypatch.setattr("streamrnn.engine.engine.time.time_ns", lambda: later)
    with pytest.raises(StaleHandle):
        engine.step_many(handle, [[1, 2]])
    assert "s" not in engine


def test_compile_touches_no_stream():
    engine = Engine(MODEL)
    start = time.monotonic()
    engine.compile()
    assert len(engine) == 0
    assert engine.events() == []
    assert time.monotonic() - start < 120


def test_arrays_that_cannot_be_written_compile_nothing_new():
    """What pandas or np.frombuffer give is read-only; Numba would take it for another type, and compile for long."""
    engine = Engine(MODEL, capacity=2)
    handles = engine.handles(["a", "b"])
    X = np.ones((2, MODEL.spec.n_in), np.float32)
    before = engine.step_many(handles, X).y
    known = [len(f.signatures) for f in (calls.step_rows, frame.bind)]
    for array in (handles, X):
        array.flags.writeable = False
    shifted = np.frombuffer(b"\0" + X.tobytes(), np.float32, offset=1, count=X.size).reshape(X.shape)
    assert not shifted.flags.aligned
    for given in (X, shifted):
        engine.reset("a")
        engine.reset("b")
        np.testing.assert_array_equal(engine.step_many(handles, given).y, before)
    assert [len(f.signatures) for f in (calls.step_rows, frame.bind)] == known
