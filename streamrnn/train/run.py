"""A whole run: train from each seed, take the best, calibrate, compare, measure, write."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from streamrnn.errors import ConfigError
from streamrnn.model import Model

from .build import model_of
from .calibrate import Rate, allowance, calibrate, parse_rate, usual_surprise
from .checkpoint import NAME, Checkpoint, fingerprint, read_checkpoint, write_checkpoint
from .curves import tensorboard, to_tensorboard, write_curves
from .files import put_text
from .fit import Fitted, Interrupted
from .losses import Loss
from .measures import measure
from .network import Network
from .parity import compare
from .ready import Ready, make_ready
from .recording import Recording
from .remarks import remarks
from .scaling import roundings_of, steps_of
from .settings import Settings
from .start import initialise
from .trainer import Progress, Trainer
from .unbroken import unbroken

__all__ = ["STOPPING", "device_of", "run"]

STOPPING = "stopping... the best so far is being measured and written; Ctrl-C again leaves it in the checkpoint"
"""What a progress callback is told after Ctrl-C."""

_OWN = ("features", "units", "classes", "targets", "detector")
"""Settings that stand elsewhere in a model file."""


def device_of(name: str) -> Any:
    """The device by its name; auto takes CUDA, else MPS, else the CPU. ConfigError for one that is not there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(n for n in ("cuda", "mps", "cpu") if there[n])
    if not there[name]:
        raise ConfigError(f"device is {name!r}, which PyTorch does not find here: use --device cpu")
    return torch.device(name)


def run(
    recordings: Sequence[Recording],
    settings: Settings,
    out: Path | None,
    progress: Callable[[Progress], None],
    *,
    validation: Sequence[Recording] | None,
    test: Sequence[Recording] | None,
    work: Path | None,
    resume: bool,
) -> Fitted:
    """`fit`, with torch at hand."""
    device = device_of(settings.device)
    rate = None if settings.false_alarms is None else parse_rate(settings.false_alarms)
    ready = make_ready(recordings, settings, validation, test)
    if rate is not None:
        allowance(rate, ready.split.validation)  # now, and not after hours
    folder = work or (None if out is None else out.with_suffix(".train"))
    if folder is not None:
        ready.notes.extend(tensorboard()[1])
    data = fingerprint([*ready.train, *ready.validation])
    if resume and folder is None:
        raise ConfigError("resume goes on from a folder: name it with work (--work), or the model with out")
    before = read_checkpoint(folder, settings, data) if resume and folder is not None else None
    threads = torch.get_num_threads()
    generator = torch.random.get_rng_state()
    trainers: list[Trainer] = []
    try:
        if settings.threads:
            torch.set_num_threads(settings.threads)
        interrupted = _train(trainers, ready, settings, device, progress, folder, data, before)
        return _finish(ready, settings, trainers, interrupted, rate, out, folder)
    except KeyboardInterrupt:
        kept = folder is not None and (before is not None or any(t.history for t in trainers))
        raise Interrupted(folder / NAME if folder is not None and kept else None) from None
    finally:
        torch.set_num_threads(threads)
        torch.random.set_rng_state(generator)  # the caller's own


def _train(
    trainers: list[Trainer],
    ready: Ready,
    settings: Settings,
    device: Any,
    progress: Callable[[Progress], None],
    folder: Path | None,
    data: str,
    before: Checkpoint | None,
) -> bool:
    """Add a trainer for each seed to `trainers`; whether Ctrl-C came. KeyboardInterrupt passes where no epoch ended."""
    try:
        for k in range(settings.seeds):
            trainer = _trainer(ready, settings, settings.seed + k, device)
            trainers.append(trainer)
            if before is not None and k < before.seeds:
                before.restore(k, trainer)
                trainer.reconsider()
            trainer.run(progress, lambda: _after_epoch(settings, trainers, folder, data))
    except KeyboardInterrupt:
        if not any(t.history for t in trainers):
            raise
        trainers[-1].say(STOPPING, progress)
        return True
    return False


def _after_epoch(settings: Settings, trainers: Sequence[Trainer], folder: Path | None, data: str) -> None:
    if folder is None:
        return
    with unbroken():
        folder.mkdir(parents=True, exist_ok=True)  # only now: what is refused, or broken off, leaves nothing behind
        write_checkpoint(folder, settings, data, trainers)
        write_curves(folder, [r for t in trainers for r in t.history], settings.loss)
        to_tensorboard(folder, trainers[-1].history, len(trainers[-1].history) - 1)


