"""Why an Elman network forgets and a GRU does not: how much of the gradient is left, the further back one looks.

For a sequence of samples and the loss of its last output, the norm of d loss / d h_{t-k} is taken for every lag k, with
h all that the layer carries (h, and for an LSTM c). Y. Bengio, P. Simard and P. Frasconi 1994
(doi 10.1109/72.279181) explain why it vanishes or explodes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from streamrnn.errors import ConfigError
from streamrnn.model import LayerSpec

from .curves import COLOURS, figure, save_figure
from .files import put_text
from .recording import Array, Recording, held
from .scaling import scaling_of
from .settings import Settings
from .start import start_recurrent

__all__ = ["CELLS", "Decay", "decays", "half_life", "windows", "write_decays"]

CELLS = ("elman", "lstm", "gru", "lstm chrono", "gru chrono")

WINDOWS = 32
"""Sequences that the norms are taken over; the figure shows their geometric mean."""

LEAST = 1e-12
"""Where the figure ends: less is nothing to a sum in float32."""

_TINY = 1e-300


@dataclass(frozen=True)
class Decay:
    """Of one cell: norms float64 (lags + 1,) against the lag, relative to lag 0."""

    cell: str
    norms: npt.NDArray[np.float64]


def windows(recordings: Sequence[Recording], names: Sequence[str], lags: int, seed: int) -> Array:
    """Stretches of recordings, normalised, missing values held: float32 (lags + 1, WINDOWS, n)."""
    scaling = scaling_of(recordings, names)
    rng = np.random.Generator(np.random.PCG64(seed))
    long = [r for r in recordings if len(r) > lags]
    if not long:
        longest = max((len(r) for r in recordings), default=0)
        raise ConfigError(f"the longest recording has {longest} samples; lags is {lags} (--lags): it must be less")
    out = []
    for _ in range(WINDOWS):
        r = long[int(rng.integers(len(long)))]
        a = int(rng.integers(len(r) - lags))
        out.append(scaling.apply(held(r.x, scaling.mean)[0][a : a + lags + 1]))
    return np.stack(out, 1)


def decays(x: Array, settings: Settings) -> list[Decay]:
    """The decay in networks of each of CELLS as training would start them, for inputs (lags + 1, B, n), normalised.

    `settings` give the units of the first layer, the seed, `init`, and for how long chrono gates remember (without it,
    for all lags).
    """
    return [Decay(cell, _norms(cell, torch.from_numpy(x).double(), settings)) for cell in CELLS]


def _norms(name: str, x: Any, settings: Settings) -> npt.NDArray[np.float64]:
    cell, _, chrono = name.partition(" ")
    n, hidden = x.shape[2], settings.widths[0]
    longest = (settings.chrono or max(len(x) - 1, 2)) if chrono else 0
    layer = LayerSpec("rnn_tanh" if cell == "elman" else cell, n, hidden)
    module = {"elman": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell](n, hidden)
    step = {"elman": torch.rnn_tanh_cell, "lstm": torch.lstm_cell, "gru": torch.gru_cell}[cell]
    generator = torch.Generator().manual_seed(settings.seed)
    start_recurrent(layer, module, replace(settings, chrono=longest), generator)
    readout = nn.init.xavier_uniform_(torch.empty(n, hidden), generator=generator)
    module, readout = module.double(), readout.double()
    weights = [module.weight_ih_l0, module.weight_hh_l0, module.bias_ih_l0, module.bias_hh_l0]
    h = c = x.new_zeros((x.shape[1], hidden))
    states: list[list[Any]] = []
    for u in x[:-1]:
        if cell == "lstm":
            h, c = step(u, (h, c), *weights)
        else:
            h = step(u, h, *weights)
        states.append([h, c] if cell == "lstm" else [h])
        for s in states[-1]:
            s.retain_grad()
    ((h @ readout.T - x[-1]) ** 2).sum().backward()
    norms = []
    for parts in reversed(states):
        # The last c reaches the loss through the last h alone.
        total = sum((s.grad**2).sum(1) for s in parts if s.grad is not None)
        norms.append(float(torch.exp(0.5 * torch.log(total + _TINY).mean())))
    found = np.array(norms)
    out: npt.NDArray[np.float64] = found / found[0]
    return out


def half_life(decay: Decay) -> int:
    """The lag from which less than half of the gradient is left; the largest lag where that is nowhere.

    >>> half_life(Decay("gru", np.array([1.0, 0.8, 0.4, 0.1])))
    2
    """
    below = np.flatnonzero(decay.norms < 0.5)
    return int(below[0]) if len(below) else len(decay.norms) - 1


def write_decays(png: Path, found: Sequence[Decay]) -> Path:
    """Write the figure, and the numbers beside it as CSV, whose path is returned."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(["lag", *(d.cell.replace(" ", "_") for d in found)])
    for k in range(len(found[0].norms)):
        out.writerow([k, *(f"{d.norms[k]:.6g}" for d in found)])
    drawn = figure(7, 4.5)
    axes = drawn.subplots()
    for decay, colour in zip(found, COLOURS, strict=False):
        axes.semilogy(np.maximum(decay.norms, LEAST), color=colour, label=decay.cell)
    axes.set_xlabel("lag k, samples")
    axes.set_ylabel("|d loss / d h(t - k)|, relative to lag 0")
    axes.set_ylim(bottom=LEAST)
    axes.grid(alpha=0.3)
    axes.legend()
    axes.set_title("How much of the gradient is left, before any training")
    table = png.with_suffix(".csv")
    put_text(table, text.getvalue())
    save_figure(drawn, png)
    return table
