"""Networks that see the time of day: what they learn from it, and recordings that cannot show it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra train)")

from safetensors import safe_open
from safetensors.numpy import save_file

from streamrnn import Engine
from streamrnn.errors import ConfigError
from streamrnn.kernels.clock import REAL_TIME, day_phase
from streamrnn.train import Recording, Settings, fit
from streamrnn.train.ready import make_ready
from streamrnn.train.series import day_phases

torch.set_num_threads(1)

HOUR = 3600 * 10**9
SETTINGS = Settings(hidden=8, epochs=12, rate=2e-2, loss="mse", persist=False, clock=True, threads=1, patience=0)


def homes(days=30, streams=4, seed=0, start=REAL_TIME):
    """An hourly load that is noise, but at seven every morning."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(streams):
        t = start + np.arange(24 * days) * HOUR
        x = rng.normal(size=(len(t), 1)) + 8.0 * (t // HOUR % 24 == 7)[:, None]
        x[rng.random(x.shape) < 0.02] = np.nan
        out.append(Recording(f"home{i}", x.astype(np.float32), t))
    return out


def test_the_phase_is_the_engine_s():
    rng = np.random.default_rng(0)
    t = rng.integers(REAL_TIME, 2 * 10**18, 2000)
    theirs = np.zeros((len(t), 2), np.float32)
    for i, ns in enumerate(t):
        day_phase(ns, theirs[i])
    assert np.abs(day_phases(t) - theirs).max() < 2e-7


def test_what_happens_at_an_hour_is_known_by_the_clock_alone():
    """Samples come at any hour, so that counting them does not tell which one it is."""
    rng = np.random.default_rng(0)
    recordings = []
    for i in range(3):
        t = REAL_TIME + np.cumsum(rng.integers(1, 8, 600)) * HOUR
        load = 8.0 * (t // HOUR % 24 // 6 == 1)[:, None]  # from six to twelve
        recordings.append(Recording(f"home{i}", rng.normal(size=(600, 1)).astype(np.float32), t, load))
    settings = replace(SETTINGS, head="regress", targets=("load",))
    with_clock, without = (fit(recordings, replace(settings, clock=clock)) for clock in (True, False))
    assert with_clock.model.spec.clock
    assert with_clock.report["parity"]["max_difference"] <= 1e-5
    r2 = [fitted.report["test"]["targets"]["load"]["r2"] for fitted in (with_clock, without)]
    assert r2[0] > 0.7, r2
    assert r2[1] < 0.2, r2
    engine = Engine(with_clock.model)
    at_eight, at_night = (
        float(
            engine.step_many([f"s{hour}"] * 8, np.zeros((8, 1)), REAL_TIME + (hour + np.arange(-7, 1)) * HOUR).y[-1, 0]
        )
        for hour in (32, 44)
    )
    assert at_eight > 5.0
    assert abs(at_night) < 3.0


def test_it_stands_beside_what_forecasts_start_from():
    fitted = fit(homes(days=6), replace(SETTINGS, persist=True, epochs=1, rate=1e-8, hidden=(8, 6), layers=2))
    x = homes(days=3, seed=1)[0]
    y = Engine(fitted.model).step_many(["s"] * len(x), np.nan_to_num(x.x), x.t).y
    assert np.abs(y - np.nan_to_num(x.x)).max() < 0.2


def test_few_days_are_told():
    assert (
        "covers 23 hours" in make_ready(homes(days=2, streams=8), replace(SETTINGS, parts=(0.5, 0.25, 0.25))).notes[0]
    )
    assert make_ready(homes(days=6), SETTINGS).notes == []


@pytest.mark.parametrize(
    ("recordings", "options", "message"),
    [
        (homes(start=0), {}, "begins at 0 ns since 1970; a time before 2000 is a counter"),
        ([Recording(r.stream, r.x) for r in homes()], {}, "has no times, and clock .* is the time of day"),
        (homes(), {"changes": (4,), "persist": True}, "leave clock out"),
        ([Recording("a", np.zeros((500, 1), np.float32))], {"tokens": 3, "loss": "auto"}, "a token is looked up"),
    ],
)
def test_what_cannot_be_seen_by_the_clock_is_refused(recordings, options, message):
    with pytest.raises(ConfigError, match=message):
        make_ready(recordings, replace(SETTINGS, **options))


def test_a_checkpoint_from_before_there_was_a_clock_goes_on(tmp_path):
    settings = Settings(hidden=4, epochs=1, threads=1)
    out, kept = tmp_path / "m.safetensors", tmp_path / "m.train" / "checkpoint.safetensors"
    fit(homes(days=10), settings, out)
    with safe_open(kept, "numpy") as file:
        facts = json.loads(file.metadata()["streamrnn.train"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no map
    del facts["settings"]["clock"]
    save_file(arrays, kept, {"streamrnn.train": json.dumps(facts)})
    assert len(fit(homes(days=10), replace(settings, epochs=2), out, resume=True).history) == 2
    with pytest.raises(ConfigError, match="was made with clock False, not True: give it again"):
        fit(homes(days=10), replace(settings, clock=True), out, resume=True)
