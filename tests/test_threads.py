"""Several threads give the bits of one, and leave when they are no longer needed."""

from __future__ import annotations

import gc
import threading
import time

import numpy as np
import pytest

from streamrnn import Engine, Model
from streamrnn.burst import Burst, Results
from streamrnn.engine.core import SHARE
from streamrnn.engine.crew import Crew
from streamrnn.errors import ConfigError

MODELS = {
    "lstm": Model.random("lstm", n_in=3, hidden=9, layers=2, n_out=2, seed=1),
    "gru": Model.random("gru", n_in=3, hidden=17, seed=2, head="forecast"),
    "adaptive": Model.adaptive(n_in=3, hidden=16, seed=3),
}


def run_handles(model, threads):
    """Rounds of random streams, some twice, some reset; everything that comes out."""
    rng = np.random.default_rng(5)
    engine = Engine(model, capacity=500, threads=threads)
    handles = engine.handles([f"s{i}" for i in range(500)])
    found = []
    for round_ in range(12):
        rows = rng.integers(0, 500, size=4 * SHARE + round_)
        X = rng.normal(size=(len(rows), 3)).astype(np.float32)
        X[rng.random(X.shape) < 0.05] = np.nan
        out = engine.step_many(handles[rows], X, t=np.full(len(rows), round_), reset=rng.random(len(rows)) < 0.02)
        found += [out.y, out.score, out.flag, out.edge, out.n, out.missing, out.cause_code]
    return b"".join(a.tobytes() for a in found), engine.state("s7").arrays


def run_bursts(model, threads):
    """The same through the wire's entrance, with more streams than there is room for."""
    rng = np.random.default_rng(6)
    engine = Engine(model, capacity=300, threads=threads)
    found = []
    for round_ in range(6):
        n = 3 * SHARE
        burst, results = Burst(n, 3), Results(n, 3, engine.n_out)
        burst.recv = round_
        for i in rng.integers(0, 330, size=n).tolist():
            burst.add(f"s{i}".encode(), rng.normal(size=3), seq=round_, reset=bool(rng.random() < 0.05))
        assert engine.ingest(burst, results) == n
        found += [getattr(results, name).tobytes() for name in ("verdict", "y", "score", "count", "epoch", "slot")]
    return b"".join(found), engine.events()


@pytest.mark.parametrize("name", list(MODELS))
def test_the_bits_are_those_of_one_thread(name):
    one, state = run_handles(MODELS[name], 1)
    for threads in (2, 3, 7):
        several, theirs = run_handles(MODELS[name], threads)
        assert several == one
        for key, array in state.items():
            assert theirs[key].tobytes() == array.tobytes(), key


def test_epochs_and_events_are_those_of_one_thread():
    one = run_bursts(MODELS["lstm"], 1)
    assert {"created", "evicted", "reset"} == {e.kind for e in one[1]}
    assert run_bursts(MODELS["lstm"], 2) == one
    assert run_bursts(MODELS["lstm"], 5) == one


def test_the_threads_end_with_their_engine():
    def ours():
        return [t for t in threading.enumerate() if t.name.startswith("streamrnn-shard")]

    gc.collect()
    before = len(ours())
    engine = Engine(MODELS["gru"], capacity=10, threads=4)
    assert len(ours()) == before + 3
    del engine
    gc.collect()
    deadline = time.monotonic() + 10
    while len(ours()) > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(ours()) == before


def test_an_error_in_any_thread_is_raised_when_all_have_ended():
    ended = []

    def share(k):
        if k == bad:
            raise ValueError(f"share {k}")
        time.sleep(0.05)
        ended.append(k)
        return k

    crew = Crew(3)
    for bad in range(3):
        ended.clear()
        with pytest.raises(ValueError, match=f"share {bad}"):
            crew.run(share, [(k,) for k in range(3)])
        assert sorted(ended) == [k for k in range(3) if k != bad]
    bad = -1
    assert sorted(crew.run(share, [(k,) for k in range(3)])) == [0, 1, 2]


def test_a_crew_rests_where_others_take_longer_than_one_would():
    def share(seconds):
        time.sleep(seconds)

    crew = Crew(2)
    assert crew.pays()
    crew.run(share, [(0.001,), (0.1,)])
    assert [crew.pays() for _ in range(3)] == [False, True, True]
    crew.run(share, [(0.001,), (0.1,)])
    assert [crew.pays() for _ in range(4)] == [False] * 3 + [True]
    crew.run(share, [(0.1,), (0.001,)])
    assert crew.pays()


def test_a_number_of_threads_is_checked():
    with pytest.raises(Exception, match="threads is 0"):
        Engine(MODELS["gru"], threads=0)


def test_threads_that_the_system_refuses_are_a_setting_to_change(monkeypatch):
    before, start, asked = threading.active_count(), threading.Thread.start, []

    def scarce(thread):
        asked.append(thread)
        if len(asked) > 2:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", scarce)
    with pytest.raises(ConfigError, match="threads is 5, of which this system let 3 run; lower threads"):
        Engine(MODELS["gru"], capacity=5, threads=5)
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before, "those that had started wait for ever"
