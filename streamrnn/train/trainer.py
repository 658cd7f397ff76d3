"""Training from one seed: epochs of truncated backpropagation through time, until validation gets no better."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from streamrnn.errors import ConfigError
from streamrnn.words import count

from .batches import MOST, Batch, plan, whole_batches
from .losses import Loss
from .network import Network
from .recording import Array
from .series import Series
from .settings import Settings
from .steps import Steps

__all__ = ["Progress", "Trainer", "mean_loss"]

EVALUATION_CHUNK = 512
"""Steps at once where no gradient is wanted."""


@dataclass(frozen=True)
class Progress:
    """Where training is: `share` of all epochs of this seed; `validation` is NaN but at the end of an epoch; `best` is
    infinite before there is one; `notes` say what was not expected since the last one."""

    seed: int
    epoch: int
    epochs: int
    share: float
    loss: float
    validation: float
    best: float
    rate: float
    ended: bool = False
    notes: tuple[str, ...] = ()


@dataclass
class Best:
    """The weights with the least validation loss so far."""

    loss: float = math.inf
    epoch: int = -1
    arrays: dict[str, Array] = field(default_factory=dict)


def mean_loss(network: Network, loss: Loss, series: Sequence[Series], device: Any) -> float:
    """The loss of whole series, over all that counts; NaN where nothing does."""
    total, count = 0.0, 0.0
    network.eval()
    with torch.no_grad():
        for batch in whole_batches(series, MOST):
            state = network.begin(len(batch))
            for chunk in batch.chunks(EVALUATION_CHUNK, device, network.spec.horizon):
                raw, state = network(chunk.x, chunk.use, chunk.gaps, state, chunk.clock)
                s, n = loss(raw, chunk.goal, chunk.mask)
                total, count = total + float(s), count + float(n)
    return total / count if count else math.nan


class Trainer:
    """Trains `network` on `train` and keeps the weights that are best on `validation`.

    `history` has a record for each epoch. Everything random comes from the seed and the number of the epoch, so that
    a run that goes on from a checkpoint is the run that was never interrupted.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss,
        train: Sequence[Series],
        validation: Sequence[Series],
        settings: Settings,
        seed: int,
        device: Any,
    ) -> None:
        self.network, self.loss, self.settings, self.seed, self.device = network, loss, settings, seed, device
        self._train, self._validation = train, validation
        self.steps = Steps(network, settings)
        self.epoch = 0
        self.best = Best()
        self.waited = 0
        self.history: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.ended = ""

    def run(self, progress: Callable[[Progress], None], after_epoch: Callable[[], None]) -> None:
        """Train to the end; `ended` then says why it did. KeyboardInterrupt passes through, `best` stays."""
        if self.best.epoch < 0 and self.settings.persist and self.network.spec.head == "forecast":
            # What training starts from is the first candidate: the last value may be hard to beat.
            self._judge(mean_loss(self.network, self.loss, self._validation, self.device), 0)
        while not self.ended:
            self._one_epoch(progress)
            after_epoch()

    def say(self, note: str, progress: Callable[[Progress], None]) -> None:
        """Pass a note on, outside of an epoch."""
        self.notes.append(note)
        self._tell(progress, self.epoch, self.epoch / self.settings.epochs, math.nan)

    def reconsider(self) -> None:
        """Whether it has ended by its present settings, which may be others than those it was restored from."""
        self.ended = ""
        self._end()

    def _one_epoch(self, progress: Callable[[Progress], None]) -> None:
        s, began = self.settings, time.monotonic()
        batches = plan(self._train, s, np.random.Generator(np.random.PCG64([self.seed, self.epoch])))
        torch.manual_seed((self.seed << 20) + self.epoch)  # of dropout
        self.steps.norms.clear()
        self.steps.clipped = 0
        total, count, back = 0.0, 0.0, self.steps.back
        self.network.train()
        for i, pieces in enumerate(batches):
            batch = Batch(self._train, pieces, s.burn_in)
            share = (self.epoch + i / len(batches)) / s.epochs
            done, n = self._batch(batch, share)
            total, count = total + done, count + n
            self._tell(progress, self.epoch + 1, share, total / max(count, 1.0))
            if self.ended:
                break
        validation = mean_loss(self.network, self.loss, self._validation, self.device)
        if not math.isfinite(validation):
            self.notes.append(self.steps.go_back("the validation loss is no finite number"))
            if self.steps.back > self.settings.retries:
                self._give_up()
        else:
            self.steps.keep()  # as a run does that goes on from a checkpoint
        self.epoch += 1
        better = self._judge(validation, self.epoch)
        self.history.append(
            {
                "seed": self.seed,
                "epoch": self.epoch,
                "steps": self.steps.n,
                "train_loss": total / max(count, 1.0),
                "validation_loss": validation,
                "rate": self.steps.rate(self.epoch / s.epochs),
                "gradient_norm": float(np.median(self.steps.norms)) if self.steps.norms else math.nan,
                "clipped": self.steps.clipped / max(len(self.steps.norms), 1),
                "went_back": self.steps.back - back,
                "best": better,
                "seconds": time.monotonic() - began,
            }
        )
        self._end()
        self._tell(progress, self.epoch, self.epoch / s.epochs, total / max(count, 1.0), validation)

    def _batch(self, batch: Batch, share: float) -> tuple[float, float]:
        """(sum of losses, how many counted) of the chunks of one batch, each a step."""
        state = self.network.begin(len(batch))
        total, count = 0.0, 0.0
        for chunk in batch.chunks(self.settings.chunk, self.device, self.network.spec.horizon):
            raw, state = self.network(chunk.x, chunk.use, chunk.gaps, state, chunk.clock)
            state = state.detach()
            loss, n = self.loss(raw, chunk.goal, chunk.mask)
            if not float(n):
                continue
            wrong = self.steps.step(loss / n, share)
            if wrong is not None:
                self.notes.append(wrong)
                if self.steps.back > self.settings.retries:
                    self._give_up()
                break
            total, count = total + float(loss.detach()), count + float(n)
        return total, count

    def _judge(self, validation: float, epoch: int) -> bool:
        """Keep these weights where they are the best so far; plateau and patience count the epochs that were not."""
        if math.isfinite(validation) and validation < self.best.loss:
            self.best = Best(validation, epoch, self.network.arrays())
            self.waited = 0
            return True
        self.waited += 1
        each = max(1, self.settings.patience // 3)
        if self.settings.schedule == "plateau" and self.waited % each == 0:
            self.steps.plateau *= 0.5
        return False

    def _end(self) -> None:
        s = self.settings
        if self.epoch >= s.epochs:
            self.ended = f"all of {count(s.epochs, 'epoch')}"
        elif s.patience and self.waited >= s.patience:
            self.ended = f"no better for {count(s.patience, 'epoch')}"

    def _give_up(self) -> None:
        if self.best.epoch > 0:
            self.ended = f"went back {count(self.steps.back, 'time')}"
            return
        raise ConfigError(
            f"training went back to its last good weights {count(self.steps.back, 'time')} and got nowhere "
            f"({self.notes[-1]}): use a smaller rate (--rate, now {self.settings.rate:g}) or clip (--clip, now "
            f"{self.settings.clip:g})"
        )

    def _tell(
        self,
        progress: Callable[[Progress], None],
        epoch: int,
        share: float,
        loss: float,
        validation: float = math.nan,
    ) -> None:
        notes, self.notes = tuple(self.notes), []
        progress(
            Progress(
                seed=self.seed,
                epoch=epoch,
                epochs=self.settings.epochs,
                share=share,
                loss=loss,
                validation=validation,
                best=self.best.loss,
                rate=self.steps.rate(share),
                ended=bool(self.ended),
                notes=notes,
            )
        )
