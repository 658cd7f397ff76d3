"""How well does the adaptive model find anomalies? The NAB development series, several seeds, beside no model at all.

    python benchmarks/detection.py --seeds 5 --json detection.json

Every detector is causal: it sees a series sample by sample, and nothing of it in advance. Three readings:

- default: the product's flags as they are. An alarm is the sample at which a flag is raised.
- chosen: alarms of a threshold that was chosen on these very series, one for all of them, separately for each profile.
  Rows above it that follow each other within `hold` samples are one alarm.
- rows: NAB's own reading, where each row above the chosen threshold is an alarm.

"Detector without forecast" is the product's detector with its residual switched off, so that the rest is what the
network itself adds. The no-model rows score how far a value (and its slow average) lies outside everything seen before,
in widths of what was seen; their chosen threshold gets the best of hold 1, 20, 100 and none. None of these series is a
test set: the settings of the product, too, were chosen by looking at them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nab
import numpy as np
import numpy.typing as npt

from streamrnn import Engine, Model
from streamrnn.kernels.score import SETTINGS

Scores = list[npt.NDArray[np.float64]]

BLOCK = 4096
"""Rows given to the engine at a time."""

AVERAGE = 0.04
"""Weight of a new sample in the no-model detector's slow average."""


def check() -> None:
    """Stop where the scorer is wrong: silence is 0, and an alarm on the first row of each window is 100."""
    made = [nab.Series("made", np.arange(400), np.zeros(400), ((100, 139), (300, 319)))]
    for profile in (nab.STANDARD, nab.LOW_FP):
        found = nab.score(made, [[]], profile), nab.score(made, [[100, 300]], profile)
        if found[0] != 0.0 or abs(found[1] - 100.0) > 1e-9:
            sys.exit(f"the scorer is broken: silence {found[0]}, perfect {found[1]}; they must be 0 and 100")


