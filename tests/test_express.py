"""The compiled data path against the one over pyzmq: the same bytes for the same traffic, whatever it holds."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import msgpack
import numpy as np
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import speaker
from pumps import PATHS, Bench, timeless
from traffic import token_traffic, traffic

from streamrnn.engine import Engine
from streamrnn.errors import ConfigError
from streamrnn.model import Model
from streamrnn.simulate import ward
from streamrnn.transport import paths
from streamrnn.transport.counters import Counters
from streamrnn.transport.fleet import Fleet
from streamrnn.transport.native import Library, find_library
from streamrnn.transport.outlet import Outlet
from streamrnn.wire.messages import Limits, encode_sample, sample_topic

SPEAKER = speaker(37, seed=1, surprise_mean=4.0, surprise_scale=0.5, hold=2)
LSTM = Model.random(cell="lstm", n_in=2, hidden=8, n_out=3, seed=1)
DATA = Path(os.environ.get("STREAMRNN_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
LIMITS = Limits(max_message=3000, max_width=8, max_block=40, max_depth=4, max_skipped=30)


def fixed(**options):
    """Streams of one width; few may live at once."""
    return Fleet(lambda n_in: Engine(LSTM, 4, **options), 2, 8)


def tokens(**options):
    """Streams of tokens."""
    return Fleet(lambda n_in: Engine(SPEAKER, 4, **options), 1, 8)


def learned(**options):
    """Streams of any width, each of which learns."""
    return Fleet(lambda n_in: Engine(Model.adaptive(n_in, hidden=8), 4, **options), None, 8, max_width=4, max_widths=2)


def published(make, messages, path, limit=8, limits=LIMITS):
    """What a path publishes for these messages, without the daemon's times, and its counters."""
    with zmq.Context() as context:
        bench = Bench(context, make(), limit=limit, limits=limits, path=path)
        try:
            for frames in messages:
                bench.send(*frames)
            found = [timeless(frames) for frames in bench.raw()]
            counters = bench.counters.asdict()
            return [(t, re.sub(rb"t is -?\d+ s ahead", b"t is ahead", b)) for t, b in found], counters
        finally:
            bench.close()


def assert_same(make, messages, limits=LIMITS):
    one, counted = published(make, messages, "pyzmq", limits=limits)
    other, counted_too = published(make, messages, "compiled", limits=limits)
    for a, b in zip(one, other, strict=False):
        assert a == b
    assert len(one) == len(other)
    assert counted == counted_too
    return one


@pytest.mark.parametrize("make", [fixed, learned])
@given(traffic())
@settings(max_examples=150, deadline=None)
def test_both_paths_publish_the_same_bytes(make, messages):
    assert_same(make, messages)


@given(token_traffic())
@settings(max_examples=150, deadline=None)
def test_both_paths_publish_the_same_bytes_for_tokens(messages):
    assert_same(tokens, messages)


@given(token_traffic(), st.sampled_from([1, 2, 5]))
@settings(max_examples=50, deadline=None)
def test_what_is_published_of_tokens_does_not_depend_on_where_bursts_are_cut(messages, limit):
    test_what_is_published_does_not_depend_on_where_bursts_are_cut.hypothesis.inner_test(tokens, messages, limit)


@pytest.mark.parametrize("make", [fixed, learned])
@given(traffic(), st.sampled_from([1, 2, 5]))
@settings(max_examples=150, deadline=None)
def test_what_is_published_does_not_depend_on_where_bursts_are_cut(make, messages, limit):
    whole, _ = published(make, messages, "compiled", limit=8)
    for path in PATHS:
        assert published(make, messages, path, limit=limit)[0] == whole


def test_the_traffic_is_worth_comparing():
    """Where nothing is accepted, or nothing refused, the comparison above would compare little."""
    seen = set()

    @given(traffic())
    @settings(max_examples=500, deadline=None, database=None, derandomize=True)
    def run(messages):
        for topic, body in published(learned, messages, "compiled")[0]:
            kind = topic.split(b"/")[0]
            seen.add(kind if kind != b"event" else topic.split(b"/")[1])
            seen.update(code.decode() for code in re.findall(rb"\xa4code.([a-z_]+)", body))

    run()
    assert seen >= {b"out", b"block", b"created", b"evicted", b"gap", b"late", b"duplicate", b"reset"}
    assert seen >= {"malformed", "wrong_width", "not_finite", "bad_time", "bad_topic", "bad_id"}


