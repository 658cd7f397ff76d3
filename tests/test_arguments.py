"""Whatever Python code hands in: it works, or the error is one of ours and says what would."""

from __future__ import annotations

import contextlib
import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn import Engine, Model
from streamrnn.errors import BadId, BadTime, InputError, ModelError, NotFinite, StaleHandle, WrongWidth
from streamrnn.model.spec import LayerSpec, ModelSpec

MODEL = Model.random("gru", n_in=2, hidden=5, n_out=3, seed=1)

JUNK = [
    None, True, "a", "", b"x", 3.5, 0, -1, 2, 7.0, float("nan"), float("inf"), 1e300, 10**400, 1 + 2j, [], (), {},
    [1, 2], ["a", "b"], ["a", 5], {"a": "b"}, {5: 1.0}, object(), np.float32(2.5), np.int64(3), np.uint8(2),
    np.bool_(True), np.zeros(0), np.ones(2), np.array([1, 2]), np.array(["a", "b"]),
]  # fmt: skip


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint32])
def test_numpys_integers_are_integers(kind, tmp_path):
    model = Model.random("lstm", n_in=kind(2), hidden=[kind(4), 3], n_out=kind(1), layers=kind(2), seed=kind(5))
    assert model.fingerprint == Model.random("lstm", n_in=2, hidden=(4, 3), n_out=1, seed=5).fingerprint
    model.save(tmp_path / "m.safetensors")
    assert Model.load(tmp_path / "m.safetensors").spec == model.spec
    adaptive = Model.adaptive(kind(2), kind(8), kind(3), radius=np.float32(0.5), fastest=kind(1), slowest=np.float64(9))
    assert adaptive.fingerprint == Model.adaptive(2, 8, 3, radius=0.5, slowest=9.0).fingerprint


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": 3.5}, "hidden is 3.5; .* integer from 1 to 65536"),
        ({"hidden": (4, 2.0)}, "hidden is 2.0"),
        ({"hidden": None}, "hidden is None"),
        ({"hidden": True}, "hidden is True"),
        ({"layers": 1.0}, "layers is 1.0"),
        ({"layers": 65}, "layers is 65; .* 1 to 64"),
        ({"seed": 1.0}, "seed is 1.0"),
        ({"cell": None}, "cell is None"),
        ({"cell": ["gru"]}, r"cell is \['gru'\]"),
        ({"n_in": "2"}, "n_in is '2'"),
        ({"features": "hr"}, "features is 'hr'; .* names"),
        ({"features": 5}, "features is 5; .* names"),
    ],
)
def test_wrong_arguments_of_a_random_network(arguments, message):
    with pytest.raises(ModelError, match=message):
        Model.random(**{"n_in": 2, "hidden": 4, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fastest": 0}, "fastest is 0; .* from 1 to 1e\\+06"),
        ({"fastest": -1.0}, "fastest is -1.0"),
        ({"fastest": 100, "slowest": 1}, "slowest is 1; .* from 100 to"),
        ({"slowest": 1e9}, "slowest is 1000000000.0"),
        ({"radius": "a"}, "radius is 'a'"),
        ({"radius": float("nan")}, "radius is nan"),
        ({"input_scale": -1}, "input_scale is -1"),
        ({"input_scale": None}, "input_scale is None"),
        ({"clock": "yes"}, "clock is 'yes'; .* True or False"),
        ({"detector": 5}, "detector is 5; .* map"),
        ({"learning": [1]}, r"learning is \[1\]; .* map"),
        ({"hidden": 8.0}, "hidden is 8.0"),
    ],
)
def test_wrong_arguments_of_the_adaptive_model(arguments, message):
    with pytest.raises(ModelError, match=message):
        Model.adaptive(2, **arguments)


