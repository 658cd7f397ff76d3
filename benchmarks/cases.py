"""The networks that benchmarks time, and tests compare with the oracle first: one table for both.

What is timed is in `PARITY` or stacked from what is, so no figure stands for a shape whose results nobody checked; the
benchmarks check again, on their own inputs, before they time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamrnn import Model

CELLS = ("rnn_tanh", "rnn_relu", "lstm", "gru")
GATES = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}
"""Rows of H weights that a unit has."""


@dataclass(frozen=True)
class Case:
    """One network: its cell, how many inputs and outputs it has, and the hidden size of each layer."""

    cell: str
    n_in: int
    hidden: tuple[int, ...]
    n_out: int

    @property
    def name(self) -> str:
        return f"{self.cell}-{self.n_in}-{'x'.join(map(str, self.hidden))}-{self.n_out}"

    @property
    def weights(self) -> int:
        """Weights of the recurrent layers, without biases: each is multiplied once a step."""
        inputs = (self.n_in, *self.hidden)
        return sum(GATES[self.cell] * h * (n + h) for n, h in zip(inputs, self.hidden, strict=False))

    @property
    def flops(self) -> int:
        """Floating-point operations of a step's products, two a weight; gates come on top and are not counted."""
        return 2 * self.weights

    def model(self, seed: int = 0, head: str = "regress") -> Model:
        return Model.random(cell=self.cell, n_in=self.n_in, hidden=self.hidden, n_out=self.n_out, seed=seed, head=head)


SHAPES = (  # n_in, hidden of each layer, n_out: odd sizes, depths, and widths that differ from layer to layer
    (1, (1,), 1),
    (3, (7,), 2),
    (4, (33,), 4),
    (5, (100,), 3),
    (2, (256,), 1),
    (4, (16, 7, 33), 5),
    (3, (9,) * 8, 2),
)

HIDDEN = (16, 32, 64, 128)
"""The sizes that every comparison is made at."""

TIMED = {cell: tuple(Case(cell, 4, (h,), 4) for h in HIDDEN) for cell in ("lstm", "gru", "rnn_tanh")}
LSTM = TIMED["lstm"]

PARITY = (
    *(Case(cell, *shape) for cell in CELLS for shape in SHAPES),
    *(case for row in TIMED.values() for case in row),
)

# The industry's test of LSTMs on tick data: STAC-ML Markets (Inference), https://www.stacresearch.com/ml
STAC = {
    "LSTM_A": Case("lstm", 100, (100,) * 2, 1),
    "LSTM_B": Case("lstm", 250, (200,) * 3, 1),
    "LSTM_C": Case("lstm", 500, (1000,) * 4, 1),
}


def samples(n: int, n_in: int, seed: int = 0) -> np.ndarray:
    """Inputs (n, n_in) of ordinary size that never settle: a random walk pulled back to 0."""
    rng = np.random.default_rng(seed)
    x = np.zeros((n, n_in))
    for i in range(1, n):
        x[i] = 0.9 * x[i - 1] + rng.normal(size=n_in)
    return x.astype(np.float32)


def many_samples(n: int, streams: int, n_in: int, seed: int = 0) -> np.ndarray:
    """The same for many streams at once: (n, streams, n_in)."""
    return samples(n, streams * n_in, seed).reshape(n, streams, n_in)
