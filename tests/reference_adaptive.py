"""Oracles for the adaptive model's parts, in plain NumPy and float64; nothing of streamrnn is imported.

They follow the formulae, not the kernels: whole matrices, lists and branches instead of slots and offsets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np


def normalise(X, missing, horizon, clip, reach, settled):
    """Running mean, deviation and normalised values of each row of X (n, channels): three (n, channels) arrays."""
    n, channels = X.shape
    count, mean, var = np.zeros(channels), np.zeros(channels), np.zeros(channels)
    out = np.zeros((3, n, channels))
    for i in range(n):
        for j in range(channels):
            x = float(X[i, j])
            if not missing[i, j]:
                count[j] += 1
                a = max(1 / count[j], 1 / horizon)
                d = x - mean[j]
                if count[j] > settled:
                    limit = reach * max(math.sqrt(var[j]), 1e-6 * abs(mean[j]))
                    d = float(np.clip(d, -limit, limit))
                mean[j] += a * d
                var[j] = (1 - a) * (var[j] + a * d * d)
            deviation = max(math.sqrt(var[j]), 1e-6 * abs(mean[j])) + 1e-30
            u = np.clip((x - mean[j]) / deviation, -clip, clip) if count[j] else 0.0
            out[:, i, j] = mean[j], deviation, u
    return out


class Kalman:
    """Recursive least squares as a Kalman filter on the weights, one matrix for all outputs."""

    def __init__(self, n_out, n_features, first, prior, drift):
        self.P = prior * np.eye(n_features)
        self.w = np.zeros((n_out, n_features))
        self.w[np.arange(n_out), first + np.arange(n_out)] = 1.0
        self.prior, self.drift = prior, drift

    def learn(self, phi, target, seen):
        if not any(seen):
            return
        v = self.P @ phi
        s = 1 / (1 + phi @ v)
        error = target - self.w @ phi
        self.w += s * np.outer(np.where(seen, error, 0.0), v)
        self.P -= s * np.outer(v, v)
        self.P += self.drift * np.diag(np.diag(self.P) < self.prior)

    def predict(self, phi):
        return self.w @ phi


@dataclass
class Envelope:
    """What a signal was seen to span."""

    low: float = 0.0
    high: float = 0.0

    def begin(self, value):
        self.low = self.high = value

    def judge(self, value, floor, forget=0.0):
        """How far outside `value` is and how wide the envelope counts as; then it forgets."""
        width = self.high - self.low
        e = max(value - self.high, self.low - value)
        self.side = 1 if value > self.high else -1
        self.low += forget * width
        self.high -= forget * width
        return e, max(width, floor)

    def grow(self, by):
        # What was forgotten with this very sample is not taken back.
        if self.side > 0:
            self.high += by
        else:
            self.low -= by


@dataclass
class Channel:
    n: int = 0
    last: float = 0.0
    step: float = math.inf
    guess: float = 0.0
    changes: int = 0
    gap: int = 0
    longest_gap: int = 0
    level: float = 0.0
    residual: float = 0.0
    envelopes: list = field(default_factory=lambda: [Envelope(), Envelope(), Envelope()])
    stride: float = 0.0
    left: int = 0
    back: int = 0
    home: tuple = (0.0, 0.0)
    since: int | None = None
    hours: dict = field(default_factory=dict)

    @property
    def quantum(self):
        return min(self.step, self.changes * self.guess) if self.changes else 0.0


def guess(*values):
    """The step of a channel that showed two values: a decimal one, or a share of the first."""
    share = abs(values[0]) / 200
    for digits in range(3):
        if all(math.isclose(v, round(v, digits), rel_tol=1.2e-7) for v in values):
            return max(10.0**-digits, share)
    return share if values[0] else max(0.01, share)


class Detector:
    """Scores of one stream: `step` gives (score, cause), cause -1 for a score of 0.

    `flagged` is whether a flag stands before this sample: what comes home then is news as ever.
    """

    def __init__(self, channels, settings):
        self.channels = [Channel() for _ in range(channels)]
        self.set = dict(settings)

    def step(self, x, missing, forecast=None, t=None, flagged=False):
        self.flagged = flagged
        found = [(0.0, -1)]
        for j, channel in enumerate(self.channels):
            if missing[j]:
                found += self._absent(channel, 8 * j)
            else:
                residual = None if forecast is None else float(x[j]) - float(forecast[j])
                found += self._seen(channel, float(x[j]), residual, 8 * j)
                if t is not None:
                    found += self._daily(channel, int(t) // (3600 * 10**9), 8 * j)
        # Of equals the first wins, and a score of 0 has no cause.
        return max(found, key=lambda f: f[0])

    def _absent(self, c, cause):
        c.gap += 1
        limit = max(self.set["missing"], 2 * c.longest_gap)
        if c.n < self.set["warmup"] or c.gap > limit + self.set["longest"]:
            return []
        return [(c.gap / limit, cause + 4)]

    def _seen(self, c, x, residual, cause):
        c.longest_gap, c.gap = max(c.longest_gap, c.gap), 0
        c.n += 1
        step = abs(x - c.last)
        if c.n > 1 and step > 0:
            c.guess = c.guess or guess(c.last, x)
            c.step = min(c.step, step)
            c.changes += 1
        c.last = x
        quantum = c.quantum
        known = c.envelopes[0]
        resolution = 1e-6 * max(abs(known.low), abs(known.high)) + 1e-30
        width = max(known.high - known.low, 4 * quantum, resolution)
        counts, error = x, residual
        if c.n > self.set["warmup"]:
            reach = self.set["growth"] * width
            counts = float(np.clip(x, known.low - reach, known.high + reach))
            if residual is not None:
                reach += known.high - known.low
                error = float(np.clip(residual, -reach, reach))
        rate = max(self.set["level_rate"], 1 / c.n)
        if c.n > 1:
            c.stride += rate * (min(step, width) - c.stride)
        c.level += rate * (counts - c.level)
        signals = [x, c.level]
        if residual is not None:
            c.residual += self.set["residual_rate"] * (error - c.residual)
            signals.append(c.residual)
        before = known.low, known.high
        if c.n > 2 * abs(c.left) or c.back >= self.set["hold"]:
            c.left = 0
        returns = c.left != 0 and c.home[0] <= x <= c.home[1]
        c.back += returns
        strongest = 0.0
        found = []
        for k, (signal, envelope) in enumerate(zip(signals, c.envelopes, strict=False)):
            settled = c.n - k * self.set["warmup"]
            if settled <= self.set["warmup"]:
                if settled > 1:
                    envelope.low, envelope.high = min(envelope.low, signal), max(envelope.high, signal)
                else:
                    envelope.begin(signal)
                continue
            part = (1.0, self.set["level_rate"], self.set["residual_rate"])[k]
            side = 1 if signal > envelope.high else -1
            young = self.set["youth"] / (c.n - (abs(c.left) if side * c.left > 0 else 0))
            spread = 0.0 if k == 0 else min(1.0, young) * (c.envelopes[0].high - c.envelopes[0].low)
            floor = max((4.0, 0.8, 0.8)[k] * quantum, 0.2 * spread, resolution)
            e, width = envelope.judge(signal, floor, self.set["forget"])
            if e > 0:
                margin = self.set[("envelope", "level", "residual")[k]] * (1 + young**1.5)
                news = max(margin * width, (0.6, 0.0, 1.0)[k] * part * c.stride)
                allowance = max(2 * quantum, 1.25 * c.stride if k == 1 else 0.0) * part
                strength = max(e - allowance, 0) / news
                strongest = max(strongest, strength)
                if self.flagged or not returns:
                    found.append((min(strength, 1e6), cause + k))
                lead = 3 if k and strength >= self.set["threshold"] else 1
                envelope.grow(min(lead * e, self.set["growth"] * width))
        if strongest >= self.set["threshold"] and not c.left and not before[0] <= x <= before[1]:
            low, high = before
            c.left, c.back = (c.n if x > high else -c.n), 0
            c.home = low - max((low - x) / 2, 2 * quantum), high + max((x - high) / 2, 2 * quantum)
        return found

    def _daily(self, c, hours, cause):
        if c.since is None:
            c.since = hours
        known = c.hours.setdefault(hours % 24, Envelope(c.level, c.level))
        value = c.envelopes[0]
        floor = max(4 * c.quantum, 0.3 * (value.high - value.low), 1e-6 * abs(c.level) + 1e-30)
        e, width = known.judge(c.level, floor)
        if e <= 0:
            return []
        old_enough = hours - c.since >= 72
        strength = e / (self.set["daily"] * width) if old_enough else 0.0
        known.grow(min((3 if strength >= self.set["threshold"] else 1) * e, self.set["growth"] * width))
        return [(min(strength, 1e6), cause + 3)]
