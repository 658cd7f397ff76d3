"""Training on whole numbers and on changes: what a reading stands for, and networks that do not know a level."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from streamrnn import Engine
from streamrnn.errors import ConfigError
from streamrnn.model import DenseSpec
from streamrnn.train import Recording, Settings, fit
from streamrnn.train.scaling import LEAST_DEVIATION, Scaling, roundings_of


def walks(n: int, seed: int, level: float = 70.0, streams: int = 3) -> list[Recording]:
    """Whole numbers that stand still and now and then step, with gaps."""
    rng = np.random.default_rng(seed)
    out = []
    for k in range(streams):
        x = level + np.cumsum(rng.choice([-1, 0, 0, 0, 0, 1], (n, 2)), axis=0).astype(np.float32)
        x[rng.random(x.shape) < 0.02] = np.nan
        out.append(Recording(f"s{seed}-{k}", x))
    return out


def test_a_reading_stands_for_an_interval() -> None:
    scale = Scaling(np.zeros(2, np.float32), np.array([2.0, 4.0], np.float32))
    x = np.array([[1, 0.5], [3, np.nan], [2, 0.75]], np.float32)
    np.testing.assert_allclose(
        roundings_of([Recording("a", x)], scale), np.array([1, 0.25]) / np.sqrt(12) / [2, 4], rtol=1e-6
    )
    fine = Recording("b", np.linspace(0, 1, 500, dtype=np.float32)[:, None].repeat(2, 1))
    assert roundings_of([fine], scale) == pytest.approx([LEAST_DEVIATION] * 2)


def test_a_spread_does_not_vanish_where_whole_numbers_stand_still() -> None:
    still = [Recording(f"s{k}", np.repeat(np.float32([[70 + k, 90]]), 300, 0)) for k in range(3)]
    for r in still:
        r.x[150:] += 1
    fitted = fit(still, Settings(hidden=8, epochs=30, rate=2e-2, threads=1), validation=still[:1])
    y = Engine(fitted.model).step_many(["a"] * 140, still[0].x[:140]).y
    assert (y[60:, 2:] > 0.15).all()  # 1 / sqrt(12) is 0.29; without an interval it falls towards 0


@pytest.mark.parametrize("cell", ["gru", "lstm", "elman"])
def test_changes_do_not_know_the_level(cell: str) -> None:
    train = walks(400, 1) + walks(400, 2, 95.0)
    settings = Settings(cell=cell, hidden=8, changes=(2, 9), dropout=0.2, horizon=3, epochs=2, threads=1)
    model = fit(train, settings, validation=walks(300, 3, 80.0)).model  # compared with PyTorch, gaps included
    assert isinstance(model.spec.layers[1], DenseSpec)
    x = walks(400, 4)[0].x
    low, high = (Engine(model).step_many(["a"] * len(x), x + np.float32(d)).y for d in (0, 40))
    # The averages begin at the training data's mean, and 9 samples are long forgotten after 200.
    np.testing.assert_allclose(high[200:, :2] - 40, low[200:, :2], atol=0.02)
    np.testing.assert_allclose(high[200:, 2:], low[200:, 2:], rtol=0.01)


def test_changes_start_as_the_last_value() -> None:
    data = walks(300, 5)
    model = fit(data, Settings(hidden=8, changes=(4,), rate=1e-8, epochs=1, threads=1), validation=data).model
    y = Engine(model).step_many(["a"] * 300, np.nan_to_num(data[0].x, nan=70.0)).y
    assert np.abs(y[20:, :2] - np.nan_to_num(data[0].x, nan=70.0)[20:]).mean() < 1.0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"changes": (1,)}, "changes is 1"),
        ({"changes": (4,), "head": "classify"}, "forecasts of channels"),
        ({"changes": (4,), "persist": False}, "persist"),
        ({"changes": (4,), "tokens": 9}, "no tokens"),
        ({"changes": (4,), "cell": "rnn_relu"}, "gru, lstm or elman"),
        ({"changes": (4,), "layer_norm": True}, "without layer_norm"),
    ],
)
def test_changes_that_cannot_be(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Settings(**wrong)


def test_changes_need_two_units_a_channel() -> None:
    with pytest.raises(ConfigError, match="at least 4"):
        fit(walks(300, 6), Settings(hidden=3, changes=(4,), epochs=1), validation=walks(300, 7))
