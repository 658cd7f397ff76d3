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


ACTIVATIONS = {
    "linear": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "softmax": lambda z: np.exp(z - z.max()) / np.exp(z - z.max()).sum(),
}


def lstm_form_step(x, h, c, W_ih, W_hh, b_ih, b_hh, W_hr, clip, acts):
    """An LSTM with a projection (W_hr, or None), a bound on what goes into activations, and activations by name."""
    gate, act, out = (ACTIVATIONS[a] for a in acts)
    i, f, g, o = np.split(np.clip(W_ih @ x + b_ih + W_hh @ h + b_hh, -clip, clip), 4)
    c = gate(f) * c + gate(i) * act(g)
    h = gate(o) * out(c)
    return (h if W_hr is None else W_hr @ h), c


def gru_form_step(x, h, W_ih, W_hh, b_ih, b_hh, clip, acts, reset_before):
    """A GRU whose reset gate is applied to h before the product, or after it."""
    gate, act = (ACTIVATIONS[a] for a in acts)
    xr, xz, xn = np.split(W_ih @ x + b_ih, 3)
    W_r, W_z, W_n = np.split(W_hh, 3)
    b_r, b_z, b_n = np.split(b_hh, 3)
    r, z = (gate(np.clip(a, -clip, clip)) for a in (xr + W_r @ h + b_r, xz + W_z @ h + b_z))
    n = xn + (W_n @ (r * h) + b_n if reset_before else r * (W_n @ h + b_n))
    return (1 - z) * act(np.clip(n, -clip, clip)) + z * h


def layer_norm(x, weight, bias, epsilon):
    return (x - x.mean()) / np.sqrt(x.var() + epsilon) * weight + bias


def squareplus(a):
    """(a + sqrt(a^2 + 4)) / 2, for a < 0 by the form that does not cancel."""
    root = np.sqrt(a * a + 4)
    return np.where(a < 0, 2 / (root + np.abs(a)), (a + root) / 2)


def spread_of(raw, n, mean=0.0, scale=1.0):
    """A forecast and its spread from all m, all a and, for quantiles, all b of n channels."""
    m, a, *b = np.split(np.asarray(raw, np.float64), len(raw) // n)
    if not b:
        return np.concatenate([m * scale + mean, squareplus(a) * scale])
    return np.concatenate([part * scale + mean for part in (m, m - squareplus(a), m + squareplus(b[0]))])


def surprise_scores(p, rate, mean, scale):
    """Scores of tokens to which forecasts gave the probabilities p, NaN where there was none."""
    d, scores = 0.0, []
    for bits in -np.log2(np.maximum(np.asarray(p, np.float64), 2.0**-126)):
        d += 0.0 if np.isnan(bits) else rate * (bits - mean - d)
        scores.append(max(d, 0.0) / scale)
    return np.array(scores)


class Network:
    """A chain of layers and a readout. `layers` are plain values: a cell's name, or a layer as a model file has it.

    `arrays` holds PyTorch's names; without a readout in it, the last layer's output is y.
    """

    def __init__(self, layers, arrays):
        self.layers = [{"cell": x} if isinstance(x, str) else x for x in layers]
        self.arrays = {name: np.asarray(a, np.float64) for name, a in arrays.items()}
        widths = [self.arrays[f"weight_hh_l{i}"].shape[1] if "cell" in x else 0 for i, x in enumerate(self.layers)]
        cells = [
            self.arrays[f"weight_hh_l{i}"].shape[0] // 4 if x.get("cell") == "lstm" else 0
            for i, x in enumerate(self.layers)
        ]
        self.h = [np.zeros(n) for n in widths]
        self.c = [np.zeros(n) for n in cells]

    def step(self, x):
        x = np.asarray(x, np.float64)
        for i, layer in enumerate(self.layers):
            x = self._recurrent(i, layer, x) if "cell" in layer else self._stateless(i, layer, x)
        if "readout.weight" not in self.arrays:
            return x
        return self.arrays["readout.weight"] @ x + self.arrays["readout.bias"]

    def _stateless(self, i, layer, x):
        weight, bias = self.arrays.get(f"weight_l{i}"), self.arrays.get(f"bias_l{i}")
        if layer["kind"] == "embedding":
            return weight[int(x[0])]
        if layer["kind"] == "layer_norm":
            return layer_norm(x, weight, bias, layer["epsilon"])
        return ACTIVATIONS[layer["activation"]](x if weight is None else weight @ x + bias)

    def _recurrent(self, i, layer, x):
        cell, clip = layer["cell"], layer.get("clip") or np.inf
        W = [self.arrays[f"{part}_l{i}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        if cell == "lstm" and set(layer) <= {"cell", "n_in", "hidden"}:
            self.h[i], self.c[i] = lstm_step(x, self.h[i], self.c[i], *W)
        elif cell == "lstm":
            acts = layer.get("activations") or ("sigmoid", "tanh", "tanh")
            W_hr = self.arrays.get(f"weight_hr_l{i}")
            self.h[i], self.c[i] = lstm_form_step(x, self.h[i], self.c[i], *W, W_hr, clip, acts)
        elif cell == "gru" and set(layer) <= {"cell", "n_in", "hidden"}:
            self.h[i] = gru_step(x, self.h[i], *W)
        elif cell in ("gru", "gru_reset_before"):
            acts = layer.get("activations") or ("sigmoid", "tanh")
            self.h[i] = gru_form_step(x, self.h[i], *W, clip, acts, cell == "gru_reset_before")
        elif cell == "reservoir":
            self.h[i] = reservoir_step(x, self.h[i], *W, self.arrays[f"leak_l{i}"])
        else:
            act = ACTIVATIONS[cell.removeprefix("rnn_")]
            self.h[i] = rnn_step(x, self.h[i], *W, lambda z: act(np.clip(z, -clip, clip)))
        return self.h[i]
