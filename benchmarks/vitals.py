"""How many desaturations does the adaptive model flag on real bedside recordings, and how often does it flag at all?

    python benchmarks/vitals.py --json vitals.json

26 intensive-care stays of eight minutes (heart rate, pulse, respiration, SpO2 at 1 Hz), each one bed. Two questions:

a. Each recording three times over, with SpO2 at 80 for 60 s from second 120, 240 or 360 on (also where it was missing).
   A drop counts as found when a flag whose cause is SpO2 is raised within ten samples, the slowest one being `latest`;
   as hidden when another flag stood as it began, so that no new one could be raised. `stood`: how many samples such a
   flag stood at most where the drop goes on to the recording's end.
b. The recordings as they are: flags raised, for each hour of one bed. Nobody labelled them. A flag may be right.

Beside the product stand its own detector with everything but the value's envelope switched off, and a plain envelope
that knows no model: a value outside all before it, from the product's warm-up on, and further out than `--width` times
what they span; such samples are one alarm where they follow each other within the product's hold time. The recordings
are not part of the project: they are looked for under ../shared/data/vitals, --data or STREAMRNN_DATA.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nab import data_dir

from streamrnn import Engine, Model
from streamrnn.kernels.score import SETTINGS

CHANNELS = ("hr", "pulse", "resp", "spo2")
SPO2 = CHANNELS.index("spo2")
DROP, SECONDS, STARTS, SOON = 80.0, 60, (120, 240, 360), 10
TITLES = ("drops", "found", "hidden", "missed", "latest", "stood", "flags", "an hour")

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Alarms:
    """What a detector said of one recording: `raised` (sample, channel), and whether a flag stood, bool `(n,)`."""

    raised: list[tuple[int, str]]
    up: npt.NDArray[np.bool_]


Detect = Callable[[Samples], Alarms]


def load(folder: Path) -> dict[str, Samples]:
    """Each recording as float32 `(n, 4)`, NaN where it has a gap; FileNotFoundError where there is none."""
    found = {}
    for path in sorted(folder.glob("bidmc_*.csv")):
        with path.open(newline="") as file:
            rows = [[float(row[name] or "nan") for name in CHANNELS] for row in csv.DictReader(file)]
        found[path.stem] = np.array(rows, np.float32)
    if not found:
        raise FileNotFoundError(2, "no recording", str(folder / "bidmc_*.csv"))
    return found


def product(**detector: float) -> Detect:
    """The adaptive model's flags, with these settings of its detector changed."""
    model = Model.adaptive(n_in=len(CHANNELS), features=CHANNELS, detector=detector)

    def detect(x: Samples) -> Alarms:
        out = Engine(model, capacity=1).step_many(["bed"] * len(x), x)
        raised = np.flatnonzero(out.edge == 1).tolist()
        return Alarms([(i, str(out.cause[i]).split(":")[0]) for i in raised], out.flag)

    return detect


def envelope(width: float) -> Detect:
    """A value further than `width` times the span of all before it outside that span."""

    def detect(x: Samples) -> Alarms:
        warmup, hold = int(SETTINGS["warmup"]), int(SETTINGS["hold"])
        low, high = np.nanmin(x[:warmup], 0), np.nanmax(x[:warmup], 0)
        raised, up, last = [], np.zeros(len(x), bool), -hold - 1
        for i in range(warmup, len(x)):
            out = np.maximum(x[i] - high, low - x[i])  # NaN compares as inside
            if (out > width * (high - low)).any():
                if i - last > hold:
                    raised.append((i, CHANNELS[int(np.nanargmax(out > width * (high - low)))]))
                last = i
            up[i] = i - last <= hold
            low, high = np.fmin(low, x[i]), np.fmax(high, x[i])
        return Alarms(raised, up)

    return detect


def dropped(x: Samples, start: int, seconds: int) -> Samples:
    """The recording with SpO2 at DROP for these seconds."""
    x = x.copy()
    x[start : start + seconds, SPO2] = DROP
    return x


def judge(recordings: dict[str, Samples], detect: Detect) -> dict[str, Any]:
    """Drops put in, found, hidden and missed; how long their flags stood; flags an hour where nothing was put in."""
    missed, hidden, delays, stood = [], [], [], []
    for name, x in recordings.items():
        for start in STARTS:
            alarms = detect(dropped(x, start, SECONDS))
            found = [i for i, channel in alarms.raised if start <= i < start + SOON and channel == "spo2"]
            if not found:
                (hidden if alarms.up[start - 1] else missed).append(f"{name} at {start}")
                continue
            delays.append(found[0] - start)
            up = detect(dropped(x, start, len(x))).up[found[0] :]
            if not up.all():  # else the recording ended first
                stood.append(int(np.argmin(up)))
    flags = sum(len(detect(x).raised) for x in recordings.values())
    hours = sum(len(x) for x in recordings.values()) / 3600
    return {
        "drops": len(STARTS) * len(recordings),
        "found": len(delays),
        "hidden": hidden,
        "missed": missed,
        "latest": max(delays, default=None),
        "stood at most": max(stood, default=None),
        "flags": flags,
        "bed-hours": hours,
        "flags per bed-hour": flags / hours,
    }


def _or_dash(samples: int | None) -> str:
    return "-" if samples is None else str(samples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, default=1.0, help="the plain envelope's second margin (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder that holds vitals/ (default: STREAMRNN_DATA)")
    args = parser.parse_args()
    try:
        recordings = load(data_dir(args.data) / "vitals")
    except FileNotFoundError as error:
        parser.error(f"no recordings: {error.filename} is missing; give --data or set STREAMRNN_DATA")
    detectors = {
        "plain envelope, any record": envelope(0.0),
        f"plain envelope, {args.width:g} widths": envelope(args.width),
        "product, value's envelope": product(level=0.0, residual=0.0, missing=0.0),
        "product": product(),
    }
    report = {name: judge(recordings, detect) for name, detect in detectors.items()}
    print(f"{'':<30}" + "".join(f"{title:>8}" for title in TITLES))
    for name, found in report.items():
        print(
            f"{name:<30}{found['drops']:>8}{found['found']:>8}{len(found['hidden']):>8}{len(found['missed']):>8}"
            f"{_or_dash(found['latest']):>8}{_or_dash(found['stood at most']):>8}"
            f"{found['flags']:>8}{found['flags per bed-hour']:>8.1f}"
        )
    for kind in ("hidden", "missed"):
        if report["product"][kind]:
            print(f"{kind} from the product: {', '.join(report['product'][kind])}")
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
