"""The pump over sockets inside this process: the same bits as the engine, whatever the cut, and every event counted."""

from collections import defaultdict

import numpy as np
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st
from pumps import PATHS, Bench

from streamrnn.engine import Engine
from streamrnn.errors import UnknownStream, WrongWidth
from streamrnn.model import Model
from streamrnn.transport.counters import Counters
from streamrnn.transport.events import MAX_REASON, EventGate
from streamrnn.transport.fleet import Fleet
from streamrnn.wire.messages import (
    BlockOutput,
    Event,
    Flag,
    Limits,
    Output,
    decode_published,
    encode_sample,
)

NAN = float("nan")
LSTM = Model.random(cell="lstm", n_in=2, hidden=8, n_out=3, seed=1)
ADAPTIVE = Model.adaptive(2, hidden=16)


@pytest.fixture(params=PATHS)
def bench(request):
    made = []
    contexts = []

    def make(model=LSTM, capacity=100, limit=8, **options):
        fleet = Fleet(lambda n_in: Engine(model, capacity), model.spec.n_in, limit)
        return made_with(fleet, limit=limit, **options)

    def made_with(fleet, **options):
        contexts.append(zmq.Context())
        made.append(Bench(contexts[-1], fleet, path=request.param, **options))
        return made[-1]

    make.with_fleet = made_with
    yield make
    for one in made:
        one.close()
    for context in contexts:
        context.term()


def adaptive_fleet(**options):
    options = {"capacity": 100, "burst": 8} | options
    capacity = options.pop("capacity")
    return Fleet(lambda n_in: Engine(Model.adaptive(n_in, hidden=8), capacity), None, **options)


def rows_of(published):
    """y bits and score bits of every answered row, by stream, in order."""
    rows = defaultdict(list)
    for message in published:
        if isinstance(message, Output):
            rows[message.stream].append((np.array(message.y, np.float32).tobytes(), np.float32(message.score)))
        elif isinstance(message, BlockOutput):
            for i, stream in enumerate(message.streams):
                rows[stream].append((message.row(i).tobytes(), np.float32(message.score[i])))
    return rows


def rows_of_engine(model, ids, X, t=None):
    rows = defaultdict(list)
    outputs = Engine(model, 100).step_many(ids, X, t)
    for i, stream in enumerate(ids):
        rows[stream].append((outputs.y[i].tobytes(), outputs.score[i]))
    return rows


# Same bits

number = st.one_of(st.floats(-100, 100, width=32), st.just(NAN))
row = st.tuples(st.sampled_from("abc"), st.tuples(number, number))
messages = st.lists(st.one_of(row, st.lists(row, min_size=1, max_size=30)), max_size=30)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("model", [LSTM, ADAPTIVE], ids=["lstm", "adaptive"])
@given(messages)
@settings(max_examples=30, deadline=None)
def test_samples_and_blocks_in_any_mixture_give_the_engines_bits(model, path, sent):
    with zmq.Context() as context:
        bench = Bench(context, Fleet(lambda n_in: Engine(model, 100), 2, 8), limit=8, path=path)
        rows = []
        for message in sent:
            if isinstance(message, list):
                rows += message
                bench.block([stream for stream, _ in message], [x for _, x in message])
            else:
                rows.append(message)
                bench.sample(message[0], message[1])
        found = rows_of(bench.run())
        bench.close()
    X = np.array([x for _, x in rows], np.float32).reshape(-1, 2)
    assert found == rows_of_engine(model, [stream for stream, _ in rows], X)


