"""What of a run's report nobody should overlook, a line each: a network that is no good, a rate that is not kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from streamrnn.kernels.score import SETTINGS
from streamrnn.words import count

from .calibrate import amount
from .settings import Settings

__all__ = ["remarks"]

NOISE = 0.005
"""Skill that a network may lack which is the last value but for rounding: where no epoch was better than that."""

ALWAYS = 0.95
"""Share of clipped steps from which on it is nearly all of them."""

FEW = 5
"""Alarms below which a threshold hangs on chance: 95 % of the time 4 come of a rate of a third to two and a half."""

ENOUGH = 10
"""Alarms that are asked for in place of a few."""

NAMED = 4
"""Channels, classes or targets that a line names."""

_Facts = Mapping[str, Any]


def remarks(report: _Facts, settings: Settings, history: Sequence[_Facts]) -> list[str]:
    """Lines about a report with its seed, epoch, seeds, measures (validation, test) and, if any, false_alarms.

    Judged is test data, or where there is none validation data.
    """
    part = "test" if report["test"] else "validation"
    return [
        *_started(report),
        *_judged(report[part], f"{part} data", settings, report["epoch"]),
        *_clipped(report, settings, history),
        *_alarms(report.get("false_alarms", {})),
    ]


def _started(report: _Facts) -> list[str]:
    if report["epoch"] > 0:
        return []
    return [
        "no epoch was better on validation data than what training started from: try a smaller rate (--rate), more "
        "data, or another horizon"
    ]


def _judged(found: _Facts, where: str, settings: Settings, epoch: int) -> list[str]:
    if "channels" in found:
        return _forecasts(found["channels"], where, settings, NOISE if epoch == 0 else 0.0)
    if "log_loss" in found:
        return _classes(found, where, settings)
    if "targets" in found:
        return _targets(found["targets"], where)
    if "bits" in found and found["bits"] >= found["bits_shares"]:
        return [
            f"no better than the bare shares of the tokens on {where} ({found['bits']:.3g} against "
            f"{found['bits_shares']:.3g} bits a token): try more data, more epochs (--epochs), or another rate (--rate)"
        ]
    return []


def _forecasts(channels: Mapping[str, _Facts], where: str, settings: Settings, noise: float) -> list[str]:
    """Channels in which the last value would do better."""
    worse = {k: c for k, c in channels.items() if c["skill"] is not None and c["skill"] < -noise}
    if not worse:
        return []
    told = all("nll" in c and c["nll"] < c["nll_last_value"] for c in worse.values())
    but = ", though with its spread it says more of what comes (nll below nll_last_value)" if told else ""
    which = _named(f"{name} (skill {c['skill']:.2g})" for name, c in worse.items())
    remedy = _remedy(settings, channels)
    return [f"worse than the last value on {where}, in mean absolute error: {which}{but}: {remedy}"]


def _remedy(settings: Settings, channels: Mapping[str, _Facts]) -> str:
    """What to try: first what keeps a forecast from starting as the last value."""
    if settings.layer_norm:
        return "leave out --layer-norm, behind which no forecast can start as the last value"
    if not settings.persist:
        return "leave out --no-persist, so that forecasts start as the last value"
    n = len(settings.features or channels)
    if min(settings.widths) < 2 * n:
        return f"with --hidden of {2 * n} or more in each layer, forecasts start as the last value"
    tries = [] if settings.changes or settings.cell == "rnn_relu" else ["--changes 2,5,17,65"]
    tries += [] if settings.dropout else ["--dropout 0.2"]
    named = "".join(f"{what}, " for what in tries)
    return f"try more recordings, {named}or a longer --horizon; else use the last value"


def _classes(found: _Facts, where: str, settings: Settings) -> list[str]:
    tries = "try more labelled recordings, other channels, another --rate or --cell"
    if settings.class_weights == "balanced":
        recalls = [c["recall"] for c in found["classes"].values() if c["recall"] is not None]
        mean = float(np.mean(recalls))
        if len(recalls) < 2 or mean > 1 / len(recalls):
            return []
        return [f"no better than guessing on {where} (a mean recall of {mean:.2g} of {len(recalls)} classes): {tries}"]
    says = []
    if found["accuracy"] < found["accuracy_commonest"]:
        says.append(
            f"right in {_percent(found['accuracy'])}, where always saying the commonest class is right in "
            f"{_percent(found['accuracy_commonest'])}"
        )
    if found["log_loss"] >= found["log_loss_shares"]:
        says.append(
            f"probabilities no better than the bare shares of the classes (log loss {found['log_loss']:.3g} against "
            f"{found['log_loss_shares']:.3g})"
        )
    return [f"no good on {where}: {'; '.join(says)}: {tries}"] if says else _only(found["classes"], where)


def _only(classes: Mapping[str, _Facts], where: str) -> list[str]:
    """Where one class is always the likeliest, though the probabilities may tell something."""
    there = {name: c for name, c in classes.items() if c["samples"]}
    said = [name for name, c in there.items() if c["recall"]]
    if len(there) < 2 or len(said) != 1:
        return []
    best = max(c["auroc"] for name, c in there.items() if name != said[0])
    return [
        f"{said[0]!r} is the likeliest class for every sample of {where}: hold the others' probabilities against "
        f"limits of your own (auroc {best:.2g}, where 0.5 is chance), or train with --class-weights balanced"
    ]


def _targets(targets: Mapping[str, _Facts], where: str) -> list[str]:
    worse = {k: c["r2"] for k, c in targets.items() if c["r2"] is not None and c["r2"] < 0}
    if not worse:
        return []
    which = _named(f"{name} (r2 {r2:.2g})" for name, r2 in worse.items())
    return [
        f"worse than always saying the mean on {where}: {which}: try more recordings, other channels, a smaller "
        "--rate, or a split in which all parts are alike (--split)"
    ]


def _clipped(report: _Facts, settings: Settings, history: Sequence[_Facts]) -> list[str]:
    """Where every step was clipped only the direction of a gradient counts, and the rate is another than it seems."""
    own = next(s for s in report["seeds"] if s["seed"] == report["seed"])
    if not settings.clip or own["clipped"] < ALWAYS:
        return []
    norms = [r["gradient_norm"] for r in history if r["seed"] == report["seed"] and math.isfinite(r["gradient_norm"])]
    usual = float(np.median(norms)) if norms else settings.clip
    digit = 10.0 ** math.floor(math.log10(usual))
    return [
        f"{_percent(own['clipped'])} of steps were clipped: a usual gradient's norm was {usual:.2g} and --clip is "
        f"{settings.clip:g}; --clip {min(math.ceil(2 * usual / digit) * digit, 1e6):.6g} would leave most as they are"
    ]


def _alarms(found: _Facts) -> list[str]:
    """What is doubtful about a threshold for a rate of false alarms."""
    if not found:
        return []
    lines, own, test, per = [], found["validation"], found["test"], found["per"]
    if own and own["alarms"] < FEW and found["reached"]:
        wanted = ENOUGH / found["stated"]
        more = f": for {ENOUGH} alarms, give {amount(wanted, own['unit'])} of it" if wanted > own["exposure"] else ""
        lines.append(
            f"the threshold rests on {count(own['alarms'], 'alarm')} in validation data, which may come of any rate "
            f"from {own['rate_low']:.2g} to {own['rate_high']:.2g} {per}{more}"
        )
    if test and test["rate_low"] > found["stated"]:
        lines.append(
            f"the rate is not kept on test data: {test['rate']:.3g} alarms {per} (95 %: {test['rate_low']:.3g} to "
            f"{test['rate_high']:.3g}), where {found['stated']:g} was stated: give validation data that is more like "
            "the test data, or more of it"
        )
    if found["threshold"] < SETTINGS["threshold"]:
        shown = test or own
        often = f", {_percent(shown['flagged'])} of the time," if shown else ""
        lines.append(
            f"the threshold {found['threshold']:g} is below the default of {SETTINGS['threshold']:g}: it flags{often} "
            "what by default is no news: state fewer alarms, or leave out --false-alarms"
        )
    return lines


def _named(words: Iterable[str]) -> str:
    every = list(words)
    more = [f"{len(every) - NAMED} more"] if len(every) > NAMED else []
    return ", ".join([*every[:NAMED], *more])


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
