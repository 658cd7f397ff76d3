"""A streaming classifier of ventricular beats: 0.4 s after each beat it has decided.

    python examples/train/ecg.py --figure docs/models/ecg.png --json ecg.json

22 half hours of two-lead ECG at 360 Hz (`../shared/data/ecg`, the records of set DS1 of the MIT-BIH Arrhythmia
Database). Every second record is for training and the others are the test, and then the other way round, so that each
patient is tested once by a network that never saw him. Of the 22 only 109 and 207 have a left bundle branch block, and
both would fall into the same half: 108 and 109 are exchanged. A quarter of the training patients choose when to stop.

The network sees 22.5 steps a second: each is four samples at 90 Hz of both leads, high-passed at 0.5 Hz and divided by
their running deviation. `Front` does this from a live signal, with nothing of the future. A step that ends at most 0.4
s after a beat is asked for the probability that the beat was ventricular (V); every other beat is a negative, fusion
beats and ventricular escapes too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from common import Floats, answers, arguments, at_specificity, data_dir, plotting, save, table, trained, write

from streamrnn import Model
from streamrnn.train import Recording, Settings
from streamrnn.train.measures import auroc

RATE = 360
"""Samples a second of the recordings."""
MEAN_OF = 4
"""Samples that are averaged to one, at 90 Hz."""
PER_STEP = 4
"""Such averages of each lead in a step."""
STEP = MEAN_OF * PER_STEP
DELAY = 0.4
"""Seconds after a beat at which it must have been decided."""
LABELLED = 3
"""Steps up to the decision that learn the label."""
PIECE = 60 * RATE // STEP
FEATURES = tuple(f"lead{lead}_{k}" for k in range(PER_STEP) for lead in (1, 2))

Steps = npt.NDArray[np.float32]


class Front:
    """From a live signal to the network's steps: no sample is looked at before its time.

    Its state is a few numbers a lead: the last average and the output of the high-pass (first order, 0.5 Hz), and the
    running mean square over 20 s, which begins at (0.3 mV)^2.
    """

    def __init__(self) -> None:
        fs = RATE / MEAN_OF
        self._pole = float(np.exp(-2 * np.pi * 0.5 / fs))
        self._keep = float(np.exp(-1 / (20 * fs)))
        self._last: Floats | None = None
        self._out = np.zeros(2)
        self._square = np.full(2, 0.3**2)

    def step(self, mv: Floats) -> Steps:
        """The step that 16 samples of both leads, (16, 2) in mV, make: float32 (8,)."""
        out = []
        for x in mv.reshape(PER_STEP, MEAN_OF, 2).mean(1):
            before = x if self._last is None else self._last
            self._out = self._pole * self._out + (1 + self._pole) / 2 * (x - before)
            self._last = x
            # One wild sample must not make the scale blind: it counts for 2 mV.
            self._square = self._keep * self._square + (1 - self._keep) * np.minimum(self._out**2, 4)
            out.append(np.clip(self._out / np.sqrt(np.maximum(self._square, 1e-4)), -8, 8))
        return np.concatenate(out).astype(np.float32)


@dataclass(frozen=True)
class Record:
    """One patient: the steps, float32 (n, 8); where the beats are, in steps, and what they are."""

    name: str
    x: Steps
    beat: Floats
    symbol: npt.NDArray[np.str_]

    def decisions(self) -> npt.NDArray[np.int64]:
        """The last step that ends at most DELAY after each beat; -1 or less where there is none."""
        return np.floor(self.beat + DELAY * RATE / STEP).astype(np.int64) - 1

    def judged(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """The steps at which beats are decided, and whether each is ventricular."""
        at = self.decisions()
        ok = (at >= 0) & (at < len(self.x))
        return at[ok], self.symbol[ok] == "V"

    def recording(self, start: int = 0) -> Recording:
        target = np.full(len(self.x), -1, np.int64)
        at, ventricular = self.judged()
        for back in range(LABELLED):
            target[np.maximum(at - back, 0)] = ventricular
        return Recording(self.name, self.x, target=target, start=start)

    def part(self, begin: int, end: int) -> Record:
        inside = (self.beat >= begin) & (self.beat < end)
        return Record(self.name, self.x[begin:end], self.beat[inside] - begin, self.symbol[inside])


def read(path: Path, seconds: float | None = None) -> Record:
    """A record, through the front; the lead MLII is the first."""
    with np.load(path) as file:
        mv = (file["signal"] - file["zero"]) / file["gain"]
        if list(file["lead"]).index("MLII") == 1:
            mv = mv[:, ::-1]
        beat, symbol = file["beat_sample"], file["beat_symbol"]
    n = int(len(mv) if seconds is None else seconds * RATE) // STEP
    front = Front()
    x = np.array([front.step(mv[i * STEP : (i + 1) * STEP]) for i in range(n)])
    there = beat < n * STEP
    return Record(path.stem, x, beat[there] / STEP, symbol[there])


def varied(record: Record, rng: np.random.Generator) -> Record:
    """The same minute of another heart: slower or faster, seen along another axis, larger, noisier, breathing."""
    u = record.x.reshape(-1, 2).astype(np.float64)
    pace = float(np.exp(rng.normal(0, 0.15)))
    n = int(len(u) / pace) // PER_STEP * PER_STEP
    at = np.minimum(np.arange(n) * pace, len(u) - 1.01)
    u = u[at.astype(int)] + (at % 1)[:, None] * (u[at.astype(int) + 1] - u[at.astype(int)])
    angle = rng.normal(0, 0.5)
    u = u @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    u *= np.exp(rng.normal(0, 0.2, (1, 2))) * np.where(rng.random(2) < (0.1, 0.2), -1, 1)
    u += rng.normal(0, 0.1, u.shape)
    seconds = np.arange(n) * MEAN_OF / RATE
    u += rng.normal(0, 0.2) * np.sin(2 * np.pi * rng.uniform(0.1, 0.5) * seconds + rng.uniform(0, 6))[:, None]
    return Record(record.name, u.reshape(n // PER_STEP, -1).astype(np.float32), record.beat / pace, record.symbol)


def halves(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """Every second record by number; 108 and 109 exchanged, so that each half has one of the two with a left bundle
    branch block."""
    names = sorted(record.name for record in records)
    names = [{"108": "109", "109": "108"}.get(name, name) for name in names]
    by = {record.name: record for record in records}
    return [by[name] for name in names[::2] if name in by], [by[name] for name in names[1::2] if name in by]


def learn(records: Sequence[Record], quick: bool, seed: int) -> Model:
    """A network from these patients alone."""
    rng = np.random.default_rng(seed)
    chosen = list(records[3::4]) or list(records[:1])
    rest = [record for record in records if record not in chosen] or list(records)
    train = []
    for record in rest:
        for _ in range(1 if quick else 4):
            for begin in range(0, len(record.x) - PIECE // 2, PIECE):
                piece = varied(record.part(begin, begin + PIECE), rng)
                train.append(piece.recording(start=3 * RATE // STEP))
    settings = Settings(
        head="classify",
        classes=("other", "ventricular"),
        features=FEATURES,
        hidden=8 if quick else 32,
        chunk=340,
        piece=0,
        batch=32,
        epochs=1 if quick else 14,
        patience=4,
        rate=4e-3,
        weight_decay=1e-2,
        dropout=0.1,
        seed=seed,
        threads=1,
    )
    return trained(train, settings, [record.recording() for record in chosen]).model


def scores(model: Model, record: Record) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The probability of V at each beat's decision, by the engine, and whether it was one."""
    at, ventricular = record.judged()
    return answers(model, record.x)[at, 1], ventricular


