"""How the gradient decays with the lag: the numbers of backpropagation by hand; cells that differ as they should."""

from __future__ import annotations

import csv

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra train)")

from recordings import waves

from streamrnn.errors import ConfigError
from streamrnn.train import Settings
from streamrnn.train.diagnose import CELLS, decays, half_life, windows, write_decays

torch.set_num_threads(1)

LAGS = 60


@pytest.fixture(scope="module")
def x():
    return windows(waves(missing=0.1), ["a", "b"], LAGS, 0)


def test_windows_are_normalised_and_filled(x):
    assert x.shape == (LAGS + 1, 32, 2)
    assert np.isfinite(x).all()
    assert abs(x.mean()) < 0.5
    with pytest.raises(ConfigError, match="longest recording has 385 samples"):
        windows(waves(), ["a", "b"], 400, 0)


def test_an_elman_network_by_hand(x):
    from torch import nn

    from streamrnn.model import LayerSpec
    from streamrnn.train.start import start_recurrent

    settings = Settings(hidden=7, init="uniform")
    found = next(d for d in decays(x, settings) if d.cell == "elman").norms
    generator = torch.Generator().manual_seed(0)
    module = nn.RNN(2, 7)
    start_recurrent(LayerSpec("rnn_tanh", 2, 7), module, settings, generator)
    readout = nn.init.xavier_uniform_(torch.empty(2, 7), generator=generator).double().numpy()
    W, U, b, c = (p.detach().double().numpy() for p in module.parameters())
    h, states = np.zeros((32, 7)), []
    for u in x[:-1].astype(np.float64):
        h = np.tanh(u @ W.T + b + h @ U.T + c)
        states.append(h)
    g = 2 * (h @ readout.T - x[-1]) @ readout
    norms = []
    for h in reversed(states):
        norms.append(np.exp(np.log(np.linalg.norm(g, axis=1)).mean()))
        g = (g * (1 - h**2)) @ U
    np.testing.assert_allclose(found, np.array(norms) / norms[0], rtol=1e-6)


def test_gates_remember_and_chrono_gates_remember_longest(x):
    left = {d.cell: d.norms[-1] for d in decays(x, Settings(init="uniform", hidden=24))}
    assert tuple(left) == CELLS
    assert left["elman"] < 1e-3 * left["gru"]
    assert left["gru"] < 1e-2 * left["gru chrono"]
    assert left["lstm"] < 1e-2 * left["lstm chrono"]
    orthogonal = {d.cell: d.norms[-1] for d in decays(x, Settings(hidden=24))}
    assert orthogonal["elman"] > 1e3 * left["elman"]


def test_the_figure_and_its_numbers(x, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra train)")
    found = decays(x, Settings(hidden=6))
    table = write_decays(tmp_path / "decay.png", found)
    assert (tmp_path / "decay.png").read_bytes().startswith(b"\x89PNG")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == LAGS
    assert float(rows[0]["gru_chrono"]) == 1.0
    assert {half_life(d) for d in found} <= set(range(1, LAGS))
