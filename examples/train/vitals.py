"""Forecasts of vital signs 1, 10 and 30 s ahead, with a spread, beside the last value and the adaptive model.

    python examples/train/vitals.py --figure docs/models/vitals.png --json vitals.json

26 stays in intensive care, eight minutes each at 1 Hz (`../shared/data/vitals`): heart rate, pulse, respiration, SpO2,
whole numbers with gaps. Stays 1 to 20 are for training, of which 1, 5, 9, 13 and 17 choose when to stop; 21 to 26 are
the test. All networks are small: a GRU of 24 units that sees how the channels change.

The score is the negative log-likelihood of a Gaussian in nats, and since a monitor shows 72 for all from 71.5 to 72.5,
what is to be expected of it over that interval; and the mean absolute error. A point forecast gets a spread in two
ways: `fixed`, the root mean square of its errors in training, and `own`, that of its stream's own last 100 errors or
so.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from common import Floats, answers, arguments, data_dir, plotting, save, table, trained, write

from streamrnn import Engine, Model
from streamrnn.train import Recording, Settings

CHANNELS = ("hr", "pulse", "resp", "spo2")
UNITS = ("1/min", "1/min", "1/min", "%")
HORIZONS = (1, 10, 30)
BEGIN = 60
"""Seconds at the beginning of a stay that are not judged: whoever learns from the stream has seen nothing yet."""
MEMORY = 100
"""Errors, about, that an `own` spread is made of."""

Samples = npt.NDArray[np.float32]
Points = Callable[[Samples, int], Floats]


def read(path: Path) -> Samples:
    """A stay, float32 (n, 4), NaN where a value is missing."""
    with path.open(newline="") as file:
        return np.array([[float(row[c] or "nan") for c in CHANNELS] for row in csv.DictReader(file)], np.float32)


def varied(x: Samples, rng: np.random.Generator) -> Samples:
    """The stay at another level, with more gaps: a network should know neither patients nor a world without gaps."""
    heart, breath, oxygen = rng.normal(0, (20.0, 5.0, 2.5))
    x = np.round(x + np.array([heart, heart, breath, oxygen], np.float32))
    return blanked(x, rng, 2)


def blanked(x: Samples, rng: np.random.Generator, gaps: int) -> Samples:
    """The stay with so many gaps more, each of one channel and up to a minute."""
    x = x.copy()
    for _ in range(gaps):
        begin = int(rng.integers(len(x)))
        x[begin : begin + int(rng.integers(1, 60)), rng.integers(len(CHANNELS))] = np.nan
    return x


def last_value(x: Samples, _horizon: int) -> Floats:
    """What was last seen of each channel, float64 (n, 4)."""
    out = x.astype(np.float64)
    for i in range(1, len(out)):
        out[i] = np.where(np.isnan(out[i]), out[i - 1], out[i])
    return out


def adaptive(x: Samples, horizon: int) -> Floats:
    """The adaptive model's forecasts, float64 (n, 4). It forecasts one second; further on it goes by its own forecasts,
    which is what an engine does with samples that are missing."""
    engine = Engine(Model.adaptive(len(CHANNELS), clock=False), capacity=2, ring=0)
    ahead = np.full((horizon - 1, len(CHANNELS)), np.nan, np.float32)
    out = np.empty(x.shape)
    for i, sample in enumerate(x):
        out[i] = engine.step("bed", sample).y
        if horizon > 1 and i >= BEGIN:
            engine.load_state("fork", engine.state("bed"))
            out[i] = engine.step_many(["fork"] * (horizon - 1), ahead).y[-1]
    return out


def errors(point: Floats, x: Samples, horizon: int) -> Floats:
    """Of the forecasts made at each second, (n - horizon, 4), NaN where nothing was seen of what was forecast."""
    return np.asarray(x[horizon:] - point[: len(x) - horizon])


def own_spread(error: Floats, horizon: int, first: Floats) -> Floats:
    """Root mean square of the errors that are known at each second, the last ones first, (n - horizon, 4)."""
    square, out = first**2, np.empty_like(error)
    for i in range(len(error)):
        if i >= horizon:
            known = error[i - horizon] ** 2
            square = np.where(np.isnan(known), square, square + (known - square) / MEMORY)
        out[i] = square
    return np.asarray(np.sqrt(out + 1 / 12))


def loss(error: Floats, spread: Floats) -> Floats:
    """Nats, to be expected over the interval of a whole number."""
    return np.asarray(0.5 * np.log(2 * np.pi * spread**2) + (error**2 + 1 / 12) / (2 * spread**2))


def judged(error: Sequence[Floats], spread: Sequence[Floats]) -> dict[str, Any]:
    """Measures over stays; each channel, and all values together."""
    e, s = np.concatenate([e[BEGIN:] for e in error]), np.concatenate([s[BEGIN:] for s in spread])
    nats = loss(e, s)
    return {
        "nll": float(np.nanmean(nats)),
        "mae": float(np.nanmean(np.abs(e))),
        "within_90": float((np.abs(e) <= 1.6448536 * s)[~np.isnan(e)].mean()),
        "nll_each": dict(zip(CHANNELS, np.nanmean(nats, 0).tolist(), strict=True)),
        "mae_each": dict(zip(CHANNELS, np.nanmean(np.abs(e), 0).tolist(), strict=True)),
    }


def of_points(points: Points, train: Sequence[Samples], test: Sequence[Samples], horizon: int) -> dict[str, Any]:
    """Measures of a point forecast, with either spread."""
    known = np.concatenate([errors(points(x, horizon), x, horizon)[BEGIN:] for x in train])
    first = np.sqrt(np.nanmean(known**2, 0))
    made = [errors(points(x, horizon), x, horizon) for x in test]
    fixed = [np.broadcast_to(np.sqrt(first**2 + 1 / 12), e.shape) for e in made]
    return {"fixed": judged(made, fixed), "own": judged(made, [own_spread(e, horizon, first) for e in made])}


def of_network(model: Model, test: Sequence[Samples], horizon: int) -> dict[str, Any]:
    n, error, spread = len(CHANNELS), [], []
    for x in test:
        y = answers(model, x)
        error.append(errors(y[:, :n], x, horizon))
        spread.append(np.maximum(y[: len(x) - horizon, n:], 1e-3))
    return judged(error, spread)


def learn(stays: Sequence[Samples], test: Sequence[Samples], horizon: int, quick: bool, seed: int) -> Model:
    """The network for one horizon, from stays 1 to 20. On `test` its rate of false alarms is verified."""
    rng = np.random.default_rng(seed)
    copies = 1 if quick else 4
    chosen = range(0, len(stays), 4)
    train = [
        Recording(f"stay {i + 1}, {k}", varied(x, rng) if k else x)
        for i, x in enumerate(stays)
        if i not in chosen
        for k in range(copies)
    ]
    settings = Settings(
        head="forecast",
        horizon=horizon,
        hidden=8 if quick else 24,
        changes=(2, 5, 17, 65),
        dropout=0.2,
        chunk=120,
        burn_in=30,
        epochs=1 if quick else 60,
        features=CHANNELS,
        units=UNITS,
        false_alarms=None if quick or horizon > 1 else "2/h",
        seed=seed,
        threads=1,
    )

    def timed(name: str, x: Samples) -> Recording:
        return Recording(name, x, t=np.arange(len(x), dtype=np.int64) * 10**9)

    validation = [timed(f"stay {i + 1}", stays[i]) for i in chosen]
    return trained(train, settings, validation, [timed(f"test {i}", x) for i, x in enumerate(test)]).model


def draw(model: Model, x: Samples, horizon: int, path: Path) -> None:
    """One stay: what came, and what was said of it `horizon` seconds before, with 90 %."""
    plt = plotting()
    n, y = len(CHANNELS), answers(model, x)
    figure, axes = plt.subplots(2, 2, figsize=(8, 4), sharex=True)
    t = np.arange(len(x))[BEGIN + horizon :]
    for k, axis in enumerate(axes.flat):
        said, wide = y[BEGIN:-horizon, k], 1.645 * y[BEGIN:-horizon, n + k]
        axis.fill_between(t, said - wide, said + wide, color="tab:blue", alpha=0.25, lw=0)
        axis.plot(t, said, color="tab:blue", lw=0.8)
        axis.plot(t, x[BEGIN + horizon :, k], color="k", lw=0.8)
        axis.set_title(f"{CHANNELS[k]} ({UNITS[k]})", loc="left", fontsize=9)
    for axis in axes[1]:
        axis.set_xlabel("s")
    save(figure, path)


def main() -> None:
    args = arguments(__doc__)
    folder = data_dir(args.data, "vitals")
    stays = [read(path) for path in sorted(folder.glob("bidmc_*.csv"))]
    train, test = stays[:20], stays[20:]
    if args.quick:
        train, test = train[:5], test[:1]
    gaps = np.random.default_rng(1)
    holed = [blanked(x, gaps, 8) for x in test]
    reports, models = [], []
    for horizon in HORIZONS[:1] if args.quick else HORIZONS:
        model = learn(train, test, horizon, args.quick, args.seed)
        models.append(model)
        report: dict[str, Any] = {"horizon_s": horizon}
        for name, stay in (("as recorded", test), ("with gaps", holed)):
            found: dict[str, Any] = {"network": of_network(model, stay, horizon)}
            for title, points in (("last value", last_value), ("adaptive model", adaptive)):
                both = of_points(points, train, stay, horizon)
                found |= {f"{title}, {how} spread": both[how] for how in both}
            report[name] = found
        reports.append(report)
    for name in ("as recorded", "with gaps"):
        rows = [
            [f"{r['horizon_s']} s", title, f"{m['nll']:.3f}", f"{m['mae']:.3f}", f"{m['within_90']:.0%}"]
            + [f"{m['nll_each'][c]:.2f} / {m['mae_each'][c]:.2f}" for c in CHANNELS]
            for r in reports
            for title, m in r[name].items()
        ]
        print(f"\n{name}\n\n{table(['ahead', '', 'NLL', 'MAE', 'in 90 %', *CHANNELS], rows)}")
    write(args, {"horizons": reports}, models[0])
    if args.figure:
        draw(
            models[-2 if len(models) > 1 else 0],
            test[0],
            reports[-2 if len(models) > 1 else 0]["horizon_s"],
            args.figure,
        )


if __name__ == "__main__":
    main()
