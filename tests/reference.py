"""The oracle: recurrent networks in plain NumPy and float64, from their published equations.

It imports nothing of streamrnn and shares no layout with it: weights are PyTorch's arrays, one step at a time.
"""

from __future__ import annotations

import numpy as np


def sigmoid(x):
    # The form that does not overflow, on either side.
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def rnn_step(x, h, W_ih, W_hh, b_ih, b_hh, act):
    return act(W_ih @ x + b_ih + W_hh @ h + b_hh)


def lstm_step(x, h, c, W_ih, W_hh, b_ih, b_hh):
    i, f, g, o = np.split(W_ih @ x + b_ih + W_hh @ h + b_hh, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_step(x, h, W_ih, W_hh, b_ih, b_hh):
    xr, xz, xn = np.split(W_ih @ x + b_ih, 3)
    hr, hz, hn = np.split(W_hh @ h + b_hh, 3)
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    return (1 - z) * np.tanh(xn + r * hn) + z * h


def reservoir_step(x, h, W_ih, W_hh, b_ih, b_hh, leak):
    return (1 - leak) * h + leak * np.tanh(W_ih @ x + b_ih + W_hh @ h + b_hh)


class Network:
    """A stack of layers with a linear readout; `cells` names each layer's cell, `arrays` holds PyTorch's names."""

    def __init__(self, cells, arrays):
        self.cells = cells
        self.arrays = {name: np.asarray(a, np.float64) for name, a in arrays.items()}
        self.h = [np.zeros(self.arrays[f"weight_hh_l{i}"].shape[1]) for i in range(len(cells))]
        self.c = [np.zeros_like(h) for h in self.h]

    def step(self, x):
        x = np.asarray(x, np.float64)
        for i, cell in enumerate(self.cells):
            W = [self.arrays[f"{part}_l{i}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            if cell == "lstm":
                self.h[i], self.c[i] = lstm_step(x, self.h[i], self.c[i], *W)
            elif cell == "gru":
                self.h[i] = gru_step(x, self.h[i], *W)
            elif cell == "reservoir":
                self.h[i] = reservoir_step(x, self.h[i], *W, self.arrays[f"leak_l{i}"])
            else:
                act = np.tanh if cell == "rnn_tanh" else lambda z: np.maximum(z, 0)
                self.h[i] = rnn_step(x, self.h[i], *W, act)
            x = self.h[i]
        return self.arrays["readout.weight"] @ x + self.arrays["readout.bias"]