def test_the_traffic_of_tokens_is_worth_comparing():
    seen, accepted = set(), 0

    @given(token_traffic())
    @settings(max_examples=400, deadline=None, database=None, derandomize=True)
    def run(messages):
        nonlocal accepted
        for topic, body in published(tokens, messages, "compiled")[0]:
            accepted += topic[:4] == b"out/"
            seen.add(topic.split(b"/")[0])
            seen.update(code.decode() for code in re.findall(rb"\xa4code.([a-z_]+)", body))

    run()
    assert seen >= {b"out", b"block", b"flag", "malformed", "bad_token", "bad_time", "bad_topic", "wrong_width"}
    assert accepted > 100


def test_blocks_of_tokens_larger_than_bursts():
    x = np.random.default_rng(0).integers(0, 37, 3000).tolist()
    ids = [f"s{i % 70}" for i in range(1000)]
    messages = [
        [b"block/", msgpack.packb({"ids": named, "x": x[start : start + 1000]})]
        for start in range(0, 3000, 1000)
        for named in (ids, "one")
    ]
    frames = assert_same(lambda: Fleet(lambda n_in: Engine(SPEAKER, 100), 1, 64), messages, Limits())
    answers = [body for topic, body in frames if topic == b"block/"]
    assert len(answers) == 6
    # They are what the engine says of those tokens.
    y = Engine(SPEAKER, 1).step_many(["one"] * 3000, x).y.astype("<f4")
    for k in range(3):
        assert y[1000 * k : 1000 * (k + 1)].tobytes() in answers[2 * k + 1]


@pytest.fixture(scope="module", params=["generated", "recorded"])
def bedside(request, tmp_path_factory):
    """CSV files of vital signs, one a bed, a row a second, cells that are empty: a ward that is made here, and the real
    recordings where they are.
    """
    if request.param == "recorded":
        folder = DATA / "vitals"
        if not folder.is_dir():
            pytest.skip(f"no recordings in {folder}; set STREAMRNN_DATA to the folder that holds vitals/")
        return sorted(folder.glob("bidmc_*.csv"))[:3]
    folder = tmp_path_factory.mktemp("beds")
    feed = ward(beds=3, seconds=480, seed=3, calm=300, channels=("hr", "pulse", "resp", "spo2"))
    beds: dict[str, list[str]] = {}
    for _, stream, x in feed.rows():
        lines = beds.setdefault(stream, ["time_s,hr,pulse,resp,spo2"])
        lines.append(",".join([str(len(lines) - 1), *("" if np.isnan(v) else f"{v:.9g}" for v in x)]))
    paths = []
    for stream, lines in sorted(beds.items()):
        paths.append(folder / f"{stream.replace('/', '_')}.csv")
        paths[-1].write_text("\n".join(lines) + "\n")
    assert any(",," in line for lines in beds.values() for line in lines), "no cell is empty"
    return paths


def test_vital_signs_as_recorded_give_the_same_bytes(bedside):
    messages = []
    for path in bedside:
        with path.open(newline="") as file:
            rows = [[float(cell) if cell else None for cell in row] for row in list(csv.reader(file))[1:]]
        for seq, (time_s, *x) in enumerate(rows):
            messages.append([sample_topic(path.stem), encode_sample(x, t=int(time_s * 1e9), seq=seq, session="a")])
    frames = assert_same(lambda: Fleet(lambda n_in: Engine(Model.adaptive(n_in), 8), None, 64), messages, Limits())
    topics = [topic.split(b"/")[0] for topic, _ in frames]
    assert topics.count(b"out") == len(messages)
    assert b"flag" in topics, "no flag changed, so no flag was compared"


def test_blocks_larger_than_bursts_and_a_stream_of_its_own_width():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 2)).astype("<f4")
    ids = [f"s{i % 70}" for i in range(3000)]
    messages = []
    for start in range(0, 3000, 1000):
        body = {"ids": ids[start : start + 1000], "x": X[start : start + 1000].tobytes()}
        messages += [
            [b"block/", msgpack.packb(body)],
            [b"block/", msgpack.packb({"ids": "one", "x": X[:600].tobytes()})],
        ]

    def make():
        return Fleet(lambda n_in: Engine(LSTM, 100), 2, 64)

    frames = assert_same(make, messages, Limits())
    assert sum(topic == b"block/" for topic, _ in frames) == 6