def test_a_specification_of_the_wrong_things():
    spec = MODEL.spec
    for field, value in (
        ("layers", None),
        ("layers", [None]),
        ("clock", 1),
        ("head", []),
        ("units", "mV"),
        ("provenance", 5),
        ("provenance", {"by": object()}),
        ("provenance", {"loss": float("nan")}),
    ):
        with pytest.raises(ModelError, match=field):
            replace(spec, **{field: value})
    for wrong in (None, {}, "spec"):
        with pytest.raises(ModelError, match="specification"):
            Model(wrong, MODEL.arrays)
    for arrays in (None, 5, []):
        with pytest.raises(ModelError, match="arrays"):
            Model(spec, arrays)
    ragged = {**MODEL.arrays, "readout.bias": [[1.0], [1.0, 2.0]]}
    with pytest.raises(ModelError, match=r"readout.bias.*\(3,\)"):
        Model(spec, ragged)


PARTS = {
    "random": ["cell", "n_in", "hidden", "layers", "n_out", "seed", "head", "features"],
    "adaptive": [
        *("n_in", "hidden", "seed", "features", "units", "clock", "radius", "input_scale", "fastest", "slowest"),
        *("detector", "learning"),
    ],
}


@pytest.mark.parametrize("how", PARTS)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_whatever_a_model_is_made_of(how, data):
    junk = data.draw(st.dictionaries(st.sampled_from(PARTS[how]), st.sampled_from(JUNK), max_size=3))
    arguments = {"n_in": 2, "hidden": 4, **junk}
    try:
        model = getattr(Model, how)(**arguments)
    except ModelError:
        return
    json.loads(model.spec.to_json())
    assert type(model.spec.n_in) is int
    assert np.isfinite(Engine(model, capacity=1).step("s", np.ones(model.spec.n_in)).y).all()


def test_layers_and_specifications_hold_plain_integers():
    layer = LayerSpec("lstm", np.int64(1), np.int32(2))
    spec = ModelSpec(n_in=np.int64(1), n_out=np.int64(1), layers=[layer])
    assert [type(v) for v in (layer.n_in, layer.hidden, spec.n_in, spec.n_out)] == [int] * 4


def refused(call, error, message):
    """The call raises; nothing is warned of, and no stream has changed."""
    engine = Engine(MODEL)
    engine.step("s", [1, 2], t=10)
    before = engine.state("s")
    with warnings.catch_warnings(), pytest.raises(error, match=message) as caught:
        warnings.simplefilter("error")
        call(engine)
    assert isinstance(caught.value, InputError | StaleHandle)
    after = engine.state("s")
    assert (len(engine), after.n) == (1, before.n)
    for name, array in before.arrays.items():
        assert np.array_equal(after.arrays[name], array, equal_nan=True)


def test_streams_may_be_any_iterable_of_ids():
    X = np.ones((3, 2))
    expected = Engine(MODEL).step_many(["a", "b", "c"], X).y
    for streams in ((s for s in "abc"), ("a", "b", "c"), np.array(["a", "b", "c"]), {"a": 1, "b": 2, "c": 3}.keys()):
        np.testing.assert_array_equal(Engine(MODEL).step_many(streams, X).y, expected)
    assert len(Engine(MODEL).handles(s for s in ["a", "b", "c"])) == 3


@pytest.mark.parametrize("streams", ["ab", None, 5, b"ab", [1, 2], [None, "a"]])
def test_streams_that_are_no_ids(streams):
    refused(lambda engine: engine.step_many(streams, np.ones((2, 2))), BadId, "id")


def test_handles_are_a_row_of_64_bits():
    engine = Engine(MODEL)
    handles = engine.handles(["a", "b"])
    assert len(engine.step_many(handles.astype(np.uint64), np.ones((2, 2)))) == 2
    for wrong in (handles.astype(np.int32), handles.astype(np.uint8), handles.astype(float)):
        with pytest.raises(StaleHandle, match="dtype (u?int(32|8)|float64).*int64"):
            engine.step_many(wrong, np.ones((2, 2)))
    assert len(engine.step_many(np.array([]), np.ones((0, 2)))) == 0
    for wrong in (handles[:, None], np.array(handles[0])):
        with pytest.raises(StaleHandle, match="shape"):
            engine.step_many(wrong, np.ones((2, 2)))


def test_a_handle_that_never_was():
    engine = Engine(MODEL)
    with pytest.raises(StaleHandle, match="handle 999999 .* or this never was a handle"):
        engine.step(999_999, [1.0, 2.0])


