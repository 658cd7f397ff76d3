"""A whole run: train from each seed, take the best, calibrate, compare, measure, write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from streamrnn.errors import ConfigError
from streamrnn.model import Model

from .build import model_of
from .fit import Fitted
from .losses import Loss
from .measures import measure
from .network import Network
from .parity import compare
from .ready import Ready, make_ready
from .recording import Recording
from .scaling import steps_of
from .settings import Settings
from .start import initialise
from .trainer import Progress, Trainer

__all__ = ["device_of", "run"]


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
    ready = make_ready(recordings, settings, validation, test)
    device = device_of(settings.device)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    trainers: list[Trainer] = []
    interrupted = False
    for k in range(settings.seeds):
        trainer = _trainer(ready, settings, settings.seed + k, device)
        trainers.append(trainer)
        try:
            trainer.run(progress, lambda: None)
        except KeyboardInterrupt:
            if all(t.best.epoch < 0 for t in trainers):
                raise
            interrupted = True
            break
    return _finish(ready, settings, trainers, interrupted, out)


def _trainer(ready: Ready, settings: Settings, seed: int, device: Any) -> Trainer:
    network = Network(ready.spec, ready.inputs, ready.targets, settings.dropout)
    spread = None if ready.inputs is None else steps_of(ready.split.train, ready.inputs, ready.spec.horizon)
    initialise(network, settings, torch.Generator().manual_seed(seed), spread)
    network.to(device)
    weights = None
    if settings.class_weights == "balanced":
        counts = np.bincount(
            np.concatenate([s.goal[s.mask] for s in ready.train]).astype(np.int64), minlength=ready.spec.n_out
        )
        weights = torch.tensor(counts.sum() / (counts * len(counts)), dtype=torch.float32, device=device)
    unit = torch.from_numpy(spread).to(device) if spread is not None and settings.head == "forecast" else None
    loss = Loss(ready.spec, settings, weights, unit)
    return Trainer(network, loss, ready.train, ready.validation, settings, seed, device)


def _finish(
    ready: Ready, settings: Settings, trainers: Sequence[Trainer], interrupted: bool, out: Path | None
) -> Fitted:
    chosen = min(trainers, key=lambda t: t.best.loss)
    chosen.network.take(chosen.best.arrays)
    plain = settings.as_dict()
    provenance: dict[str, Any] = {
        "made_by": "streamrnn train",
        "torch": torch.__version__,
        "seed": chosen.seed,
        "epoch": chosen.best.epoch,
        "validation_loss": chosen.best.loss,
        "split": ready.split.how,
        "settings": {
            k: v for k, v in plain.items() if k not in ("features", "units", "classes", "targets", "detector")
        },
    }
    provenance |= {name: list(plain[name]) for name in ("classes", "targets") if plain[name]}
    made = model_of(ready.spec, chosen.best.arrays, ready.inputs, ready.targets, provenance)
    provenance["parity"] = compare(made, chosen.network, ready.split.validation, ready.validation, settings.tolerance)
    model = Model(made.spec.with_provenance(**provenance), made.arrays)
    report = {
        "split": ready.split.how,
        "parity": provenance["parity"],
        "validation": measure(model, ready.split.validation),
        "test": measure(model, ready.split.test),
        "notes": ready.notes,
    }
    if out is not None:
        model.save(out)
    return Fitted(model, report, [r for t in trainers for r in t.history], interrupted)
