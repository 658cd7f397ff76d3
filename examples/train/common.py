"""What the four proofs share: where the recordings are, what a run prints and writes, and a few measures."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn import Engine, Model
from streamrnn.train import Fitted, Recording, Settings, fit

Floats = npt.NDArray[np.float64]

DOCS = Path(__file__).parents[2] / "docs" / "models"
NO_DATA = 77
"""Exit status where the recordings are absent: skipped, neither passed nor failed."""


def arguments(doc: str | None, *more: tuple[str, dict[str, Any]]) -> argparse.Namespace:
    """The options of every proof, and `more` (name, what add_argument takes)."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny network and little data, to see that it runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of recordings (default: STREAMRNN_DATA)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured here")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw it into this PNG (needs matplotlib)")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="write the model here")
    for name, how in more:
        parser.add_argument(name, **how)
    return parser.parse_args()


def data_dir(given: Path | None, name: str) -> Path:
    """The folder of recordings `name`; leaves with status 77 and the reason where there is none."""
    root = given or Path(os.environ.get("STREAMRNN_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not (root / name).is_dir():
        print(f"skipped: there are no recordings in {root / name}; give --data or set STREAMRNN_DATA")
        sys.exit(NO_DATA)
    return root / name


def trained(
    train: list[Recording], settings: Settings, validation: list[Recording], test: list[Recording] | None = None
) -> Fitted:
    """`fit`, with a line on the standard error as it goes and one when it is done."""
    began = time.monotonic()

    def progress(now: Any) -> None:
        if sys.stderr.isatty():
            print(f"\r{now.share:6.1%}  loss {now.loss:.4f}  validation {now.validation:.4f} ", end="", file=sys.stderr)

    fitted = fit(train, settings, progress=progress, validation=validation, test=test)
    made = fitted.model.spec.provenance
    parity = made["parity"]["max_difference"]
    print(
        f"trained {fitted.model.parameters:,} numbers in {time.monotonic() - began:.0f} s; the best of "
        f"{len(fitted.history)} epochs is {made['epoch']}; the engine differs from PyTorch by {parity:.1g} at most",
        file=sys.stderr,
    )
    return fitted


def answers(model: Model, x: npt.NDArray[Any], stream: str = "s") -> Floats:
    """What the engine says after each sample of one stream, float64 (n, n_out)."""
    return Engine(model, capacity=1, ring=0).step_many([stream] * len(x), x).y.astype(np.float64)


def at_specificity(score: Floats, positive: npt.NDArray[np.bool_], specificity: float) -> tuple[float, float]:
    """(sensitivity, threshold) where at most 1 - specificity of the negatives score above the threshold."""
    limit = float(np.quantile(score[~positive], specificity, method="higher"))
    return float((score[positive] > limit).mean()), limit


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def write(args: argparse.Namespace, report: dict[str, Any], model: Model | None = None) -> None:
    """The report as JSON, and the model, where they were asked for."""
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    if args.out and model is not None:
        model.save(args.out)


def plotting() -> Any:
    """matplotlib.pyplot without a screen, drawn small."""
    import matplotlib as mpl  # noqa: PLC0415 - only where a figure is asked for

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    plt.rcParams.update({"font.size": 9, "figure.dpi": 110, "axes.spines.top": False, "axes.spines.right": False})
    return plt


def save(figure: Any, path: Path) -> None:
    """Write the figure as a PNG without a date, so that the same figure is the same file."""
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})
