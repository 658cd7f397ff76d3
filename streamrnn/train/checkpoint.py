"""Checkpoints: where a run stood after an epoch, so that it goes on as if it had never stopped.

One safetensors file, with the rest as JSON in its metadata, so that numbers and facts are replaced together. Nothing is
pickled. Everything random in a run comes from seed and epoch, so there is no generator to be saved.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from streamrnn.errors import ConfigError

from .files import put
from .recording import Array
from .settings import Settings, plain
from .trainer import Best, Trainer

__all__ = ["Checkpoint", "fingerprint", "read_checkpoint", "write_checkpoint"]

FORMAT = 1

NAME = "checkpoint.safetensors"

MAY_DIFFER = ("epochs", "patience", "false_alarms", "detector", "tolerance", "device", "threads", "seeds")
"""Settings that may be others when a run goes on; with another `epochs` a cosine goes on along another curve."""

_TRAINER = ("seed", "epoch", "waited", "history", "ended")
_STEPS = ("n", "factor", "plateau", "back")


class Checkpoint:
    """What a file holds: facts of each seed that was begun, and their arrays as `seed.kind.name`."""

    def __init__(self, facts: dict[str, Any], arrays: dict[str, Array]) -> None:
        self.facts, self.arrays = facts, arrays

    @property
    def seeds(self) -> int:
        """How many seeds were begun."""
        return len(self.facts["seeds"])

    def restore(self, k: int, trainer: Trainer) -> None:
        """Bring the trainer of the k-th seed to where it stood."""
        own = self.facts["seeds"][k]
        for name in _TRAINER:
            setattr(trainer, name, own[name])
        for name in _STEPS:
            setattr(trainer.steps, name, own["steps"][name])
        trainer.best = Best(_number(own["best_loss"]), own["best_epoch"], self._of(k, "best"))
        trainer.steps.restore(
            self._of(k, "now"), self._of(k, "first"), self._of(k, "second"), own["recent"], own["taken"]
        )

    def _of(self, k: int, kind: str) -> dict[str, Array]:
        lead = f"{k}.{kind}."
        return {name.removeprefix(lead): a for name, a in self.arrays.items() if name.startswith(lead)}


def _number(value: float | None) -> float:
    return math.inf if value is None else value


def fingerprint(series: Sequence[Any]) -> str:
    """16 hexadecimal digits of a SHA-256 over the data that is learned from."""
    digest = hashlib.sha256()
    for s in series:
        for array in (s.x, s.goal, s.mask, *(() if s.clock is None else (s.clock,))):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def write_checkpoint(folder: Path, settings: Settings, data: str, trainers: Sequence[Trainer]) -> None:
    """Replace the folder's checkpoint."""
    arrays: dict[str, Array] = {}
    seeds = []
    for k, t in enumerate(trainers):
        now, first, second = t.steps.arrays()
        for kind, group in (("best", t.best.arrays), ("now", now), ("first", first), ("second", second)):
            arrays |= {f"{k}.{kind}.{name}": np.ascontiguousarray(a) for name, a in group.items()}
        own = {name: getattr(t, name) for name in _TRAINER}
        own["steps"] = {name: getattr(t.steps, name) for name in _STEPS}
        own |= {"recent": t.steps.recent, "taken": t.steps.taken}
        own["best_loss"] = t.best.loss if math.isfinite(t.best.loss) else None
        own["best_epoch"] = t.best.epoch
        seeds.append(own)
    facts = {"format": FORMAT, "settings": settings.as_dict(), "data": data, "seeds": seeds}
    put(folder / NAME, lambda part: save_file(arrays, part, {"streamrnn.train": json.dumps(facts)}))


def read_checkpoint(folder: Path, settings: Settings, data: str) -> Checkpoint:
    """The folder's checkpoint; ConfigError where there is none, or it is of other data or other settings."""
    path = folder / NAME
    if not path.is_file():
        raise ConfigError(f"there is no checkpoint {path}: start without --resume")
    try:
        with safe_open(path, "numpy") as file:
            facts = json.loads((file.metadata() or {})["streamrnn.train"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no map
        made, before = facts["format"], facts["settings"]
        seeds = facts["seeds"]
    except (SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
        raise ConfigError(f"{path} is no checkpoint, or it is damaged ({error}): start without --resume") from None
    if made != FORMAT:
        raise ConfigError(f"{path} has format {made!r}; this streamrnn goes on from format {FORMAT}")
    now, usual = (json.loads(json.dumps(s.as_dict())) for s in (settings, Settings()))
    for name, value in now.items():
        made_with = before.get(name, usual[name])  # a checkpoint may be older than the setting
        if name not in MAY_DIFFER and made_with != value:
            raise ConfigError(
                f"{path} was made with {name} {plain(made_with)}, not {plain(value)}: give it again, or start without "
                "--resume"
            )
    if facts["data"] != data:
        raise ConfigError(f"{path} was made from other data: give the same files, or start without --resume")
    assert isinstance(seeds, list)
    return Checkpoint(facts, arrays)
