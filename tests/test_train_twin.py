"""The network in PyTorch computes what the engine computes, chunk by chunk and at once, with and without gaps."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra train)")

from recordings import echoes, waves

from streamrnn import Engine
from streamrnn.train import Recording, Settings
from streamrnn.train.batches import Batch
from streamrnn.train.build import model_of
from streamrnn.train.network import Network, squareplus
from streamrnn.train.parity import compare
from streamrnn.train.ready import make_ready
from streamrnn.train.scaling import steps_of
from streamrnn.train.start import initialise

torch.set_num_threads(1)


def shaken(settings, recordings):
    """(what training would begin with, a network of random weights in which nothing is as it was started)."""
    ready = make_ready(recordings, settings)
    network = Network(ready.spec, ready.inputs, ready.targets)
    spread = None if ready.inputs is None else steps_of(ready.split.train, ready.inputs, ready.spec.horizon)
    initialise(network, settings, torch.Generator().manual_seed(3), spread)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))
    return ready, network.eval()


CASES = {
    "gru": {},
    "lstm-gaussian": {"cell": "lstm", "hidden": 9, "loss": "gaussian"},
    "elman-quantile": {"cell": "elman", "hidden": (9, 5), "layers": 2, "loss": "quantile", "quantiles": (0.05, 0.8)},
    "relu": {"cell": "rnn_relu", "hidden": 7, "loss": "mse"},
    "horizon-3": {"horizon": 3, "loss": "mse"},
    "horizon-17": {"cell": "lstm", "horizon": 17, "hidden": 20},
    "norms": {"cell": "lstm", "hidden": (8, 6), "layers": 2, "layer_norm": True, "loss": "huber"},
}


@pytest.mark.parametrize("missing", [0.0, 0.15], ids=["whole", "gaps"])
@pytest.mark.parametrize("name", CASES)
def test_a_forecaster_gives_the_engines_outputs(name, missing):
    # Not from the last value: its units amplify, and shaken ones would amplify rounding too.
    settings = Settings(**{"hidden": 12, "loss": "mse", "persist": False, **CASES[name]})
    ready, network = shaken(settings, waves(missing=missing))
    model = model_of(ready.spec, network.arrays(), ready.inputs, ready.targets, {})
    found = compare(model, network, ready.split.validation, ready.validation, 1e-5)
    assert found["max_difference"] <= 1e-5
    if missing:
        assert any(s.use is not None and s.use.any() for s in ready.validation)


@pytest.mark.parametrize("head", ["classify", "regress"])
def test_other_heads_hold_a_missing_channel_at_its_last_value(head):
    rng = np.random.default_rng(1)
    recordings = []
    for r in echoes():
        x = r.x.copy()
        x[rng.random(x.shape) < 0.2] = np.nan
        x[:3] = np.nan  # at first the mean
        target = r.target if head == "classify" else np.stack([r.x[:, 0] * 40 + 900, r.x[:, 0] ** 2], 1)
        recordings.append(Recording(r.stream, x, None, target))
    ready, network = shaken(Settings(head=head, hidden=11, cell="lstm"), recordings)
    model = model_of(ready.spec, network.arrays(), ready.inputs, ready.targets, {})
    assert compare(model, network, ready.split.validation, ready.validation, 1e-5)["max_difference"] <= 1e-5


@pytest.mark.parametrize("missing", [0.0, 0.15], ids=["whole", "gaps"])
@pytest.mark.parametrize("head", ["forecast", "regress"])
def test_the_time_of_day_is_seen_as_the_engine_sees_it(head, missing):
    recordings = []
    for r in waves(missing=missing):
        t = 10**18 + np.arange(len(r)) * 1700 * 10**9
        recordings.append(Recording(r.stream, r.x, t, np.nan_to_num(r.x[:, :1], nan=50.0) ** 2))
    settings = Settings(head=head, hidden=9, cell="lstm", clock=True, persist=False)
    ready, network = shaken(settings, recordings)
    model = model_of(ready.spec, network.arrays(), ready.inputs, ready.targets, {})
    assert (model.spec.clock, model.spec.layers[0].n_in) == (True, 4)
    scale = 1.0 if head == "forecast" else 1e3  # targets are thousands
    found = compare(model, network, ready.split.validation, ready.validation, 1e-5 * scale)
    assert found["max_difference"] <= 1e-5 * scale
    validated = ready.split.validation[0]
    at, later = (
        Engine(model).step_many(["s"] * len(validated), validated.x, validated.t + hours * 3600 * 10**9).y
        for hours in (0, 12)
    )
    assert np.abs(at - later).max() > 1e-2


@pytest.mark.parametrize("horizon", [1, 2])
def test_tokens(horizon):
    rng = np.random.default_rng(2)
    recordings = [Recording(f"s{i}", rng.integers(0, 7, (200, 1)).astype(np.float32)) for i in range(4)]
    ready, network = shaken(Settings(tokens=7, embedding=5, hidden=6, horizon=horizon), recordings)
    model = model_of(ready.spec, network.arrays(), None, None, {})
    assert compare(model, network, ready.split.validation, ready.validation, 1e-5)["max_difference"] <= 1e-5


@pytest.mark.parametrize(("size", "horizon"), [(1, 1), (7, 1), (7, 3), (3, 5), (50, 20)])
def test_chunks_carry_the_state_as_the_engine_does(size, horizon):
    ready, network = shaken(Settings(cell="lstm", hidden=9, horizon=horizon), waves(missing=0.1))
    batch = Batch(ready.train, [(i, 0, len(s)) for i, s in enumerate(ready.train)])
    with torch.no_grad():
        whole = [network(c.x, c.use, c.gaps, network.begin(len(batch)))[0] for c in batch.chunks(10**6, "cpu", horizon)]
        state, parts = network.begin(len(batch)), []
        for chunk in batch.chunks(size, "cpu", horizon):
            raw, state = network(chunk.x, chunk.use, chunk.gaps, state)
            parts.append(raw)
    assert torch.allclose(torch.cat(parts), whole[0], atol=2e-5)


def test_a_difference_is_an_error():
    ready, network = shaken(Settings(hidden=6), waves())
    arrays = network.arrays()
    arrays["weight_hh_l0"][0, 0] += 0.01
    model = model_of(ready.spec, arrays, ready.inputs, None, {})
    with pytest.raises(ValueError, match=r"differs from PyTorch by .*--tolerance"):
        compare(model, network, ready.split.validation, ready.validation, 1e-5)


def test_a_forecaster_starts_as_the_last_value():
    for cell in ("gru", "lstm", "elman", "rnn_relu"):
        settings = Settings(cell=cell, hidden=(12, 8), layers=2, loss="mse")
        ready = make_ready(waves(), settings)
        network = Network(ready.spec, ready.inputs)
        spread = steps_of(ready.split.train, ready.inputs, 1)
        initialise(network, settings, torch.Generator().manual_seed(0), spread)
        model = model_of(ready.spec, network.arrays(), ready.inputs, None, {})
        x = ready.split.test[0].x
        y = Engine(model).step_many(["s"] * len(x), x).y
        worst = np.abs(y - x).max(0) / ready.inputs.scale
        assert worst.max() < 0.03, (cell, worst)


def test_squareplus_has_no_cancellation():
    a = torch.tensor([-1e4, -3.0, 0.0, 2.0, 1e4])
    exact = (a.double() + torch.sqrt(a.double() ** 2 + 4)) / 2
    assert torch.allclose(squareplus(a).double(), exact, rtol=1e-4)
    assert squareplus(a)[0] > 0
