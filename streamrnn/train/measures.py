"""How good a model is, in the units of its channels: what the engine answers, against what came and a baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.engine import Engine
from streamrnn.model import Model, ModelSpec

from .recording import Array, Recording, held
from .scaling import Scaling, roundings_of

__all__ = ["auroc", "measure"]

_Floats = npt.NDArray[np.float64]


def measure(model: Model, recordings: Sequence[Recording]) -> dict[str, Any]:
    """Measures of a model on recordings, run by the engine, plain values; empty where nothing counts.

    Forecasts: mae, rmse and skill of each channel (1 - mae / mae of the last value), with a spread nll and coverage.
    Classes: accuracy, log_loss, auroc of each class, and what always saying the commonest gives. Regression: mae, rmse,
    r2 of each output. Tokens: bits of surprise. Beside each stands what a baseline gives: nll_last_value is of the last
    value with the one deviation that is best on these very recordings; shares are those of these recordings too.
    """
    answers = [_answers(model, r) for r in recordings]
    if model.spec.tokens:
        return _tokens(model.spec, recordings, answers)
    which = {"forecast": _forecast, "classify": _classify, "regress": _regress}[model.spec.head]
    return which(model, recordings, answers)


def _answers(model: Model, recording: Recording) -> Array:
    engine = Engine(model, capacity=1, ring=0)
    return engine.step_many(np.repeat(engine.handles(["s"]), len(recording)), recording.x, recording.t).y


def _forecast(model: Model, recordings: Sequence[Recording], answers: Sequence[Array]) -> dict[str, Any]:
    spec, h, n = model.spec, model.spec.horizon, model.spec.n_in
    scaling = Scaling(model.arrays["normaliser.mean"], model.arrays["normaliser.scale"])
    true, made, last = [], [], []
    for r, y in zip(recordings, answers, strict=True):
        a, b = r.start, min(len(r) if r.stop is None else r.stop, len(r) - h)
        if b <= a:
            continue
        true.append(r.x[a + h : b + h])
        made.append(y[a:b])
        last.append(held(r.x, model.arrays["normaliser.mean"])[0][a:b])
    if not true:
        return {}
    rounding = roundings_of(recordings, scaling).astype(np.float64) * scaling.scale
    x, said, naive = (np.concatenate(v).astype(np.float64) for v in (true, made, last))
    there = ~np.isnan(x)
    out: dict[str, Any] = {"samples": int(there.any(1).sum()), "channels": {}}
    for k, name in enumerate(spec.features):
        ok = there[:, k]
        if not ok.any():
            continue
        e, e0 = said[ok, k] - x[ok, k], naive[ok, k] - x[ok, k]
        mae, base = float(np.abs(e).mean()), float(np.abs(e0).mean())
        found = {"mae": mae, "rmse": float(np.sqrt((e**2).mean())), "mae_last_value": base}
        found["skill"] = 1 - mae / base if base > 0 else math.nan
        if spec.spread == "gaussian":
            variance = said[ok, n + k] ** 2
            square = e**2 + rounding[k] ** 2  # a reading stands for an interval, as in training
            found["nll"] = float((0.5 * (square / variance + np.log(2 * np.pi * variance))).mean())
            best = float((e0**2).mean()) + rounding[k] ** 2
            found["nll_last_value"] = 0.5 * (1 + math.log(2 * math.pi * best))
            found["coverage_90"] = float((np.abs(e) <= 1.6448536269514722 * np.sqrt(variance)).mean())
        if spec.spread == "quantile":
            low, high = said[ok, n + k], said[ok, 2 * n + k]
            found["coverage"] = float(((x[ok, k] >= low) & (x[ok, k] <= high)).mean())
            found["below_low"] = float((x[ok, k] < low).mean())
        out["channels"][name] = _rounded(found)
    return out


def _labelled(recordings: Sequence[Recording], answers: Sequence[Array]) -> tuple[_Floats, npt.NDArray[np.int64]]:
    probabilities, labels = [], []
    for r, y in zip(recordings, answers, strict=True):
        if r.target is None:
            continue
        target, made = r.target[r.start : r.stop], y[r.start : r.stop]
        ok = target >= 0
        probabilities.append(made[ok])
        labels.append(target[ok])
    if not labels:
        return np.zeros((0, 1)), np.zeros(0, np.int64)
    return np.concatenate(probabilities).astype(np.float64), np.concatenate(labels)


def _classify(model: Model, recordings: Sequence[Recording], answers: Sequence[Array]) -> dict[str, Any]:
    p, label = _labelled(recordings, answers)
    if not len(label):
        return {}
    n = model.spec.n_out
    names = model.spec.provenance.get("classes") or [str(k) for k in range(n)]
    counts = np.bincount(label, minlength=n)
    said = p.argmax(1)
    share = counts / counts.sum()
    out = {
        "samples": len(label),
        "accuracy": float((said == label).mean()),
        "accuracy_commonest": float(share.max()),
        "log_loss": float(-np.log(np.maximum(p[np.arange(len(label)), label], 1e-12)).mean()),
        "log_loss_shares": _entropy(share),
    }
    classes = {
        name: _rounded(
            {
                "samples": int(counts[k]),
                "recall": float((said[label == k] == k).mean()) if counts[k] else math.nan,
                "auroc": auroc(p[:, k], label == k),
            }
        )
        for k, name in enumerate(names)
    }
    return {**_rounded(out), "classes": classes}


def _regress(model: Model, recordings: Sequence[Recording], answers: Sequence[Array]) -> dict[str, Any]:
    true = [r.target[r.start : r.stop] for r in recordings if r.target is not None]
    made = [y[r.start : r.stop] for r, y in zip(recordings, answers, strict=True) if r.target is not None]
    if not true:
        return {}
    x, y = np.concatenate(true).astype(np.float64), np.concatenate(made).astype(np.float64)
    names = model.spec.provenance.get("targets") or list(model.spec.outputs)
    out: dict[str, Any] = {"samples": int((~np.isnan(x)).any(1).sum()), "targets": {}}
    for k, name in enumerate(names):
        ok = ~np.isnan(x[:, k])
        if ok.any():
            e, spread = y[ok, k] - x[ok, k], float(x[ok, k].var())
            found = {"mae": float(np.abs(e).mean()), "rmse": float(np.sqrt((e**2).mean()))}
            found["r2"] = 1 - float((e**2).mean()) / spread if spread > 0 else math.nan
            out["targets"][name] = _rounded(found)
    return out


def _tokens(spec: ModelSpec, recordings: Sequence[Recording], answers: Sequence[Array]) -> dict[str, Any]:
    h = spec.horizon
    bits: list[_Floats] = []
    hits = 0
    counts = np.zeros(spec.tokens, np.int64)
    for r, y in zip(recordings, answers, strict=True):
        b = min(len(r) if r.stop is None else r.stop, len(r) - h)
        if b > r.start:
            true = r.x[r.start + h : b + h, 0]
            ok = ~np.isnan(true)
            made, token = y[r.start : b][ok], true[ok].astype(np.int64)
            bits.append(-np.log2(np.maximum(made[np.arange(len(token)), token], 1e-12)).astype(np.float64))
            hits += int((made.argmax(1) == token).sum())
            counts += np.bincount(token, minlength=spec.tokens)
    if not bits:
        return {}
    every = np.concatenate(bits)
    share = counts / max(len(every), 1)
    return _rounded(
        {
            "samples": len(every),
            "bits": float(every.mean()),
            "bits_shares": _entropy(share) / math.log(2),
            "accuracy": hits / max(len(every), 1),
            "accuracy_commonest": float(share.max()),
        }
    )


def _entropy(share: _Floats) -> float:
    """Of shares that add up to 1, in nats: the least log loss of one who knows nothing but them."""
    some = share[share > 0]
    return float(-(some * np.log(some)).sum())


def auroc(score: npt.ArrayLike, positive: npt.ArrayLike) -> float:
    """Area under the receiver operating characteristic: how often a positive scores above another; ties count half.

    NaN where there are no positives, or nothing else. The rank sum of Mann and Whitney (1947).

    >>> auroc([1, 2, 3, 3], [False, True, False, True])
    0.625
    """
    s, yes = np.asarray(score, np.float64), np.asarray(positive, bool)
    n = int(yes.sum())
    if n in (0, len(yes)):
        return math.nan
    _, inverse, counts = np.unique(s, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2
    return float((rank[inverse][yes].sum() - n * (n + 1) / 2) / (n * (len(yes) - n)))


def _rounded(found: dict[str, Any]) -> dict[str, Any]:
    """Six digits; None for what is no number, which JSON does not know."""
    return {
        k: v if not isinstance(v, float) else (float(f"{v:.6g}") if math.isfinite(v) else None)
        for k, v in found.items()
    }