def _trainer(ready: Ready, settings: Settings, seed: int, device: Any) -> Trainer:
    spec = ready.spec
    network = Network(spec, ready.inputs, ready.targets, settings.dropout)
    spread = None
    if spec.head == "forecast" and ready.inputs is not None:
        spread = steps_of(ready.split.train, ready.inputs, spec.horizon)
    initialise(network, settings, torch.Generator().manual_seed(seed), spread)
    network.to(device)
    weights = None
    if settings.class_weights == "balanced" and settings.loss == "cross_entropy":
        goals = np.concatenate([s.goal[s.mask] for s in ready.train]).astype(np.int64)
        counts = np.maximum(np.bincount(goals, minlength=spec.n_out), 1)
        weights = torch.tensor(counts.sum() / (counts * len(counts)), dtype=torch.float32, device=device)
    unit = None if spread is None else torch.from_numpy(spread).to(device)
    rounding = None
    if settings.loss == "gaussian" and ready.inputs is not None:
        rounding = torch.from_numpy(roundings_of(ready.split.train, ready.inputs)).to(device)
    loss = Loss(spec, settings, weights, unit, rounding)
    return Trainer(network, loss, ready.train, ready.validation, settings, seed, device)


def _finish(
    ready: Ready,
    settings: Settings,
    trainers: Sequence[Trainer],
    interrupted: bool,
    rate: Rate | None,
    out: Path | None,
    folder: Path | None,
) -> Fitted:
    """Export the best, calibrate it, compare it, measure it, and write all of that."""
    chosen = min(trainers, key=lambda t: t.best.loss)
    if not chosen.best.arrays:
        raise ConfigError(
            f"no epoch gave a validation loss that is a number: use a smaller rate (--rate, now {settings.rate:g})"
        )
    chosen.network.take(chosen.best.arrays)
    plain = settings.as_dict()
    provenance: dict[str, Any] = {
        "made_by": "streamrnn train",
        "torch": str(torch.__version__),
        "seed": chosen.seed,
        "epoch": chosen.best.epoch,
        "validation_loss": chosen.best.loss,
        "split": ready.split.how,
        "settings": {k: v for k, v in plain.items() if k not in _OWN},
        **{name: list(plain[name]) for name in ("classes", "targets") if plain[name]},
    }
    model = model_of(ready.spec, chosen.best.arrays, ready.inputs, ready.targets, provenance)
    provenance["parity"] = compare(model, chosen.network, ready.split.validation, ready.validation, settings.tolerance)
    detector = dict(model.spec.detector)
    if model.spec.tokens and model.spec.head == "forecast":
        detector = {**usual_surprise(model, ready.split.validation), **detector}
        model = model_of(ready.spec, chosen.best.arrays, None, None, provenance, detector)
    report: dict[str, Any] = {
        "model": None if out is None else str(out),
        "split": ready.split.how,
        "missing": ready.missing,
        "seed": chosen.seed,
        "epoch": chosen.best.epoch,
        "interrupted": interrupted,
        "seeds": [_of_seed(t) for t in trainers],
        **_spread(trainers),
        "parity": provenance["parity"],
    }
    if rate is not None:
        model, report["false_alarms"] = calibrate(model, rate, ready.split.validation, ready.split.test)
        provenance["false_alarms"] = report["false_alarms"]
    report["validation"] = measure(model, ready.split.validation)
    report["test"] = measure(model, ready.split.test)
    provenance |= {"validation": report["validation"], "test": report["test"]}
    model = Model(model.spec.with_provenance(**provenance), model.arrays)
    history = [r for t in trainers for r in t.history]
    report["notes"] = [*ready.notes, *remarks(report, settings, history)]
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_curves(folder, history, settings.loss)
        put_text(folder / "report.json", json.dumps(report, indent=1) + "\n")
    if out is not None:
        model.save(out)
    return Fitted(model, report, history, interrupted)


def _of_seed(trainer: Trainer) -> dict[str, Any]:
    steps = sum(r["steps"] for r in trainer.history[-1:])
    epochs = len(trainer.history)
    return {
        "seed": trainer.seed,
        "epochs": epochs,
        "steps": steps,
        "best_epoch": trainer.best.epoch,
        "validation_loss": trainer.best.loss,
        "clipped": float(f"{np.mean([r['clipped'] for r in trainer.history]):.4g}") if epochs else 0.0,
        "went_back": trainer.steps.back,
        "ended": trainer.ended or "interrupted",
    }


def _spread(trainers: Sequence[Trainer]) -> dict[str, Any]:
    """Mean and deviation of the seeds' validation losses."""
    losses = np.array([t.best.loss for t in trainers if np.isfinite(t.best.loss)])
    if len(losses) < 2:
        return {}
    return {"validation_loss_mean": float(losses.mean()), "validation_loss_sd": float(losses.std(ddof=1))}
