"""Where will the mid price be in 100 ms to 1 s? From best quotes and trades, beside a linear model and moving averages.

    python examples/train/ticks.py --figure docs/models/ticks.png --json ticks.json

Four instruments, six minutes each (`../shared/data/ticks`). Each quote and each trade is a step of the network, which
says how likely the mid price is to be lower, the same or higher after the horizon. The first 60 % of the time train,
the next 15 % choose the network and its temperature, the last 25 % test; no label reaches across a cut. The table has
the log loss and the Brier score, where less is better, and AUROC of up against down where it moved.

Nothing here is about profit: it leaves out fees, delays, queues and what an order of one's own does to the price, and
six minutes of one day say nothing about another.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from common import Floats, answers, arguments, data_dir, plotting, save, table, trained, write

from streamrnn import Model
from streamrnn.train import Recording, Settings
from streamrnn.train.measures import auroc

HORIZONS = (0.1, 0.5, 1.0)
"""Seconds."""

CLASSES = ("down", "same", "up")
FEATURES = ("wait", "spread", "imbalance", "bid_qty", "ask_qty", "move", "flow", "is_trade")
SPANS = (8, 64, 512)
"""Events that the linear model's moving averages reach back."""

PARTS = (0.6, 0.75)
"""Where validation and test begin, as shares of the time."""

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tape:
    """One instrument: what is seen at each event, float32 (n, 8), its time in ns and its mid price in ticks."""

    name: str
    x: npt.NDArray[np.float32]
    t: npt.NDArray[np.int64]
    mid: Floats

    def labels(self, seconds: float) -> Labels:
        """0 down, 1 same, 2 up, int64 (n,): the last mid at or before t + horizon; -1 where the tape ends before."""
        ahead = self.t + int(seconds * 1e9)
        later = self.mid[np.searchsorted(self.t, ahead, "right") - 1]
        return np.where(ahead <= self.t[-1], 1 + np.sign(later - self.mid), -1).astype(np.int64)