def test_handles_of_a_text():
    with pytest.raises(BadId, match="'ab'.*list"):
        Engine(MODEL).handles("ab")


@pytest.mark.parametrize("reset", [[True, False], [], [[True]], "no", None, np.zeros(1), [0.5]])
def test_reset_is_one_bool_or_one_a_sample(reset):
    refused(lambda engine: engine.step_many(["s"], np.ones((1, 2)), reset=reset), WrongWidth, r"reset.*\(1,\)")


@pytest.mark.parametrize(
    "x",
    [
        np.array([1 + 2j, 2]), [1 + 2j, 2], [np.complex64(1 + 2j), 2], np.array(["1", "2"]), ["1", "2"], [b"1", b"2"],
        np.array([1, 2], "M8[s]"), np.array([1, 2], "m8[s]"), [[1], [1, 2]], object(), None,
    ],
)  # fmt: skip
def test_a_sample_is_real_numbers(x):
    refused(lambda engine: engine.step("s", x), WrongWidth, "x ")
    refused(lambda engine: engine.step_many(["s"], [x]), WrongWidth, "X ")


@pytest.mark.parametrize(
    "x", [[1, 2], (1, None), np.array([1, 2], np.int8), np.array([1, None]), [True, np.float16(2)]]
)
def test_what_is_a_sample(x):
    engine = Engine(MODEL)
    expected = engine.step("a", np.array([1.0, 2.0 if x[1] is not None else np.nan], np.float32)).y
    np.testing.assert_array_equal(engine.step("b", x).y, expected)
    np.testing.assert_array_equal(engine.step_many(["c"], [x]).y[0], expected)


@settings(max_examples=200, deadline=None)
@given(*[st.sampled_from(JUNK)] * 4)
def test_whatever_is_stepped(stream, x, t, reset):
    engine = Engine(MODEL)
    for call in (
        lambda: engine.step(stream, x, t),
        lambda: engine.step_many(stream, x, t, reset),
        lambda: engine.step_many([stream], [x], None if t is None else [t], reset),
    ):
        with contextlib.suppress(InputError, StaleHandle):
            call()


@pytest.mark.parametrize(
    ("stream", "x", "keys", "error"),
    [
        ("", [1, 2], {}, BadId),
        ("x" * 201, [1, 2], {}, BadId),
        ("a\nb", [1, 2], {}, BadId),
        ("\ud800", [1, 2], {}, BadId),
        ("s", [1, 2, 3], {}, WrongWidth),
        ("s", 1.0, {}, WrongWidth),
        ("s", [np.inf, 1], {}, NotFinite),
        ("s", [1e39, 1], {}, NotFinite),
        ("s", [1, 2], {"t": 5}, BadTime),
        ("s", [1, 2], {"t": 1.5}, BadTime),
        ("s", [1, 2], {"t": 2**63}, BadTime),
    ],
)
def test_a_refused_sample_changes_nothing(stream, x, keys, error):
    engine = Engine(MODEL)
    engine.step("s", [1, 2], t=10)
    before = engine.state("s")
    with pytest.raises(error) as caught:
        engine.step(stream, x, **keys)
    assert isinstance(caught.value, InputError)
    after = engine.state("s")
    assert len(engine) == 1
    assert after.n == before.n
    assert after.feed.tolist() == before.feed.tolist()
    for name, array in before.arrays.items():
        assert np.array_equal(after.arrays[name], array, equal_nan=True)


@pytest.mark.parametrize("times", [[7, 6, 8], [5, 5, 4]])
def test_a_batch_whose_times_go_back_changes_no_stream(times):
    for streams in (["new"] * 3, ["s"] * 3):
        engine = Engine(MODEL)
        engine.step("s", [1, 2], t=5)
        with pytest.raises(BadTime, match="earlier"):
            engine.step_many(streams, np.ones((3, 2)), times)
        assert engine.stream_info("s")["n"] == 1
        assert engine.stream_info("s")["last_t"] == 5
        assert "new" not in engine


@pytest.mark.parametrize("model", [None, "adaptive", MODEL.spec, Model])
def test_an_engine_needs_a_model(model):
    with pytest.raises(ModelError, match="Model.adaptive"):
        Engine(model)