def test_a_block_is_answered_by_one_message_in_its_order(bench):
    b = bench(limit=8)
    ids = [f"s{i % 7}" for i in range(100)]
    X = np.random.default_rng(0).standard_normal((100, 2)).astype(np.float32)
    b.block(ids, X, t=range(100), seq=[i // 7 for i in range(100)])
    published = b.run()
    (answer,) = [m for m in published if isinstance(m, BlockOutput)]
    assert answer.streams == ids
    assert answer.t.tolist() == list(range(100))
    assert answer.seq.tolist() == [i // 7 for i in range(100)]
    assert rows_of([answer]) == rows_of_engine(LSTM, ids, X, np.arange(100))
    assert [m.stream for m in published if isinstance(m, Event)] == [f"s{i}" for i in range(7)]
    assert (b.counters.blocks, b.counters.samples, b.counters.outputs, b.counters.created) == (1, 100, 100, 7)


def test_a_block_of_one_stream_is_answered_with_one_id(bench):
    b = bench()
    b.block("bed1", np.zeros((20, 2)))
    (answer,) = [m for m in b.run() if isinstance(m, BlockOutput)]
    assert answer.streams == ["bed1"] * 20
    assert answer.t.tolist() == [answer.recv] * 20  # without times of its own
    assert answer.seq is None


def test_messages_beyond_the_limit_wait_for_the_next_burst(bench):
    b = bench(limit=4)
    for _ in range(10):
        b.sample("a", [1.0, 2.0])
    assert [b.pump.burst() for _ in range(4)] == [4, 4, 2, 0]


# What an answer says


def test_an_output_says_what_came(bench):
    b = bench(model=ADAPTIVE)
    b.sample("a", [1.0, 2.0], t=7, seq=5, session="s")
    b.sample("a", [NAN, 3.0], seq=6, session="s")
    first, second = [m for m in b.run() if isinstance(m, Output)]
    assert (first.t, first.seq, first.n, first.missing) == (7, 5, 1, ())
    assert (second.t, second.seq, second.n, second.missing) == (second.recv, 6, 2, (0,))
    assert first.epoch == second.epoch
    assert first.recv <= first.sent <= second.sent


def test_flags_come_once_an_edge_for_samples_and_blocks_alike(bench):
    rng = np.random.default_rng(1)
    X = (np.array([60.0, 97.0]) + rng.standard_normal((600, 2))).astype(np.float32)
    X[500:520] += 60.0
    single, block = bench(model=ADAPTIVE, limit=64), bench(model=ADAPTIVE, limit=64)
    for i, x in enumerate(X):
        single.sample("a", x, t=i)
    block.block("a", X, t=range(600))
    one, many = single.run(), block.run()
    flags = [(m.t, m.edge, m.flag, m.cause, m.n, m.y) for m in one if isinstance(m, Flag)]
    assert flags, "the spike raised nothing, so this test compares nothing"
    assert [edge for _, edge, *_ in flags][:2] == ["raised", "cleared"][: len(flags)]
    assert flags == [(m.t, m.edge, m.flag, m.cause, m.n, m.y) for m in many if isinstance(m, Flag)]
    assert len(flags) == single.counters.flags == block.counters.flags
    assert flags[0][3].split(":")[0] in ADAPTIVE.spec.features
    at = next(i for i, m in enumerate(one) if isinstance(m, Flag))
    assert isinstance(one[at - 1], Output), "a flag follows the output that raised it"
    assert one[at - 1].t == one[at].t


# What is refused


def test_late_duplicate_and_gap_are_told_for_samples_and_blocks_alike(bench):
    seqs = [0, 1, 5, 5, 3, 6]
    single, block = bench(), bench()
    for seq in seqs:
        single.sample("a", [1.0, 2.0], seq=seq)
    block.block("a", np.ones((6, 2)) * [1, 2], seq=seqs)
    told = []
    for b in (single, block):
        published = b.run()
        told.append([(m.kind, m.data) for m in published if isinstance(m, Event)])
        assert len(rows_of(published)["a"]) == b.counters.accepted == b.counters.outputs
        assert b.counters.samples == 6
        assert b.counters.accepted + b.counters.late + b.counters.duplicate == 6
    assert told[0] == told[1]
    assert ("gap", {"missing": 3, "seq": 5}) in told[0]
    assert ("duplicate", {"seq": 5}) in told[0]
    assert single.counters.missing == 3


def test_time_that_goes_back_is_refused_row_by_row(bench):
    b = bench()
    b.block("a", np.zeros((3, 2)), t=[10, 5, 11])
    b.sample("a", [0.0, 0.0], t=2)
    published = b.run()
    (answer,) = [m for m in published if isinstance(m, BlockOutput)]
    assert answer.t.tolist() == [10, 11]
    assert b.counters.rejected == {"bad_time": 2}
    assert [m.data["code"] for m in published if isinstance(m, Event) and m.kind == "rejected"] == ["bad_time"] * 2


def test_a_block_without_an_accepted_row_has_no_answer(bench):
    b = bench()
    b.sample("a", [0.0, 0.0], t=10)
    b.block("a", np.zeros((2, 2)), t=[1, 2])
    assert not [m for m in b.run() if isinstance(m, BlockOutput)]


@pytest.mark.parametrize(
    ("frames", "code", "stream"),
    [
        ([b"in/a/"], "malformed", None),
        ([b"in/a/", encode_sample([1.0, 2.0]), b""], "malformed", None),
        ([b"in/a/", encode_sample([1.0, 2.0]), b"x", b"y", b"z"], "malformed", None),
        ([b""], "malformed", None),
        ([b"out/a/", encode_sample([1.0, 2.0])], "bad_topic", None),
        ([b"in//", encode_sample([1.0, 2.0])], "bad_id", None),
        ([b"in/a/", b""], "malformed", "a"),
        ([b"in/a/", encode_sample([1.0])], "wrong_width", "a"),
        ([b"in/a/", b"\x81\xa1x\x92\xca\x7f\x80\x00\x00\x01"], "not_finite", "a"),
        ([b"in/a/", encode_sample([1.0, 2.0], t=1 << 62)], "bad_time", "a"),
        ([b"block/", b"\x80"], "malformed", None),
        ([b"in/a/", bytes(3000)], "too_large", None),
    ],
)
def test_a_wrong_message_is_counted_and_told_and_touches_nothing(bench, frames, code, stream):
    b = bench(limits=Limits(max_message=2000))
    b.sample("a", [1.0, 2.0])
    b.send(*frames)
    b.sample("a", [1.0, 2.0])
    published = b.run()
    (event,) = [m for m in published if isinstance(m, Event) and m.kind == "rejected"]
    assert (event.data["code"], event.stream) == (code, stream)
    assert 0 < len(event.data["reason"]) <= MAX_REASON
    assert b.counters.rejected == {code: 1}
    assert b.counters.messages == 3
    assert rows_of(published) == rows_of_engine(LSTM, ["a", "a"], [[1, 2], [1, 2]])


# Widths


def test_each_stream_keeps_the_width_of_its_first_sample(bench):
    b = bench.with_fleet(adaptive_fleet())
    b.sample("two", [1.0, 2.0])
    b.sample("three", [1.0, 2.0, 3.0])
    b.sample("two", [1.0, 2.0, 3.0])
    b.block(["two", "three", "new"], np.ones((3, 2)))
    published = b.run()
    assert [len(m.y) for m in published if isinstance(m, Output)] == [2, 3]
    (answer,) = [m for m in published if isinstance(m, BlockOutput)]
    assert answer.streams == ["two", "new"]
    refused = [(m.stream, m.data["code"]) for m in published if isinstance(m, Event) and m.kind == "rejected"]
    assert refused == [("two", "wrong_width"), ("three", "wrong_width")]
    assert b.counters.rejected == {"wrong_width": 2}


def test_a_stream_may_come_back_with_another_width_once_it_was_evicted(bench):
    fleet = adaptive_fleet()
    b = bench.with_fleet(fleet)
    b.sample("a", [1.0, 2.0])
    b.run()
    lane = fleet.find("a")
    lane.engine.evict("a")
    b.outlet.lives(lane.engine)
    b.sample("a", [1.0])
    assert [len(m.y) for m in b.run() if isinstance(m, Output)] == [1]
    with pytest.raises(UnknownStream, match="no stream 'b'; 1 are alive"):
        fleet.find("b")


def test_too_wide_and_too_many_widths_are_refused_and_empty_widths_make_room():
    fleet = adaptive_fleet(max_width=4, max_widths=2)
    with pytest.raises(WrongWidth, match="5 values; at most 4 are taken, raise max_width"):
        fleet.route(b"a", 5)
    first, second = fleet.route(b"a", 1), fleet.route(b"b", 2)
    for lane in (first, second):
        lane.engine.handles([f"s{lane.engine.n_in}"])
    with pytest.raises(WrongWidth, match=r"other widths \(1, 2\) are alive; raise max_widths"):
        fleet.route(b"c", 3)
    first.engine.evict("s1")
    assert fleet.route(b"c", 3).engine.n_in == 3
    assert sorted(engine.n_in for engine in fleet) == [2, 3]


def test_a_model_of_one_width_says_which():
    fleet = Fleet(lambda n_in: Engine(Model.adaptive(2, hidden=4, features=["hr", "spo2"]), 10), 2, 8)
    with pytest.raises(WrongWidth, match=r"3 values; the model takes 2 \(hr, spo2\)"):
        fleet.route(b"a", 3)


# Lives, and how much is said of them


def test_ten_thousand_ids_against_a_small_capacity(bench):
    b = bench(capacity=10, limit=256, rate=1.0, burst=20)
    for i in range(10_000):
        b.sample(f"id{i}", [1.0, 2.0])
    published = b.run()
    assert len([m for m in published if isinstance(m, Output)]) == 10_000
    kinds = [m.kind for m in published if isinstance(m, Event)]
    assert 20 <= kinds.count("created") <= 25
    assert 20 <= kinds.count("evicted") <= 25
    assert (b.counters.created, b.counters.evicted) == (10_000, 9_990)
    assert b.counters.suppressed == 19_990 - len(kinds)


def test_the_gate_lets_a_burst_through_then_a_rate_and_tells_what_it_held_back():
    now = [0.0]
    sent = []
    counters = Counters()
    gate = EventGate(lambda *m: sent.append(decode_published(m)), counters, rate=2.0, burst=3, clock=lambda: now[0])
    for _ in range(10):
        gate.reject("a", "malformed", "why" * 1000)
    gate.reject("a", "bad_time", "each code has its own")
    gate.publish("late", "a", seq=4)
    assert [m.data.get("code") for m in sent] == ["malformed"] * 3 + ["bad_time", None]
    assert len(sent[0].data["reason"]) == MAX_REASON
    assert counters.rejected == {"malformed": 10, "bad_time": 1}
    assert (counters.events, counters.suppressed) == (5, 7)
    gate.flush()
    assert len(sent) == 5, "there is no room yet"
    now[0] = 0.5
    gate.reject("b", "malformed", "again")
    assert sent[-1].data == {"code": "malformed", "reason": "again", "suppressed": 7}
    gate.reject("b", "malformed", "held")
    now[0] = 1.0
    gate.flush()
    assert (sent[-1].stream, sent[-1].data) == (None, {"code": "malformed", "suppressed": 1})
    gate.flush()
    assert len(sent) == 7


def test_discarding_counts(bench):
    b = bench()
    for _ in range(20):
        b.sample("a", [1.0, 2.0])
    assert b.pump.discard(5.0) == 20
    assert (b.counters.discarded, b.counters.accepted) == (20, 0)
    assert b.pump.burst() == 0