def measures(score: Floats, ventricular: npt.NDArray[np.bool_]) -> dict[str, Any]:
    sensitivity, limit = at_specificity(score, ventricular, 0.95)
    return {
        "beats": len(score),
        "ventricular": int(ventricular.sum()),
        "auroc": auroc(score, ventricular),
        "sensitivity_at_95": sensitivity,
        "threshold_at_95": limit,
    }


def draw(model: Model, record: Record, score: Floats, ventricular: npt.NDArray[np.bool_], path: Path) -> None:
    """The operating curve over all patients, and twelve seconds of one with what the network says as they come."""
    plt = plotting()
    figure, (curve, trace) = plt.subplots(1, 2, figsize=(8, 2.8), width_ratios=(1, 2))
    order = np.argsort(-score)
    curve.plot(np.cumsum(~ventricular[order]) / (~ventricular).sum(), np.cumsum(ventricular[order]) / ventricular.sum())
    curve.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(0, 0.3), ylim=(0.5, 1.005))
    first = int(record.judged()[0][np.flatnonzero(record.judged()[1])[0]]) - 90
    part = slice(max(first, 0), max(first, 0) + 12 * RATE // STEP)
    t = np.arange(len(record.x)) * STEP / RATE
    lead = record.x[part].reshape(-1, 2)[:, 0]
    trace.plot(t[part][0] + np.arange(len(lead)) * MEAN_OF / RATE - (STEP - MEAN_OF) / RATE, lead, "k", lw=0.6)
    trace.fill_between(
        t[part], -8 + 6 * answers(model, record.x)[part, 1], -8, step="mid", color="tab:red", alpha=0.6, lw=0
    )
    trace.set(xlabel=f"s of record {record.name}", ylabel="lead 1; below, P(V)")
    save(figure, path)


def main() -> None:
    args = arguments(__doc__)
    files = sorted(data_dir(args.data, "ecg").glob("*.npz"))
    if args.quick:
        files = [path for path in files if path.stem in ("119", "203", "208", "223")]
    records = [read(path, 180 if args.quick else None) for path in files]
    one, other = halves(records)
    rows, report, every = [], {}, []
    model = None
    for name, train, test in (("odd places", one, other), ("even places", other, one)):
        model = learn(train, args.quick, args.seed)
        found = [(record, *scores(model, record)) for record in test]
        every += found
        total = measures(np.concatenate([s for _, s, _ in found]), np.concatenate([v for _, _, v in found]))
        each = {record.name: measures(s, v) for record, s, v in found if 0 < v.sum() < len(v)}
        report[f"trained on {name}"] = {**total, "records": each}
        rows.append([name, str(len(test)), f"{total['beats']:,}", f"{total['ventricular']:,}"])
        rows[-1] += [f"{total['auroc']:.3f}", f"{total['sensitivity_at_95']:.1%}"]
        if args.quick:
            break
    score, ventricular = np.concatenate([s for _, s, _ in every]), np.concatenate([v for _, _, v in every])
    report["all"] = total = measures(score, ventricular)
    rows.append(["both", str(len(every)), f"{total['beats']:,}", f"{total['ventricular']:,}"])
    rows[-1] += [f"{total['auroc']:.3f}", f"{total['sensitivity_at_95']:.1%}"]
    print(table(["trained on", "test patients", "beats", "V", "AUROC", "sensitivity at 95 %"], rows))
    names = [(n, m) for part in report.values() for n, m in part.get("records", {}).items()]
    print("AUROC by patient: " + ", ".join(f"{n} {m['auroc']:.3f} ({m['ventricular']} V)" for n, m in sorted(names)))
    write(args, report, model)
    if args.figure and model is not None:
        draw(model, next(r for r, _, v in every[::-1] if v.any()), score, ventricular, args.figure)


if __name__ == "__main__":
    main()
