"""A ward of bedside monitors: heart rate, oxygen saturation, respiration rate and mean arterial pressure.

A patient is a handful of slow random drifts tied together the way a body ties them:

- breathing modulates heart rate (respiratory sinus arrhythmia) and pressure;
- pressure carries the 0.1 Hz vasomotor wave (Mayer wave);
- the baroreflex lowers heart rate when pressure rises: some 10 ms of beat interval for 1 mmHg at rest:
  0.9 beats/min for 1 mmHg at 75 beats/min; the ill have less (La Rovere et al. 1998,
  doi:10.1016/S0140-6736(97)11144-8), so half of it here;
- saturation follows ventilation by half a minute.

A monitor then averages over some seconds and shows whole numbers once a second, now and then none at all.
Values are in the ranges of adult resting patients; they are meant to look right, not to be physiology.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamrnn.errors import ConfigError

from .faults import Kind, Placed, schedule
from .feed import Feed, merge
from .processes import Signal, average, lag, ornstein_uhlenbeck, ramp

__all__ = ["CHANNELS", "EXTRA", "KINDS", "UNITS", "ward"]

CHANNELS = ("hr", "spo2", "resp", "abp")
UNITS = ("/min", "%", "/min", "mmHg")

EXTRA = {"pulse": "/min"}
"""What a monitor can show besides: the heart's rate as the finger's sensor counts it, electrodes or not."""

DESATURATION = Kind("desaturation", 90.0, 150.0, ("spo2",))
TACHYCARDIA = Kind("tachycardia", 60.0, 150.0, ("hr",))
ECG_LEAD_OFF = Kind("lead-off", 40.0, 90.0, ("hr", "resp"))
LINE_OPEN = Kind("lead-off", 40.0, 90.0, ("abp",))
DRIFT = Kind("drift", 180.0, 300.0, ("abp",))

KINDS = (DESATURATION, TACHYCARDIA, ECG_LEAD_OFF, DRIFT, DESATURATION, TACHYCARDIA, LINE_OPEN, DRIFT)
"""The order of faults; a lead-off is electrodes as often as it is the arterial line."""

FAULT_EVERY = 900.0
"""Seconds of a bed's time to one fault: far too often for a ward, right for twenty minutes of looking."""

DROPOUT = 0.001
"""Share of readings that a monitor leaves out for no reason."""


def ward(
    beds: int = 12,
    seconds: float = 1200.0,
    seed: int = 0,
    calm: float = 300.0,
    channels: Sequence[str] = CHANNELS,
) -> Feed:
    """`seconds` of a ward, a sample a second and bed, each bed a fraction of a second after the one before.

    Channels are hr (beats/min), spo2 (%), resp (breaths/min) and abp (mean arterial pressure, mmHg), or those of
    `channels`, which may have pulse too (beats/min); faults of others are left out. No fault begins in the first
    `calm` seconds. Raises ConfigError for a channel that there is not.

    >>> feed = ward(beds=3, seconds=900, seed=7)
    >>> feed.faults[0].kind, feed.faults[0].stream
    ('desaturation', 'ward/bed02')
    """
    n = int(seconds)
    clock = np.arange(n, dtype=np.float64)
    streams = tuple(f"ward/bed{bed + 1:02d}" for bed in range(beds))
    rng = np.random.default_rng([seed, 0])
    units = {**dict(zip(CHANNELS, UNITS, strict=True)), **EXTRA}
    unknown = [name for name in channels if name not in units]
    if unknown or not channels or len(set(channels)) < len(channels):
        raise ConfigError(f"the ward shows {', '.join(units)}, each once; channels is {', '.join(channels) or 'empty'}")
    placed = schedule(rng, KINDS, streams=beds, seconds=seconds, calm=calm, every=FAULT_EVERY)
    placed = [p for p in placed if set(p.kind.channels) & set(channels)]
    columns = [(*CHANNELS, *EXTRA).index(name) for name in channels]
    parts = []
    for bed in range(beds):
        mine = [p for p in placed if p.stream == bed]
        seconds_of_bed = clock + bed / beds
        readings = _monitor(np.random.default_rng([seed, 1, bed]), seconds_of_bed, mine)
        parts.append((seconds_of_bed, readings[:, columns]))
    return merge(tuple(channels), tuple(units[name] for name in channels), streams, parts, placed)


