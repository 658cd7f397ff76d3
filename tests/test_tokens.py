"""Streams of tokens: looked up, forecast, judged by surprise, and refused where they are none."""

from __future__ import annotations

import numpy as np
import pytest
from networks import speaker
from reference import ACTIVATIONS, Network, surprise_scores

from streamrnn import Engine, Model
from streamrnn._jit import kernel
from streamrnn.errors import BadToken, ModelError
from streamrnn.kernels.surprise import log2
from streamrnn.model import DenseSpec, EmbeddingSpec, LayerSpec, ModelSpec

T = 37
TOLERANCE = 2e-5


def tokens(n, seed=0, n_tokens=T):
    return np.random.default_rng(seed).integers(0, n_tokens, n)


def run(model, x, **options):
    return Engine(model, capacity=1, **options).step_many(["s"] * len(x), x)


# Surprise in bits


@kernel
def _map_log2(x, y):
    for i in range(x.size):
        y[i] = log2(x[i])


def test_log2_is_within_its_bound():
    rng = np.random.default_rng(0)
    parts = [
        np.geomspace(2.0**-126, 1.0, 200_001),
        np.float32(rng.random(200_000)).astype(np.float64) + 2.0**-60,
        1 + np.linspace(-1e-6, 1e-6, 20_001),  # cancels where it is done badly
        np.sqrt(2) + np.linspace(-1e-12, 1e-12, 101),
        2.0 ** np.arange(-126, 127),
    ]
    x = np.concatenate(parts)
    y = np.empty_like(x)
    _map_log2(x, y)
    truth = np.log2(x)
    assert (np.abs(y - truth) / (1 + np.abs(truth))).max() <= 1e-15
    whole = np.arange(-126, 127)
    np.testing.assert_array_equal(y[-len(whole) :], whole)  # powers of two are exact


# What is computed


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("readout", ["linear", "none"])
def test_probabilities_and_scores_are_those_of_the_oracle(readout, horizon):
    settings = {"surprise_rate": 0.3, "surprise_mean": 4.0, "surprise_scale": 0.5}
    model = speaker(T, readout=readout, horizon=horizon, seed=3, **settings)
    x = tokens(500, seed=4)
    out = run(model, x)
    oracle = Network(model.describe()["layers"], model.arrays)
    truth = np.array([oracle.step([token]) for token in x])
    if readout == "linear":
        truth = np.array([ACTIVATIONS["softmax"](z) for z in truth])
    assert np.abs(out.y - truth).max() <= TOLERANCE
    assert np.abs(out.y.sum(axis=1) - 1).max() < 1e-5
    p = [np.nan] * horizon + [truth[i - horizon, token] for i, token in enumerate(x)][horizon:]
    scores = surprise_scores(p, *settings.values())
    np.testing.assert_allclose(out.score, scores, rtol=1e-4, atol=1e-4)
    assert scores.max() > 1
    assert not out.score[:horizon].any()
    assert not out.missing.any()


def test_an_embedding_gives_the_bits_of_a_one_hot_product():
    table = np.random.default_rng(0).normal(size=(T, 9)).astype(np.float32)
    ours = speaker(T, head="regress", n_out=4, seed=3)
    arrays = {**ours.arrays, "weight_l0": table}
    ours = Model(ours.spec, arrays)
    dense = ModelSpec(T, 4, (DenseSpec(T, 9), LayerSpec("lstm", 9, 20)), "regress")
    dense_model = Model(dense, {**arrays, "weight_l0": table.T, "bias_l0": np.zeros(9, np.float32)})
    x = tokens(300, seed=1)
    assert run(ours, x).y.tobytes() == run(dense_model, np.eye(T)[x]).y.tobytes()


def test_other_heads_have_no_score():
    out = run(speaker(T, head="classify", n_out=3, seed=2), tokens(400))
    assert np.abs(out.y.sum(axis=1) - 1).max() < 1e-6
    assert not out.score.any()
    assert not out.flag.any()


def test_the_smallest_probability_is_126_bits():
    model = speaker(3, surprise_rate=1.0, surprise_scale=1.0)
    arrays = {k: np.zeros_like(a) for k, a in model.arrays.items()}
    arrays["readout.bias"] = np.array([1e12, -1e12, 0.0], np.float32)
    out = run(Model(model.spec, arrays), [0, 1, 0, 2])
    assert np.isfinite(out.score).all()
    assert 120 < out.score[1] <= 126
    assert out.score[2] == 0


# The same bits


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("horizon", [1, 4])
def test_any_batch_gives_the_bits_of_one_stream_alone(horizon, threads):
    model = speaker(T, horizon=horizon, seed=5, surprise_mean=3.0, surprise_scale=0.5)
    xs = [tokens(30, seed) for seed in range(61)]
    engine = Engine(model, capacity=61, threads=threads)
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(61), 30))
    places = {s: np.flatnonzero(order == s) for s in range(61)}
    X = np.empty(len(order), np.int64)
    for s, at in places.items():
        X[at] = xs[s]
    out = engine.step_many([f"s{s}" for s in order], X)
    for s, at in places.items():
        single = Engine(model, capacity=1)
        for k, i in enumerate(at):
            one = single.step("s", int(xs[s][k]))
            assert one.y.tobytes() == out.y[i].tobytes()
            assert (one.score, one.flag, one.cause, one.n) == (out.score[i], out.flag[i], out.cause[i], out.n[i])
    assert (out.score > 1).any()


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 20])
def test_a_state_saved_and_restored_resumes_with_the_same_bits(cut):
    model = speaker(T, horizon=3, seed=5, surprise_mean=3.0, surprise_scale=0.5)
    x = tokens(60)
    truth = run(model, x)
    first, second = Engine(model, capacity=1), Engine(model, capacity=2)
    if cut:
        first.step_many(["s"] * cut, x[:cut])
        second.load_state("s", first.state("s"))
    out = second.step_many(["s"] * (60 - cut), x[cut:])
    assert out.y.tobytes() == truth.y[cut:].tobytes()
    assert out.score.tobytes() == truth.score[cut:].tobytes()


