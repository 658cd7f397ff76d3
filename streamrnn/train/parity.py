"""The exported model, run by the engine, against the network as it was trained, run by PyTorch, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from streamrnn.engine import Engine
from streamrnn.errors import ModelError
from streamrnn.model import Model

from .batches import Batch
from .network import Network
from .recording import Recording
from .series import Series

__all__ = ["STEPS", "compare"]

STEPS = 1000
"""Samples of the comparison, at least, where there are as many."""


def _ours(model: Model, recording: Recording) -> np.ndarray:
    engine = Engine(model, capacity=1, ring=0)
    return engine.step_many([recording.stream] * len(recording), recording.x, recording.t).y


def _theirs(network: Network, series: Series) -> np.ndarray:
    network = network.to("cpu").eval()
    batch = Batch([series], [(0, 0, len(series))])
    with torch.no_grad():
        (chunk,) = batch.chunks(len(series), "cpu", network.spec.horizon)
        raw, _ = network(chunk.x, chunk.use, chunk.gaps, network.begin(1), chunk.clock)
        found: np.ndarray = network.outputs(raw)[:, 0].numpy()
    return found


def compare(
    model: Model, network: Network, recordings: Sequence[Recording], series: Sequence[Series], tolerance: float
) -> dict[str, Any]:
    """Run both on the same samples, gaps and missing channels included, from a state of zero.

    The difference is |ours - theirs| / max(1, |theirs|), as importers have it; its largest is returned for the
    provenance. Above `tolerance` a ModelError is raised.
    """
    steps, worst = 0, 0.0
    # Those with gaps first: there a forecast comes back as an input.
    order = sorted(range(len(series)), key=lambda i: series[i].use is None)
    for i in order:
        if steps >= STEPS:
            break
        n = min(len(series[i]), 2 * STEPS)
        recording, part = recordings[i].part(0, n), series[i].beginning(n)
        ours, theirs = _ours(model, recording), _theirs(network, part)
        worst = float(np.max([worst, np.max(np.abs(ours - theirs) / np.maximum(1, np.abs(theirs)))]))  # NaN wins
        steps += n
    if not worst <= tolerance:
        raise ModelError(
            f"the exported model, run by the engine, differs from PyTorch by {worst:.3g} over {steps} samples; the "
            f"limit is {tolerance:g}. More weight_decay (--weight-decay) or a bounded cell keep rounding small; or "
            "accept the difference with tolerance (--tolerance)"
        )
    return {"against": f"torch {torch.__version__}", "steps": steps, "max_difference": float(f"{worst:.3g}")}
