"""Format 3 of the model file: forecasts of any horizon, with a spread, and embeddings."""

import json

import numpy as np
import pytest

from streamrnn import Model
from streamrnn.errors import ModelError
from streamrnn.model import DenseSpec, EmbeddingSpec, LayerSpec, ModelSpec
from streamrnn.model.weights import random_weights

GRU = LayerSpec("gru", 2, 5)


def forecaster(**more):
    spec = {"n_in": 2, "n_out": 2, "layers": (GRU,), "head": "forecast", "features": ("hr", "spo2")}
    return ModelSpec(**spec | more)


def tokens(**more):
    layers = (EmbeddingSpec(11, 4), LayerSpec("gru", 4, 5))
    return ModelSpec(**{"n_in": 1, "n_out": 11, "layers": layers, "head": "forecast"} | more)


SPECS = {
    "horizon": forecaster(horizon=30),
    "gaussian": forecaster(n_out=4, spread="gaussian", normaliser="fixed"),
    "quantile": forecaster(n_out=6, spread="quantile", quantiles=(0.025, 0.975), horizon=2),
    "tokens": tokens(),
    "tokens classified": tokens(head="classify", n_out=3),
    "tokens to softmax": tokens(
        layers=(EmbeddingSpec(11, 4), LayerSpec("gru", 4, 5), DenseSpec(5, 11, "softmax")), readout="none"
    ),
}


@pytest.mark.parametrize("name", SPECS)
def test_it_comes_back_bit_for_bit(name, tmp_path):
    model = Model(SPECS[name], random_weights(SPECS[name], seed=3))
    path = tmp_path / "m.safetensors"
    model.save(path)
    again = Model.load(path)
    assert again.spec == model.spec
    assert again.fingerprint == model.fingerprint
    assert {k: v.tobytes() for k, v in again.arrays.items()} == {k: v.tobytes() for k, v in model.arrays.items()}
    assert json.loads(model.spec.to_json())["format"] == 3


def test_what_an_older_format_can_hold_is_written_as_that():
    text = json.loads(forecaster().to_json())
    assert text["format"] == 1
    assert not {"horizon", "spread", "quantiles"} & set(text)


def test_outputs_have_names():
    assert SPECS["horizon"].outputs == ("hr", "spo2")
    assert SPECS["gaussian"].outputs == ("hr", "spo2", "hr_sd", "spo2_sd")
    assert SPECS["quantile"].outputs == ("hr", "spo2", "hr_q2.5", "spo2_q2.5", "hr_q97.5", "spo2_q97.5")
    assert SPECS["tokens"].outputs[:2] == ("p0", "p1")
    assert SPECS["tokens"].features == ("token",)
    assert SPECS["tokens classified"].outputs == ("y0", "y1", "y2")


def test_a_description_names_outputs():
    models = {name: Model(spec, random_weights(spec, seed=1)).describe() for name, spec in SPECS.items()}
    assert models["gaussian"]["outputs"] == ["hr", "spo2", "hr_sd", "spo2_sd"]
    assert (models["quantile"]["horizon"], models["quantile"]["quantiles"]) == (2, [0.025, 0.975])
    assert (models["tokens"]["outputs"], models["tokens"]["tokens"]) == ([], 11)


def test_an_embedding_is_a_table():
    assert random_weights(SPECS["tokens"], seed=1)["weight_l0"].shape == (11, 4)
    assert str(EmbeddingSpec(11, 4)) == "embedding of 11 tokens -> 4"


@pytest.mark.parametrize(
    ("make", "change", "message"),
    [
        (forecaster, {"horizon": 0}, "horizon is 0.*1 to 4096"),
        (forecaster, {"horizon": 5000}, "horizon is 5000"),
        (forecaster, {"spread": "laplace"}, "'laplace'.*gaussian"),
        (forecaster, {"spread": "gaussian"}, r"n_out = 2 n_in.*= 4; n_out is 2"),
        (forecaster, {"spread": "quantile", "n_out": 4}, r"n_out = 3 n_in.*= 6; n_out is 4"),
        (forecaster, {"quantiles": (0.2, 0.8)}, "use spread 'quantile'"),
        (forecaster, {"spread": "quantile", "n_out": 6, "quantiles": (0.6, 0.9)}, "between 0 and 0.5"),
        (forecaster, {"spread": "quantile", "n_out": 6, "quantiles": (0.1,)}, "two numbers"),
        (forecaster, {"head": "regress", "horizon": 2}, "horizon is 2 with head 'regress'"),
        (forecaster, {"head": "regress", "n_out": 4, "spread": "gaussian"}, "spread is 'gaussian' with head"),
        (forecaster, {"features": ("hr", "hr_sd"), "n_out": 4, "spread": "gaussian"}, "name of another's spread"),
        (tokens, {"n_out": 5}, "n_out = n_tokens = 11; n_out is 5"),
        (tokens, {"n_in": 11}, "n_in is 11.*one token"),
        (tokens, {"normaliser": "fixed"}, "no quantity"),
        (tokens, {"spread": "gaussian", "n_out": 22}, "probabilities"),
        (tokens, {"clock": True}, "clock=False"),
        (tokens, {"layers": (EmbeddingSpec(11, 1), EmbeddingSpec(11, 4))}, "layer 1 is an embedding"),
        (tokens, {"layers": (EmbeddingSpec(11, 4), DenseSpec(4, 11, "tanh")), "readout": "none"}, "end in softmax"),
        (tokens, {"layers": (EmbeddingSpec(65_536, 4), GRU), "n_out": 65_536, "horizon": 17}, "takes 2 inputs"),
        (
            tokens,
            {"layers": (EmbeddingSpec(65_536, 2), GRU), "n_out": 65_536, "horizon": 17},
            "horizon of at most 16",
        ),
    ],
)
def test_what_no_model_can_have_is_refused_by_name(make, change, message):
    with pytest.raises(ModelError, match=message):
        make(**change)


def test_an_adaptive_model_forecasts_the_next_sample():
    spec = Model.adaptive(2, hidden=4).spec
    with pytest.raises(ModelError, match="online readout forecasts the next sample"):
        ModelSpec(**{name: getattr(spec, name) for name in spec.__slots__} | {"horizon": 2})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("horizon", 1.5, "horizon in the model's metadata is float"),
        ("quantiles", 0.1, "quantiles in the model's metadata is float"),
        ("spread", None, "spread in the model's metadata is NoneType"),
        ("layers", [{"kind": "embedding", "n_tokens": 3}], "n_tokens, width"),
        ("layers", [{"kind": "embedding", "n_tokens": 0, "width": 4}], "n_tokens is 0"),
    ],
)
def test_wrong_metadata_is_named(key, value, message):
    text = json.loads(SPECS["tokens"].to_json()) | {key: value}
    with pytest.raises(ModelError, match=message):
        ModelSpec.from_json(json.dumps(text))


def test_a_wrong_table_is_named():
    arrays = random_weights(SPECS["tokens"], seed=1) | {"weight_l0": np.zeros((4, 11), np.float32)}
    with pytest.raises(ModelError, match=r"'weight_l0' has shape \(4, 11\); it must be \(11, 4\)"):
        Model(SPECS["tokens"], arrays)
