"""Does the adaptive model stay sound for ten million samples of each kind of signal, and does it beat the last value?

    python benchmarks/stability.py [--samples 10_000_000] [--hidden 64] [--json FILE]

Each scenario is one stream of its own, stepped by the same engine. For blocks of a million samples it prints the median
absolute error of the forecast beside that of "the next sample will be like this one", and flags a million samples. The
two are also compared in each chunk of 10,000 samples, by the mean of all errors but the largest hundredth, so that
neither a spike nor a scale decides: `ratio` is the median over the last block's chunks of forecast by last value, and
`worse` the share of chunks in which the forecast is worse by more than a tenth.

It fails where anything is not finite, where the last block's error is far above the first settled block's, where the
ratio is above 1.1, or where more than 15 % of the chunks are worse. The scenario `scales` shows the limit: for some
15,000 samples after a millionfold fall of its scale the forecast is in the old scale's units, and worse.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from streamrnn import Engine, Model

CHUNK = 10_000


def constant(i, rng):
    return np.full(len(i), 97.0)


def zero(i, rng):
    return np.zeros(len(i))


def step_of_a_million(i, rng):
    """0 with unit noise; from sample 50,000 on, a million."""
    return rng.normal(size=len(i)) + 1e6 * (i >= 50_000)


def price(i, rng, at=[60_000.0]):  # noqa: B006  (one walk for the whole run)
    walk = at[0] + np.cumsum(rng.normal(size=len(i)))
    at[0] = walk[-1]
    return walk


def spo2(i, rng):
    """Whole numbers around 97."""
    return np.round(97 + 1.2 * np.sin(i / 900) + 0.4 * rng.normal(size=len(i)))


def noise(i, rng):
    return rng.normal(size=len(i))


def sine(i, rng):
    return 50 * np.sin(2 * np.pi * i / 240) + rng.normal(size=len(i))


def spikes(i, rng):
    """Noise with a wild value of up to 1e30 every few thousand samples."""
    x = rng.normal(size=len(i))
    wild = rng.random(len(i)) < 3e-4
    x[wild] = rng.choice([-1, 1], wild.sum()) * 10.0 ** rng.uniform(2, 30, wild.sum())
    return x


def gaps(i, rng):
    """A sine that is missing half of the time, for thousands of samples at once."""
    x = sine(i, rng)
    x[(i // 5000) % 2 == 1] = np.nan
    return x


def scales(i, rng):
    """A scale that changes a thousandfold every hundred thousand samples."""
    return rng.normal(size=len(i)) * np.where((i // 100_000) % 2 == 0, 1e-3, 1e3)


def typical(errors):
    """The mean of all but the largest hundredth; NaN, where a sample is missing, does not count."""
    found = np.sort(errors[~np.isnan(errors)])
    return float(found[: len(found) - len(found) // 100].mean()) if len(found) else 0.0


def by_last_value(ours, naive, x):
    """The forecast's typical error in units of the last value's; 1 where both are rounding."""
    known = np.abs(x[~np.isnan(x)])
    rounding = 1e-6 * float(np.median(known)) if len(known) else 0.0
    return (typical(ours) + rounding) / (typical(naive) + rounding) if rounding or typical(ours) else 1.0


SCENARIOS = (constant, zero, step_of_a_million, price, spo2, noise, sine, spikes, gaps, scales)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=lambda s: int(s.replace("_", "")), default=10_000_000)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--only", nargs="*", help="names of scenarios")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    chosen = [f for f in SCENARIOS if not args.only or f.__name__ in args.only]
    block = max(CHUNK, min(1_000_000, args.samples // 5 // CHUNK * CHUNK))
    failed, report = [], {}
    for scenario in chosen:
        rng = np.random.default_rng(1)
        engine = Engine(Model.adaptive(1, hidden=args.hidden), capacity=1)
        handle = engine.handles(["s"])
        handles = np.repeat(handle, CHUNK)
        forecast, previous = np.nan, np.nan
        rows, errors, naive, ratios, flags = [], [], [], [], 0
        start = time.perf_counter()
        for a in range(0, args.samples, CHUNK):
            x = scenario(np.arange(a, a + CHUNK), rng).astype(np.float32)
            out = engine.step_many(handles, x[:, None])
            if not (np.isfinite(out.y).all() and np.isfinite(out.score).all()):
                failed.append(f"{scenario.__name__}: not finite after {a} samples")
                break
            y = out.y[:, 0].astype(float)
            errors.append(np.abs(x - np.concatenate([[forecast], y[:-1]])))
            naive.append(np.abs(x - np.concatenate([[previous], x[:-1]])))
            ratios.append(by_last_value(errors[-1], naive[-1], x))
            flags += int((out.edge == 1).sum())
            forecast, previous = y[-1], float(x[-1])
            if (a + CHUNK) % block == 0:
                # Medians: a spike of 1e30 that no one can forecast must not hide the rest.
                row = [float(np.nanmedian(np.concatenate(e))) for e in (errors, naive)] + [flags * 1e6 / block]
                rows.append([*row, float(np.median(ratios)), float(np.mean(np.array(ratios) > 1.1))])
                errors, naive, ratios, flags = [], [], [], 0
        seconds = time.perf_counter() - start
        report[scenario.__name__] = rows
        settled, last = rows[min(1, len(rows) - 1)], rows[-1]
        print(
            f"{scenario.__name__:>18}: median |error| {settled[0]:.4g} in block 2, {last[0]:.4g} in block {len(rows)}; "
            f"last value {last[1]:.4g}; ratio {last[3]:.2f}, worse {last[4]:.0%}; "
            f"flags per million {last[2]:.0f}; {seconds * 1e6 / args.samples:.2f} us each",
            flush=True,
        )
        if last[0] > 2 * settled[0] + 1e-3 * max(1.0, last[1]):
            failed.append(f"{scenario.__name__}: the error grew from {settled[0]:.4g} to {last[0]:.4g}")
        if last[3] > 1.1 or last[4] > 0.15:
            failed.append(
                f"{scenario.__name__}: worse than the last value: ratio {last[3]:.2f}, {last[4]:.0%} of chunks"
            )
    if args.json:
        args.json.write_text(json.dumps({"block": block, "scenarios": report}, indent=2))
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