def envelope(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far each value lies outside all before it, in widths of what they span; 0 inside."""
    out = np.zeros(len(x))
    low = high = x[0]
    for i, value in enumerate(x.tolist()):
        out[i] = max(value - high, low - value, 0.0) / (high - low) if high > low else 0.0
        low, high = min(low, value), max(high, value)
    return out


def average(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The exponential average, a plain one until it has enough samples."""
    out = np.zeros(len(x))
    mean = 0.0
    for i, value in enumerate(x.tolist()):
        mean += max(AVERAGE, 1.0 / (i + 1)) * (value - mean)
        out[i] = mean
    return out


def episodes(scores: npt.NDArray[np.floating[Any]], threshold: float, hold: int) -> npt.NDArray[np.int64]:
    """Rows at which an alarm is raised: at or above the threshold, and no other such row within `hold` before."""
    rows = np.flatnonzero(scores >= threshold)
    return rows[np.diff(rows, prepend=-hold - 1) > hold]


def chosen(series: Sequence[nab.Series], scores: Scores, profile: nab.Profile, hold: int) -> float:
    """The best score that one threshold over all series can reach, an episode counting once."""
    positive = np.concatenate([s[s > 0] for s in scores])
    grid = np.unique(np.quantile(positive, np.linspace(0.0, 1.0, 200)))
    return max(0.0, *(nab.score(series, [episodes(s, float(t), hold) for s in scores], profile) for t in grid))


def run(series: nab.Series, model: Model) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """The series through the engine: each row's score, and the rows at which a flag was raised."""
    engine = Engine(model, capacity=1)
    scores, edges = [], []
    for start in range(0, len(series.x), BLOCK):
        part = slice(start, start + BLOCK)
        x = series.x[part, None].astype(np.float32)
        out = engine.step_many([series.name] * len(x), x, series.t[part])
        scores.append(out.score)
        edges.append(out.edge)
    return np.concatenate(scores).astype(np.float64), np.flatnonzero(np.concatenate(edges) == 1)


def judge_model(series: Sequence[nab.Series], model: Model) -> dict[str, float]:
    results = [run(s, model) for s in series]
    scores = [score for score, _ in results]
    flags = [rows for _, rows in results]
    hold = int(SETTINGS["hold"])
    found = {"alarms": float(sum(len(rows) for rows in flags))}
    for profile in (nab.STANDARD, nab.LOW_FP):
        found[f"default {profile.name}"] = nab.score(series, flags, profile)
        found[f"chosen {profile.name}"] = chosen(series, scores, profile, hold)
        found[f"rows {profile.name}"] = nab.best_threshold(series, scores, profile)[1]
    return found


def judge_plain(series: Sequence[nab.Series], detect: Callable[[npt.NDArray[np.float64]], Any]) -> dict[str, float]:
    scores = [detect(s.x) for s in series]
    found = {}
    for profile in (nab.STANDARD, nab.LOW_FP):
        rows = nab.best_threshold(series, scores, profile)[1]
        found[f"rows {profile.name}"] = rows
        found[f"chosen {profile.name}"] = max(rows, *(chosen(series, scores, profile, hold) for hold in (1, 20, 100)))
    return found


def spread(runs: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation of each figure over the seeds."""
    return {
        key: {
            "mean": statistics.fmean(r[key] for r in runs),
            "sd": statistics.stdev(r[key] for r in runs) if len(runs) > 1 else 0.0,
        }
        for key in runs[0]
    }


COLUMNS = ("default standard", "default low-FP", "chosen standard", "chosen low-FP", "rows standard", "rows low-FP")


def line(name: str, found: dict[str, float]) -> str:
    return f"{name:<28}" + "".join(f"{found[c]:>10.1f}" if c in found else f"{'-':>10}" for c in COLUMNS)


def show(report: dict[str, Any]) -> None:
    print(f"{'':<28}{'default':>20}{'chosen':>20}{'rows':>20}")
    print(f"{'':<28}" + f"{'standard':>10}{'low-FP':>10}" * 3)
    for name, found in report["no model"].items():
        print(line(name, found))
    print(line("detector without forecast", report["no forecast"]))
    for seed, found in report["seeds"].items():
        print(line(f"adaptive, seed {seed}", found))
    total = report["adaptive"]
    print(line("adaptive, mean", {c: total[c]["mean"] for c in COLUMNS}))
    print(line("          sd", {c: total[c]["sd"] for c in COLUMNS}))
    base = report["no model"]["envelope"]
    for profile in ("standard", "low-FP"):
        ours, default = (total[f"{how} {profile}"]["mean"] for how in ("chosen", "default"))
        print(
            f"{profile}: {ours - base[f'chosen {profile}']:+.1f} over the envelope with a chosen threshold, "
            f"{default - base[f'chosen {profile}']:+.1f} with the product's flags"
        )
    print(f"alarms raised by the product's flags: {total['alarms']['mean']:.0f} in {report['samples']} samples")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="number of reservoirs, seeds 0, 1, ... (default 5)")
    parser.add_argument("--hidden", type=int, default=64, help="units of the reservoir (default 64)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder that holds nab/ (default: STREAMRNN_DATA)")
    args = parser.parse_args()
    if args.seeds < 1:
        parser.error(f"--seeds is {args.seeds}; it must be at least 1")
    check()
    try:
        series = nab.load(args.data)
    except FileNotFoundError as error:
        parser.error(f"no NAB series: {error.filename} is missing; give --data or set STREAMRNN_DATA")
    report: dict[str, Any] = {
        "series": len(series),
        "samples": sum(len(s.x) for s in series),
        "windows": sum(len(s.windows) for s in series),
        "no model": {
            "envelope": judge_plain(series, envelope),
            "envelope and level": judge_plain(series, lambda x: np.maximum(envelope(x), envelope(average(x)))),
        },
        "no forecast": judge_model(series, Model.adaptive(n_in=1, hidden=1, detector={"residual": 0.0})),
        "seeds": {
            seed: judge_model(series, Model.adaptive(n_in=1, hidden=args.hidden, seed=seed))
            for seed in range(args.seeds)
        },
    }
    report["adaptive"] = spread(list(report["seeds"].values()))
    show(report)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