def test_every_way_to_hand_in_a_token_is_the_same():
    model = speaker(T)
    x = tokens(5)
    truth = run(model, x)
    for row in (int, float, np.int8, np.float32, lambda v: [v], lambda v: np.array([v], np.float32)):
        engine = Engine(model, capacity=1)
        y = np.array([engine.step("s", row(v)).y for v in x])
        assert y.tobytes() == truth.y.tobytes()
    engine = Engine(model, capacity=1)
    many = engine.step_many(engine.handles(["s"] * 5), x[:, None].astype(np.float64))
    assert many.y.tobytes() == truth.y.tobytes()


# Flags


def confident(**settings):
    """A network that is always almost sure of token 0: others cost about 10 bits."""
    model = speaker(4, surprise_rate=0.25, surprise_mean=0.0, surprise_scale=2.0, **settings)
    arrays = {k: np.zeros_like(a) for k, a in model.arrays.items()}
    arrays["readout.bias"] = np.array([7.0, 0.0, 0.0, 0.0], np.float32)
    return Model(model.spec, arrays)


def test_an_episode_raises_one_flag_and_clears_after_a_hold():
    x = np.zeros(200, int)
    x[50:70] = 1
    out = run(confident(hold=10), x)
    assert np.flatnonzero(out.edge == 1).tolist() == [50]
    (cleared,) = np.flatnonzero(out.edge == -1)
    quiet = np.flatnonzero((out.score < 0.5) & (np.arange(200) > 50))[0]
    assert cleared == quiet + 9
    assert out.cause[55] == "token:surprise"
    assert out.cause[40] is None


def test_what_lasts_longer_than_an_episode_may_is_one_episode_still():
    x = np.zeros(600, int)
    x[50:400] = 1
    x[500:510] = 2
    out = run(confident(longest=100, hold=10), x)
    assert np.flatnonzero(out.edge == 1).tolist() == [50, 500]
    assert np.flatnonzero(out.edge == -1)[0] == 150
    assert (out.score[160:400] > 1).all()
    assert not out.flag[160:400].any()


def test_a_model_that_is_not_calibrated_scores_bits_and_does_not_flag():
    out = run(speaker(T, seed=5), tokens(300))
    assert 0 < out.score.max() < 1


# What is refused


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (T, f"token 0 is {T}; send integers from 0 to {T - 1}"),
        (-1, "is -1"),
        (1.5, "is 1.5"),
        (np.nan, "is nan.*none missing"),
        (np.inf, "is inf"),
        (None, "must be one token"),
        ([None], "must be one token"),
        ([1, 2], "must be one token"),
        ("3", "must be one token"),
        (True, "must be one token"),
        (2**70, "must be one token"),
        (np.array([np.nan], np.float32), "is nan"),
        (np.array([40.0], np.float32), "is 40.0"),
    ],
)
def test_what_is_no_token_is_refused_and_nothing_changes(x, message):
    engine = Engine(speaker(T), capacity=2)
    engine.step("s", 3)
    before = engine.state("s")
    with pytest.raises(BadToken, match=message):
        engine.step("s", x)
    with pytest.raises(BadToken):
        engine.step("new", x)
    with pytest.raises(BadToken):
        engine.step_many(["s"], [x])
    after = engine.state("s")
    assert after.n == before.n == 1
    assert "new" not in engine
    for name, array in before.arrays.items():
        np.testing.assert_array_equal(after.arrays[name], array)


@pytest.mark.parametrize("X", [[[1, 2]] * 3, [[1], [2, 3], [4]], [1, 2, None], "123", [[[1]]] * 3, 5])
def test_what_are_no_tokens_is_refused(X):
    with pytest.raises(BadToken, match=r"n tokens"):
        Engine(speaker(T)).step_many(["s"] * 3, X)


def test_settings_belong_to_their_kind_of_model():
    with pytest.raises(ModelError, match="unknown detector setting 'envelope'"):
        speaker(T, envelope=1.0)
    spec = ModelSpec(2, 2, (LayerSpec("gru", 2, 5),), "forecast", detector={"surprise_mean": 1.0})
    with pytest.raises(ModelError, match="unknown detector setting 'surprise_mean'"):
        Model(spec, {})
    assert set(speaker(T).describe()["detector"]) == {
        "threshold", "release", "hold", "longest", "surprise_rate", "surprise_mean", "surprise_scale",
    }  # fmt: skip
    assert "surprise_mean" not in Model.adaptive(2, hidden=4).describe()["detector"]


def test_a_table_of_the_largest_size_is_looked_up():
    spec = ModelSpec(1, 2, (EmbeddingSpec(65_536, 2), LayerSpec("rnn_tanh", 2, 3)), "regress")
    rng = np.random.default_rng(0)
    from streamrnn.model.spec import array_shapes

    model = Model(spec, {k: rng.normal(size=s).astype(np.float32) for k, s in array_shapes(spec).items()})
    oracle = Network(model.describe()["layers"], model.arrays)
    for token in (0, 65_535, 12_345):
        y = Engine(model, capacity=1).step("s", token).y
        oracle.h[1][:] = 0
        assert np.abs(y - oracle.step([token])).max() < 1e-6