def _monitor(rng: np.random.Generator, clock: Signal, faults: list[Placed]) -> Signal:
    """What one bed's monitor shows, `(n, 5)`: CHANNELS, and the pulse."""
    hr, spo2, resp, abp = _patient(rng, clock, faults)
    shown = np.stack(
        [
            average(hr, 8) + rng.normal(0.0, 0.4, len(clock)),
            np.minimum(average(spo2, 8) + rng.normal(0.0, 0.2, len(clock)), 100.0),
            average(resp, 12) + rng.normal(0.0, 0.4, len(clock)),
            average(abp, 4) + rng.normal(0.0, 0.5, len(clock)),
        ],
        axis=1,
    )
    for fault in faults:
        _break_sensor(rng, clock, fault, shown)
    shown = np.maximum(np.rint(shown), 0.0)
    shown[rng.random(shown.shape) < DROPOUT] = np.nan
    # The last of the random numbers, so that a ward without a pulse is what it was.
    pulse = np.rint(average(hr, 10) + rng.normal(0.0, 0.4, len(clock)))
    pulse[rng.random(len(clock)) < DROPOUT] = np.nan
    return np.column_stack([shown, pulse])


def _patient(rng: np.random.Generator, clock: Signal, faults: list[Placed]) -> tuple[Signal, Signal, Signal, Signal]:
    """Heart rate, saturation, respiration rate and mean pressure as they are in the body."""
    n = len(clock)
    resp_rest = rng.uniform(13.0, 19.0)
    resp = resp_rest + ornstein_uhlenbeck(rng, n, 1.0, 120.0, 1.0)
    hr_rest, abp_rest = rng.uniform(64.0, 92.0), rng.uniform(72.0, 96.0)
    spo2_rest = rng.uniform(95.5, 98.5)
    exertion = np.zeros(n)
    hypoxia = np.zeros(n)
    for fault in faults:
        if fault.kind is DESATURATION:
            depth = rng.uniform(8.0, 14.0)
            hypoxia += depth * ramp(clock, fault.start, fault.end, 25.0, 20.0)
        elif fault.kind is TACHYCARDIA:
            exertion += rng.uniform(40.0, 60.0) * ramp(clock, fault.start, fault.end, 4.0, 10.0)
    resp = resp + 0.3 * lag(hypoxia, 1.0, 15.0)
    breath = np.sin(2.0 * np.pi * np.cumsum(resp) / 60.0)
    mayer = np.sin(2.0 * np.pi * 0.1 * clock + rng.uniform(0.0, 6.28))
    wave = 1.0 + ornstein_uhlenbeck(rng, n, 1.0, 60.0, 0.3)
    pressure = ornstein_uhlenbeck(rng, n, 1.0, 180.0, 3.0) + 1.5 * breath + 1.5 * wave * mayer - 0.2 * exertion
    hr = hr_rest + ornstein_uhlenbeck(rng, n, 1.0, 300.0, 2.5) + rng.uniform(1.0, 4.0) * breath
    hr += exertion + 0.8 * lag(hypoxia, 1.0, 15.0) - 0.45 * lag(pressure + 0.2 * exertion, 1.0, 3.0)
    ventilation = lag(resp - resp_rest, 1.0, 30.0)
    spo2 = spo2_rest + ornstein_uhlenbeck(rng, n, 1.0, 240.0, 0.4) + 0.15 * ventilation - hypoxia
    return hr, spo2, resp, abp_rest + pressure


def _break_sensor(rng: np.random.Generator, clock: Signal, fault: Placed, shown: Signal) -> None:
    """What a sensor's fault does to the readings `(n, 4)`, in place."""
    during = (clock >= fault.start) & (clock < fault.end)
    if fault.kind is ECG_LEAD_OFF:
        # A loosening electrode is counted as beats and breaths for some seconds before the monitor gives up.
        loosening = during & (clock < fault.start + 6.0)
        shown[loosening, 0] += rng.uniform(25.0, 90.0, int(loosening.sum()))
        shown[loosening, 2] += rng.uniform(8.0, 25.0, int(loosening.sum()))
        gone = during & ~loosening
        shown[gone, 0] = shown[gone, 2] = np.nan
    elif fault.kind is LINE_OPEN:
        # A transducer open to the room reads the pressure of the room: zero.
        shown[during, 3] = rng.normal(0.0, 0.6, int(during.sum()))
    elif fault.kind is DRIFT:
        slope = rng.choice([-1.0, 1.0]) * rng.uniform(0.12, 0.2)
        shown[during, 3] += slope * (clock[during] - fault.start)