def test_threads_step_large_bursts_to_the_same_bytes():
    X = np.random.default_rng(0).standard_normal((4000, 2)).astype("<f4")
    body = {"ids": [f"s{i % 900}" for i in range(4000)], "x": X.tobytes()}
    messages = [[b"block/", msgpack.packb(body)]] * 2

    def make(threads):
        return lambda: Fleet(lambda n_in: Engine(LSTM, 1000, threads=threads), 2, 1024)

    alone, _ = published(make(1), messages, "compiled", limit=1024, limits=Limits())
    assert published(make(2), messages, "compiled", limit=1024, limits=Limits())[0] == alone


def test_a_long_block_lets_control_have_its_turn():
    """A burst ends between two pieces once it has lasted long enough, and the next one goes on."""
    slow = Model.random(cell="lstm", n_in=2, hidden=512, n_out=1)
    body = {"ids": [f"s{i % 50}" for i in range(2000)], "x": bytes(2000 * 8)}
    for path in PATHS:
        with zmq.Context() as context:
            bench = Bench(context, Fleet(lambda n_in: Engine(slow, 100), 2, 256), limit=256, limits=Limits(), path=path)
            bench.send(b"block/", msgpack.packb(body))
            assert bench.pump.burst() == 1
            assert bench.pump.pending
            answered = [m for m in bench.run() if type(m).__name__ == "BlockOutput"]
            assert [m.n for m in answered] == [2000]
            bench.close()


def test_discarding_lets_go_of_a_block_in_the_middle():
    slow = Model.random(cell="lstm", n_in=2, hidden=512, n_out=1)
    body = {"ids": [f"s{i % 50}" for i in range(2000)], "x": bytes(2000 * 8)}
    for path in PATHS:
        with zmq.Context() as context:
            bench = Bench(context, Fleet(lambda n_in: Engine(slow, 100), 2, 256), limit=256, limits=Limits(), path=path)
            bench.send(b"block/", msgpack.packb(body))
            bench.pump.burst()
            bench.sample("a", [1.0, 2.0])
            assert bench.pump.discard(5.0) == 2
            assert not bench.pump.pending
            bench.sample("b", [1.0, 2.0])
            assert [m.stream for m in bench.run() if type(m).__name__ == "Output"] == ["b"]
            bench.close()


# Which path


def test_pyzmq_s_library_is_found_here():
    assert isinstance(find_library(), Library)


def test_without_libzmq_the_path_is_pyzmq_s_and_says_why(monkeypatch):
    monkeypatch.setattr(paths, "find_library", lambda: "it is hidden")
    with zmq.Context() as context:
        sockets = context.socket(zmq.SUB), context.socket(zmq.PUB)
        rest = (Outlet(sockets[1], Counters(), 1.0, 1), fixed(), LIMITS, 8)
        path, why = paths.open_path("auto", *sockets, *rest)
        assert (path.name, why) == ("pyzmq", "it is hidden")
        assert paths.open_path("pyzmq", *sockets, *rest)[1] is None, "that is what was asked for"
        with pytest.raises(ConfigError, match="data_path is 'compiled', but it is hidden; use 'auto' or 'pyzmq'"):
            paths.open_path("compiled", *sockets, *rest)
        for socket in sockets:
            socket.close(0)


def test_epochs_follow_arrival_wherever_a_burst_is_cut():
    """A reset and a new stream in one burst: whichever came first has the lower epoch."""
    messages = [
        [sample_topic(s), encode_sample([1.0, 2.0], reset=reset)] for s, reset in (("a", 0), ("a", 1), ("b", 0))
    ]
    epochs = []
    for limit in (1, 8):
        for path in PATHS:
            with zmq.Context() as context:
                bench = Bench(context, fixed(), limit=limit, path=path)
                for frames in messages:
                    bench.send(*frames)
                epochs.append([m.epoch for m in bench.run() if type(m).__name__ == "Output"])
                bench.close()
    assert epochs == [[1, 2, 3]] * 4
