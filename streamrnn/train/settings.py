"""Everything that training can be told, with its defaults and its limits. `streamrnn train` has an option for each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final

from streamrnn.errors import ConfigError, ModelError
from streamrnn.model.checks import choice, integer, integers, is_list, names, real, reals
from streamrnn.model.model import check_detector
from streamrnn.model.spec import HEADS

__all__ = ["CELLS", "LOSSES", "Settings", "plain"]

CELLS: Final = ("gru", "lstm", "elman", "rnn_relu")

LOSSES: Final = MappingProxyType(
    {
        "forecast": ("gaussian", "mse", "huber", "quantile"),
        "classify": ("cross_entropy",),
        "regress": ("mse", "huber"),
    }
)
"""The losses of each head, its default first."""

_SPREADS = {"gaussian": "gaussian", "quantile": "quantile"}

_COUNTS: Final = {
    "layers": (1, 16),
    "horizon": (1, 4096),
    "tokens": (0, 65_536),
    "embedding": (1, 65_536),
    "chunk": (1, 1 << 20),
    "piece": (0, 1 << 30),
    "batch": (0, 1 << 16),
    "epochs": (1, 1_000_000),
    "patience": (0, 1_000_000),
    "warmup": (0, 1 << 30),
    "retries": (0, 1000),
    "chrono": (0, 1 << 30),
    "seed": (0, 2**31 - 1),
    "seeds": (1, 1000),
    "burn_in": (0, 1 << 30),
    "threads": (0, 1024),
}
_NUMBERS: Final = {
    "rate": (1e-8, 10.0),
    "weight_decay": (0.0, 10.0),
    "clip": (0.0, 1e6),
    "spike": (0.0, 1e6),
    "dropout": (0.0, 0.95),
    "huber": (1e-6, 1e6),
    "tolerance": (0.0, 1e6),
}
_CHOICES: Final = {
    "head": HEADS,
    "cell": CELLS,
    "schedule": ("cosine", "plateau", "constant"),
    "init": ("orthogonal", "uniform"),
    "split": ("auto", "stream", "time"),
    "device": ("auto", "cpu", "cuda", "mps"),
    "class_weights": ("none", "balanced"),
}


@dataclass(frozen=True)
class Settings:
    """What to train, on which part of the data, and how. Wrong values are a ConfigError when it is made.

    >>> Settings(head="classify", hidden=16).loss
    'cross_entropy'
    """

    # The network
    head: str = "forecast"
    """What y is: forecast (the sample `horizon` samples ahead), classify (probabilities) or regress."""
    cell: str = "gru"
    """gru, lstm, elman (tanh) or rnn_relu."""
    hidden: int | tuple[int, ...] = 32
    """Units of each layer; one number, or one a layer."""
    layers: int = 1
    """Recurrent layers."""
    layer_norm: bool = False
    """Layer normalisation behind each recurrent layer: larger learning rates, less drift of a deep network."""
    dropout: float = 0.0
    """Share of the units behind each layer that is left out at random in training."""
    horizon: int = 1
    """Samples ahead of a forecast."""
    tokens: int = 0
    """Above 0 the input is one token, a whole number below this, and a forecast is the next one's probabilities."""
    embedding: int = 32
    """Numbers that stand for a token."""
    features: tuple[str, ...] = ()
    """Names of the channels."""
    units: tuple[str, ...] = ()
    """Units of the channels."""
    classes: tuple[str, ...] = ()
    """Names of the classes of a classify head, in the order of their numbers."""
    targets: tuple[str, ...] = ()
    """Names of what a regression gives."""

    # The loss
    loss: str = "auto"
    """gaussian, mse, huber or quantile of a forecast; mse or huber of a regression; cross_entropy of classes."""
    quantiles: tuple[float, float] = (0.1, 0.9)
    """The low and the high quantile of loss quantile, about the median."""
    huber: float = 1.0
    """Where the Huber loss turns from a square to a line, in standard deviations of the channel."""
    class_weights: str = "none"
    """balanced: a class counts as much as any other, however rare; its probabilities are then not calibrated."""

    # The data
    split: str = "auto"
    """stream: whole streams for training, validation, test; time: of each the first, next and last part; auto: by
    stream from ten streams on."""
    parts: tuple[float, float, float] = (0.7, 0.15, 0.15)
    """Shares of training, validation and test."""
    split_gap: int | None = None
    """Samples without a loss before each cut in time; None: the horizon. Labels that look ahead need as many."""
    gap: float | None = None
    """Seconds without a sample after which a stream starts anew; None: never, as the engine does."""

    # The optimisation
    chunk: int = 64
    """Samples that the gradient reaches back (truncated backpropagation through time); the state goes on beyond."""
    piece: int = 2048
    """Longer recordings are cut into pieces of so many samples, so that there is a batch; 0: never."""
    batch: int = 0
    """Pieces side by side; 0: so many that an epoch has about fifty steps, at most 64."""
    burn_in: int = 0
    """Samples at the beginning of a piece without a loss, while its state is still empty."""
    epochs: int = 40
    """Passes over the training data, at most."""
    patience: int = 8
    """Epochs without a better validation loss before training stops; 0: never stop early."""
    rate: float = 3e-3
    """AdamW's learning rate at its highest."""
    weight_decay: float = 1e-4
    """AdamW's, of weight matrices; biases and norms have none."""
    schedule: str = "cosine"
    """cosine: down to a hundredth over `epochs`; plateau: halved after `patience` / 3 epochs that were no better."""
    warmup: int = 50
    """Steps over which the rate rises from 0."""
    clip: float = 1.0
    """Largest norm of the gradient, over all weights; larger ones are scaled down. 0: no clipping."""
    spike: float = 20.0
    """A loss this many deviations above the last ones goes back to the last good weights, at half the rate; 0: only
    one that is no number does."""
    retries: int = 8
    """How many times to go back before giving up."""
    init: str = "orthogonal"
    """Recurrent matrices: orthogonal, which neither shrinks nor grows a gradient, or PyTorch's uniform."""
    chrono: int = 0
    """Above 0: gates start with memories of up to so many samples (chrono initialisation)."""
    clock: bool = False
    """Two more inputs: sine and cosine of the time of day (UTC), for what has a daily course. Recordings need real
    times, and more than a day."""
    persist: bool = True
    """Forecasts start as the last value, which training then improves on."""
    changes: tuple[int, ...] = ()
    """Spans in samples, as (2, 5, 17, 65): a forecaster then sees how far each channel is from its running averages
    over them, in place of its level. For streams whose levels differ more than they move; needs `persist`."""
    seed: int = 0
    """The same seed, data and settings give the same model on the same machine."""
    seeds: int = 1
    """Train from this many seeds; the best on validation is kept and the spread reported."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    threads: int = 0
    """Threads of PyTorch on the CPU; 0: as it likes."""

    # The end
    false_alarms: str | None = None
    """Calibrate the detector's threshold to so many on validation data: 0.5/h a stream-hour, 2/1000 samples."""
    detector: Mapping[str, float] = field(default_factory=dict)
    """Settings of the detector."""
    tolerance: float = 1e-4
    """Largest difference between PyTorch and the engine, relative to outputs above 1."""

    def __post_init__(self) -> None:
        put = object.__setattr__
        try:
            for name, known in _CHOICES.items():
                choice(name, getattr(self, name), known)
            for name, (low, high) in _COUNTS.items():
                put(self, name, integer(name, getattr(self, name), low, high))
            for name, (least, most) in _NUMBERS.items():
                put(self, name, real(name, getattr(self, name), least, most))
            put(self, "hidden", integers("hidden", self.hidden, self.layers, 1, 4096))
            for name in ("features", "units", "classes", "targets"):
                put(self, name, names(name, getattr(self, name)))
            put(self, "detector", reals("detector", self.detector))
            check_detector(self.detector, self.tokens > 0)
            if self.split_gap is not None:
                put(self, "split_gap", integer("split_gap", self.split_gap, 0))
            if self.gap is not None:
                put(self, "gap", real("gap", self.gap, 1e-9, 1e12))
            self._check()
        except ModelError as error:
            raise ConfigError(str(error)) from None

    def _check(self) -> None:
        put = object.__setattr__
        known = ("cross_entropy",) if self.tokens and self.head == "forecast" else LOSSES[self.head]
        put(self, "loss", known[0] if self.loss == "auto" else self.loss)
        if self.loss not in known:
            raise ConfigError(f"loss is {self.loss!r:.60}; with head {self.head!r} use one of {', '.join(known)}")
        if self.head != "forecast" and self.horizon != 1:
            raise ConfigError(
                f"horizon is {self.horizon} with head {self.head!r}; only a forecast has one: shift the labels instead"
            )
        if not is_list(self.parts) or len(self.parts) != 3:
            raise ConfigError(f"parts is {plain(self.parts)}; it must be three shares: training, validation, test")
        put(self, "parts", tuple(real("parts", part, 0.0, 1.0) for part in self.parts))
        if not math.isclose(sum(self.parts), 1.0, abs_tol=1e-6) or min(self.parts[:2]) <= 0:
            raise ConfigError(f"parts is {plain(self.parts)}; the shares must add up to 1, the first two above 0")
        if not is_list(self.quantiles):
            raise ConfigError(f"quantiles is {plain(self.quantiles)}; it must be two numbers, a low and a high one")
        put(self, "quantiles", tuple(self.quantiles))
        self._check_of_use()
        self._check_changes()
        if self.false_alarms is not None and "threshold" in self.detector:
            raise ConfigError(
                f"false_alarms {self.false_alarms!r:.40} is what the detector's threshold is calibrated for, and "
                f"{self.detector['threshold']:g} was given too: leave out --false-alarms, or --detector threshold"
            )
        if self.clock and self.tokens:
            raise ConfigError("clock adds two inputs to channels, and a token is looked up by itself: leave one out")
        if self.chrono == 1:
            raise ConfigError("chrono is 1; it must be 0 (off) or the longest memory in samples, 2 or more")

    def _check_of_use(self) -> None:
        """A setting that would change nothing is a mistake."""
        usual = {f.name: f.default for f in fields(self)}
        for name, of_use, where in (
            ("quantiles", self.loss == "quantile", "loss 'quantile'"),
            ("huber", self.loss == "huber", "loss 'huber'"),
            ("class_weights", self.head == "classify", "head 'classify'"),
            ("embedding", self.tokens > 0, "tokens"),
            ("classes", self.head == "classify", "head 'classify'"),
            ("targets", self.head == "regress", "head 'regress'"),
        ):
            value = getattr(self, name)
            if value != usual[name] and not of_use:
                raise ConfigError(f"{name} is {plain(value)}, which is of use with {where} alone: leave it out")

    def _check_changes(self) -> None:
        spans = tuple(integer("changes", span, 2, 1 << 20) for span in self.changes)
        object.__setattr__(self, "changes", spans)
        if not spans:
            return
        if self.head != "forecast" or self.tokens or not self.persist:
            raise ConfigError(
                f"changes is {plain(spans)}, which is for forecasts of channels that start as the last value: use head "
                "'forecast', no tokens, and persist"
            )
        if self.clock:
            raise ConfigError("changes shows a network distances of channels and nothing else: leave clock out")
        if self.cell == "rnn_relu" or self.layer_norm:
            raise ConfigError(
                "changes needs cells that can hand on small numbers: gru, lstm or elman, without layer_norm"
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of each layer."""
        assert isinstance(self.hidden, tuple)
        return self.hidden

    @property
    def spread(self) -> str:
        """The forecast's spread in the model file."""
        return _SPREADS.get(self.loss, "none")

    @property
    def gap_at_cuts(self) -> int:
        """Samples without a loss before each cut in time."""
        return (self.horizon if self.head == "forecast" else 0) if self.split_gap is None else self.split_gap

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a report or a checkpoint."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            k: dict(v) if isinstance(v, Mapping) else list(v) if isinstance(v, tuple) else v for k, v in values.items()
        }


def plain(value: Any) -> str:
    """A value as it would be given on the command line.

    >>> plain((0.5, 0.5)), plain("none")
    ('0.5,0.5', 'none')
    """
    whole = ",".join(f"{v:g}" if isinstance(v, float) else str(v) for v in value) if is_list(value) else str(value)
    return f"{whole:.60}"