def read(path: Path, most: int | None = None) -> Tape:
    """A file's events in order, at most so many; before the first quote there is nothing to say."""
    t: list[int] = []
    rows: list[tuple[float, ...]] = []  # bid, bid_qty, ask, ask_qty, signed trade
    quote: tuple[float, ...] | None = None
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            flow = 0.0
            if row["kind"] == "quote":
                quote = tuple(float(row[k]) for k in ("bid", "bid_qty", "ask", "ask_qty"))
            else:
                flow = float(row["qty"]) * (-1 if row["buyer_is_maker"] == "1" else 1)
            if quote is not None:
                t.append(int(row["local_ns"]))
                rows.append((*quote, flow))
            if most and len(t) == most:
                break
    bid, bid_qty, ask, ask_qty, flow_ = np.array(rows).T
    at = np.maximum.accumulate(np.array(t, np.int64))
    prices = np.unique(np.round(np.concatenate([bid, ask]), 8))
    tick = float(np.diff(prices).min())
    mid = (bid + ask) / 2 / tick
    wait = np.log10(np.diff(at, prepend=at[0]) / 1e9 + 1e-4)
    move = np.diff(mid, prepend=mid[0])
    usual = max(float(np.median(bid_qty[: len(bid_qty) // 2])), 1e-9)  # a unit, not a statistic of what is forecast
    x = np.column_stack(
        [
            wait,
            np.log1p((ask - bid) / tick),
            (bid_qty - ask_qty) / (bid_qty + ask_qty),
            np.log(bid_qty / usual + 1e-3),
            np.log(ask_qty / usual + 1e-3),
            np.sign(move) * np.log1p(np.abs(move)),
            np.sign(flow_) * np.log1p(np.abs(flow_) / usual),
            flow_ != 0,
        ]
    )
    return Tape(path.name.rsplit("_", 1)[0], x.astype(np.float32), at, mid)


def parts(tape: Tape, seconds: float) -> list[Recording]:
    """Training, validation and test of one instrument. The latter two begin with samples that only warm up the state,
    and labels that would look across a cut are left out."""
    label = tape.labels(seconds)
    span = tape.t[-1] - tape.t[0]
    cuts = [0, *(int(np.searchsorted(tape.t, tape.t[0] + share * span)) for share in PARTS), len(tape.t)]
    out = []
    for a, b in pairwise(cuts):
        warm = min(a, 2000)
        target = label[a - warm : b].copy()
        target[tape.t[a - warm : b] + int(seconds * 1e9) > tape.t[b - 1]] = -1
        out.append(Recording(tape.name, tape.x[a - warm : b], target=target, start=warm))
    return out


def averages(x: npt.NDArray[np.float32]) -> Floats:
    """Inputs of the linear model: the event, and its moving averages over SPANS, float64 (n, 32)."""
    out = [x.astype(np.float64)]
    for span in SPANS:
        mean, kept = np.zeros(x.shape[1]), np.empty(x.shape)
        for i, row in enumerate(x):
            mean += (row - mean) / span
            kept[i] = mean
        out.append(kept)
    return np.concatenate(out, 1)


def trends(tape: Recording) -> Floats:
    """Inputs of the moving-average model: how far the mid is from its averages over SPANS, float64 (n, 3)."""
    move = tape.x[:, FEATURES.index("move")].astype(np.float64)
    mid = np.cumsum(np.sign(move) * np.expm1(np.abs(move)))
    out = []
    for span in SPANS:
        mean, kept = mid[0], np.empty(len(mid))
        for i, value in enumerate(mid):
            mean += (value - mean) / span
            kept[i] = value - mean
        out.append(kept)
    return np.column_stack(out)


class Logistic:
    """Multinomial logistic regression, its ridge chosen on validation data."""

    def __init__(self, train: tuple[Floats, Labels], validation: tuple[Floats, Labels]) -> None:
        self._mean, self._scale = train[0].mean(0), train[0].std(0) + 1e-9
        fits = [self._fit(*train, ridge) for ridge in (1e-5, 1e-4, 1e-3, 1e-2)]
        self._weights = min(fits, key=lambda w: log_loss(self._apply(w, validation[0]), validation[1]))

    def _fit(self, x: Floats, label: Labels, ridge: float) -> Floats:
        import torch  # noqa: PLC0415 - the extra `train`

        u, goal = torch.from_numpy((x - self._mean) / self._scale), torch.from_numpy(label)
        w = torch.zeros(x.shape[1] + 1, 3, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.LBFGS([w], max_iter=100, line_search_fn="strong_wolfe")

        def closure() -> Any:
            optimiser.zero_grad()
            loss = torch.nn.functional.cross_entropy(u @ w[1:] + w[0], goal) + ridge * (w[1:] ** 2).sum()
            loss.backward()
            return loss

        optimiser.step(closure)
        return np.asarray(w.detach().numpy())

    def _apply(self, w: Floats, x: Floats) -> Floats:
        z = (x - self._mean) / self._scale @ w[1:] + w[0]
        e = np.exp(z - z.max(1, keepdims=True))
        return np.asarray(e / e.sum(1, keepdims=True))

    def __call__(self, x: Floats) -> Floats:
        """Probabilities (n, 3)."""
        return self._apply(self._weights, x)


def log_loss(p: Floats, label: Labels) -> float:
    return float(-np.log(np.maximum(p[np.arange(len(label)), label], 1e-12)).mean())


def brier(p: Floats, label: Labels) -> float:
    """Mean over samples of the squared distance from the probabilities to what happened (0 to 2)."""
    return float(((p - np.eye(3)[label]) ** 2).sum(1).mean())


def tempered(model: Model, validation: Sequence[Recording]) -> Model:
    """The model with its readout divided by the temperature that validation data like best (Guo et al. 2017)."""
    logs = [np.log(np.maximum(answers(model, r.x), 1e-30))[counted(r)] for r in validation]
    z, label = np.concatenate(logs), np.concatenate([targets(r) for r in validation])

    def loss(temperature: float) -> float:
        p = np.exp(z / temperature)
        return log_loss(p / p.sum(1, keepdims=True), label)

    best = min(np.geomspace(0.5, 3.0, 61).tolist(), key=loss)
    arrays = {k: v / np.float32(best) if k.startswith("readout") else v for k, v in model.arrays.items()}
    return Model(replace(model.spec, provenance={**model.spec.provenance, "temperature": round(best, 3)}), arrays)


def counted(r: Recording) -> npt.NDArray[np.bool_]:
    assert r.target is not None
    return np.asarray((r.target >= 0) & (np.arange(len(r)) >= r.start))


def targets(r: Recording) -> Labels:
    assert r.target is not None
    return r.target[counted(r)]


def together(recordings: Sequence[Recording], see: Any) -> tuple[Floats, Labels]:
    """What `see` makes of each recording, and the labels, where they count."""
    return (
        np.concatenate([see(r)[counted(r)] for r in recordings]),
        np.concatenate([targets(r) for r in recordings]),
    )


def measures(p: Floats, label: Labels) -> dict[str, float]:
    moved = label != 1
    return {
        "log_loss": log_loss(p, label),
        "brier": brier(p, label),
        "auroc": auroc((p[:, 2] - p[:, 0])[moved], label[moved] == 2),
    }


def gain(p: Floats, q: Floats, label: Labels, rng: np.random.Generator) -> list[float]:
    """By how much less p's log loss is than q's, in a hundred blocks drawn anew: the 5 % and the 95 % quantile."""
    i = np.arange(len(label))
    each = np.log(np.maximum(p[i, label], 1e-12)) - np.log(np.maximum(q[i, label], 1e-12))
    blocks = np.array([b.mean() for b in np.array_split(each, 100)])
    drawn = rng.choice(blocks, (2000, len(blocks))).mean(1)
    return [float(v) for v in np.quantile(drawn, [0.05, 0.95])]


def prove(tapes: Sequence[Tape], seconds: float, quick: bool, seed: int) -> tuple[dict[str, Any], Model]:
    """Everything for one horizon: measures of each model on the test part, and the network."""
    train, validation, test = (list(p) for p in zip(*(parts(tape, seconds) for tape in tapes), strict=True))
    settings = Settings(
        head="classify",
        hidden=8 if quick else 24,
        features=FEATURES,
        classes=CLASSES,
        chunk=128,
        piece=1024,
        batch=32,
        burn_in=32,
        epochs=2 if quick else 15,
        patience=4,
        rate=3e-3,
        weight_decay=1e-2,
        dropout=0.2,
        seed=seed,
        threads=1,
    )
    model = tempered(trained(train, settings, validation).model, validation)
    seen = {"linear": lambda r: averages(r.x), "moving averages": trends}
    made = {"network": together(test, lambda r: answers(model, r.x))[0]}
    label = together(test, lambda r: r.x)[1]
    for name, see in seen.items():
        fitted = Logistic(together(train, see), together(validation, see))
        made[name] = fitted(together(test, see)[0])
    known = together(train, lambda r: r.x)[1]
    share = np.bincount(known, minlength=3) / len(known)
    made["shares of the training part"] = np.broadcast_to(share, (len(label), 3)).astype(np.float64)
    report: dict[str, Any] = {
        "horizon_s": seconds,
        "test_events": len(label),
        "shares": (np.bincount(label, minlength=3) / len(label)).tolist(),
        "temperature": model.spec.provenance["temperature"],
        "models": {name: measures(p, label) for name, p in made.items()},
        "log_loss_gain_over_linear": gain(made["network"], made["linear"], label, np.random.default_rng(0)),
        "reliability": {name: reliability(made[name], label) for name in ("network", "linear")},
    }
    return report, model


def reliability(p: Floats, label: Labels) -> list[tuple[float, float, int]]:
    """(mean probability, share that happened, how many) of up and down together, in bins of a tenth."""
    said = np.concatenate([p[:, 0], p[:, 2]])
    came = np.concatenate([label == 0, label == 2])
    which = np.minimum((said * 10).astype(int), 9)
    return [
        (float(said[which == k].mean()), float(came[which == k].mean()), int((which == k).sum()))
        for k in range(10)
        if (which == k).sum() >= 50
    ]


def draw(reports: Sequence[dict[str, Any]], path: Path) -> None:
    """Reliability of each horizon: what came against what was said."""
    plt = plotting()
    figure, axes = plt.subplots(1, len(reports), figsize=(8, 2.9), sharey=True)
    for axis, report in zip(np.atleast_1d(axes), reports, strict=True):
        axis.plot([0, 1], [0, 1], color="0.7", lw=1)
        for name, colour in (("linear", "tab:orange"), ("network", "tab:blue")):
            said, came, _ = zip(*report["reliability"][name], strict=True)
            axis.plot(said, came, "o-", ms=3, lw=1, color=colour, label=name)
        axis.set(title=f"in {report['horizon_s']:g} s", xlabel="probability said")
    np.atleast_1d(axes)[0].set_ylabel("share that came")
    np.atleast_1d(axes)[0].legend(frameon=False)
    save(figure, path)


def main() -> None:
    args = arguments(__doc__)
    folder = data_dir(args.data, "ticks")
    files = sorted(folder.glob("*.csv.gz"))
    tapes = [read(path, 3000 if args.quick else None) for path in (files[:1] if args.quick else files)]
    reports, model = [], None
    for seconds in HORIZONS[:1] if args.quick else HORIZONS:
        report, made = prove(tapes, seconds, args.quick, args.seed)
        model = made if seconds <= 0.5 else model
        reports.append(report)
    rows = [
        [f"{r['horizon_s']:g} s", name, f"{m['log_loss']:.4f}", f"{m['brier']:.4f}", f"{m['auroc']:.3f}"]
        for r in reports
        for name, m in r["models"].items()
    ]
    print(table(["in", "model", "log loss", "Brier", "AUROC up/down"], rows))
    for r in reports:
        low, high = r["log_loss_gain_over_linear"]
        print(f"in {r['horizon_s']:g} s, of {r['test_events']:,} events: {low:.4f} to {high:.4f} nats less than linear")
    write(args, {"horizons": reports}, model)
    if args.figure:
        draw(reports, args.figure)


if __name__ == "__main__":
    main()
