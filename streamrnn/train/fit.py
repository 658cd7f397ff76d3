"""`fit`: from recordings to a model."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamrnn.model import Model

from .needs import need
from .recording import Recording
from .settings import Settings

if TYPE_CHECKING:
    from .trainer import Progress

__all__ = ["Fitted", "Interrupted", "fit"]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C before there was a model: `kept` is the checkpoint that `resume` goes on from, or None."""

    def __init__(self, kept: Path | None) -> None:
        super().__init__()
        self.kept = kept


@dataclass(frozen=True)
class Fitted:
    """What came of training: the model, a report of plain values, and a record for each epoch of each seed.

    `interrupted` says that Ctrl-C ended it early.
    """

    model: Model
    report: dict[str, Any]
    history: list[dict[str, Any]]
    interrupted: bool = False


def fit(
    recordings: Sequence[Recording],
    settings: Settings | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
    *,
    validation: Sequence[Recording] | None = None,
    test: Sequence[Recording] | None = None,
    work: str | os.PathLike[str] | None = None,
    resume: bool = False,
) -> Fitted:
    """Train a network on recordings.

    Without `validation` and `test`, the recordings are split as the settings say. The best network on validation is
    exported, its detector calibrated (`false_alarms`), and what the engine computes of it compared with PyTorch, sample
    by sample. With `out` the model is written there, and checkpoints, learning curves and the report into the folder
    `work` (by default the model's name with .train), from which `resume` goes on. `progress` is called after each
    batch. KeyboardInterrupt keeps the best so far, once an epoch has ended; before that, and while the model is being
    calibrated and compared, it passes, as an `Interrupted` that says whether there is a checkpoint.

    Raises NotInstalled without the extra `train`, ConfigError for what cannot be learned from, and ModelError where the
    engine and PyTorch differ.
    """
    need("torch", "training")
    from .run import run

    return run(
        list(recordings),
        settings or Settings(),
        None if out is None else Path(out),
        progress or (lambda _: None),
        validation=validation,
        test=test,
        work=None if work is None else Path(work),
        resume=resume,
    )
