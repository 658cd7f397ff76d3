"""Networks that several tests share: every cell, odd sizes, depths, and widths that differ from layer to layer."""

from __future__ import annotations

import numpy as np

from streamrnn import Model

CELLS = ("rnn_tanh", "rnn_relu", "lstm", "gru")

SHAPES = (  # n_in, hidden of each layer, n_out
    (1, (1,), 1),
    (3, (7,), 2),
    (4, (33,), 4),
    (5, (100,), 3),
    (2, (256,), 1),
    (4, (16, 7, 33), 5),
    (3, (9,) * 8, 2),
)

CASES = [(cell, *shape) for cell in CELLS for shape in SHAPES]


def case_id(case):
    cell, n_in, hidden, n_out = case
    return f"{cell}-{n_in}-{'x'.join(map(str, hidden))}-{n_out}"


def network(case, seed=0):
    cell, n_in, hidden, n_out = case
    return Model.random(cell=cell, n_in=n_in, hidden=hidden, n_out=n_out, seed=seed)


def samples(n, n_in, seed=0):
    """Inputs of ordinary size that never settle: a random walk pulled back to 0."""
    rng = np.random.default_rng(seed)
    x = np.zeros((n, n_in))
    for i in range(1, n):
        x[i] = 0.9 * x[i - 1] + rng.normal(size=n_in)
    return x.astype(np.float32)
