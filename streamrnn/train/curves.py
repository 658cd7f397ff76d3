"""Learning curves: CSV, PNG, and TensorBoard where it is installed."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from .files import put, put_text
from .needs import installed, need

__all__ = ["COLOURS", "figure", "save_figure", "tensorboard", "to_tensorboard", "write_curves"]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's, which the colour-blind can tell apart."""


def figure(width: float, height: float) -> Any:
    """An empty figure in inches, drawn without a screen. Raises NotInstalled."""
    return need("matplotlib.figure", "drawing curves").Figure((width, height), layout="constrained")


def save_figure(drawn: Any, path: Path) -> None:
    """Write a PNG."""
    put(path, lambda part: drawn.savefig(part, format="png", dpi=120))


def write_curves(folder: Path, history: Sequence[dict[str, Any]], spread: str) -> None:
    """Write curves.csv, and curves.png where matplotlib is installed; `spread` is the loss by name."""
    if not history:
        return
    text = io.StringIO()
    out = csv.DictWriter(text, list(history[0]), lineterminator="\n")
    out.writeheader()
    out.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in history)
    put_text(folder / "curves.csv", text.getvalue())
    if installed("matplotlib"):
        save_figure(_drawn(history, spread), folder / "curves.png")


def _drawn(history: Sequence[dict[str, Any]], spread: str) -> Any:
    drawn = figure(7, 6)
    upper, middle, lower = drawn.subplots(3, 1, sharex=True, height_ratios=(3, 1, 1))
    seeds = sorted({row["seed"] for row in history})
    for k, seed in enumerate(seeds):
        own = [row for row in history if row["seed"] == seed]
        epochs = [row["epoch"] for row in own]
        colour = COLOURS[k % len(COLOURS)]
        name = f"seed {seed}, " if len(seeds) > 1 else ""
        upper.plot(epochs, [row["train_loss"] for row in own], color=colour, linestyle=":", label=f"{name}training")
        upper.plot(epochs, [row["validation_loss"] for row in own], color=colour, label=f"{name}validation")
        best = min(own, key=lambda row: row["validation_loss"] if math.isfinite(row["validation_loss"]) else math.inf)
        upper.plot([best["epoch"]], [best["validation_loss"]], "o", color=colour)
        back = [row["epoch"] for row in own if row["went_back"]]
        for epoch in back:
            upper.axvline(epoch, color=colour, linewidth=0.8, linestyle="--")
        middle.plot(epochs, [row["gradient_norm"] for row in own], color=colour)
        lower.plot(epochs, [100 * row["clipped"] for row in own], color=colour)
    upper.set_ylabel(f"loss ({spread})")
    upper.legend(fontsize="small")
    middle.set_ylabel("gradient norm\n(median)")
    middle.set_yscale("log")
    lower.set_ylabel("steps\nclipped, %")
    lower.set_ylim(-5, 105)
    lower.set_xlabel("epoch")
    return drawn


def tensorboard() -> tuple[Any, list[str]]:
    """(PyTorch's SummaryWriter, or None; why it is None though TensorBoard is there, which is no reason to end)."""
    if not installed("tensorboard"):
        return None, []
    try:
        return import_module("torch.utils.tensorboard").SummaryWriter, []
    except ImportError as error:
        why = " ".join(str(error).split())
        return None, [f"TensorBoard is installed, but gets no events, as PyTorch cannot use it ({why:.200})"]


def to_tensorboard(folder: Path, history: Sequence[dict[str, Any]], after: int) -> None:
    """Write the records behind the first `after` of one seed as TensorBoard's events, where it is installed."""
    summary_writer, _ = tensorboard()
    if summary_writer is None:
        return
    writer = summary_writer(str(folder / "tensorboard"))
    for row in history[after:]:
        for name in ("train_loss", "validation_loss", "rate", "gradient_norm", "clipped", "went_back"):
            if math.isfinite(row[name]):
                writer.add_scalar(f"{name}/seed{row['seed']}", row[name], row["epoch"])
    writer.close()
