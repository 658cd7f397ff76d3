"""One step of the optimiser: its rate, the gradient's norm, and what to do when a step went wrong."""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from .network import Network
from .recording import Array
from .settings import Settings

__all__ = ["Steps"]

KEEP_EVERY = 25
"""Steps between two copies of weights that may be gone back to."""

RECENT = 200
"""Losses that a spike is held against, of which there must be a quarter before one is seen."""

AGAIN = 5
"""Losses in a row whose mean must be high: a chunk that is hard by itself is no spike."""

LEAST = 0.01
"""A cosine's last rate, of the first."""


class Steps:
    """AdamW on a network's parameters, with all that keeps it from running away.

    `factor` is what going back has made of the rate; `back` counts how often that was.
    """

    def __init__(self, network: Network, settings: Settings) -> None:
        self._network, self._settings = network, settings
        matrices = [p for name, p in network.tensors().items() if p.dim() > 1]
        others = [p for name, p in network.tensors().items() if p.dim() <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=settings.rate,
        )
        self._pinned = network.pinned()
        self.n = 0
        self.factor = 1.0
        self.plateau = 1.0
        self.back = 0
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._good: tuple[list[Any], dict[str, Any]] | None = None
        self.norms: list[float] = []
        self.clipped = 0

    def rate(self, share: float) -> float:
        """The learning rate at this share of all epochs, from 0 to 1."""
        s = self._settings
        rate = s.rate * self.factor * self.plateau
        if s.schedule == "cosine":
            rate *= LEAST + (1 - LEAST) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
        return rate * min(1.0, (self.n + 1) / s.warmup) if s.warmup else rate

    def step(self, loss: Any, share: float) -> str | None:
        """Go down the gradient of `loss`; or back to the last good weights, and say why."""
        value = float(loss.detach())
        if self.n == 0 or (self.n % KEEP_EVERY == 0 and math.isfinite(value) and not self._spike(value)):
            self._keep()
        if not math.isfinite(value):
            return self._go_back("the loss is no finite number")
        if self._spike(value):
            return self._go_back(f"the loss rose to {value:.4g}")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        parameters = [p for p in self._network.parameters() if p.grad is not None]
        limit = self._settings.clip or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, limit))
        if not math.isfinite(norm):
            return self._go_back("the gradient is no finite number")
        self.norms.append(norm)
        self.clipped += norm > limit
        rate = self.rate(share)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        with torch.no_grad():
            for p, held, values in self._pinned:  # which weight decay reaches
                p[held] = values
        self._recent.append(value)
        self.n += 1
        return None

    def _spike(self, value: float) -> bool:
        limit = self._settings.spike
        if not limit or len(self._recent) < RECENT // 4:
            return False
        past = np.array(self._recent)
        middle = float(np.median(past))
        deviation = max(1.4826 * float(np.median(np.abs(past - middle))), 0.02 * max(1.0, abs(middle)))
        return float(np.mean([*past[1 - AGAIN :], value])) > middle + limit * deviation

    def _keep(self) -> None:
        """Copy weights whose loss was just seen to be fine, before they are changed."""
        weights = [p.detach().clone() for p in self._network.parameters()]
        self._good = (weights, copy.deepcopy(self.optimiser.state_dict()))

    def keep(self) -> None:
        """Copy the weights as they are, where they were just judged on validation data."""
        self._keep()

    def go_back(self, why: str) -> str:
        """As after a spike, for a reason that is seen elsewhere."""
        return self._go_back(why)

    def _go_back(self, why: str) -> str:
        assert self._good is not None
        with torch.no_grad():
            for p, good in zip(self._network.parameters(), self._good[0], strict=True):
                p.copy_(good)
        self.optimiser.load_state_dict(copy.deepcopy(self._good[1]))
        self.optimiser.zero_grad(set_to_none=True)
        self._recent.clear()
        self.factor *= 0.5
        self.back += 1
        return f"{why} at step {self.n}: back to the last good weights, at {self.factor:g} of the rate"

    @property
    def recent(self) -> list[float]:
        """The last losses."""
        return list(self._recent)

    @property
    def taken(self) -> float:
        """Steps that AdamW's moments have seen; those that were gone back from are not among them."""
        return next((float(state["step"]) for state in self.optimiser.state.values()), 0.0)

    def arrays(self) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        """The parameters, and AdamW's first and second moments of them, by name; none before the first step."""
        tensors = self._network.tensors()
        moments: list[dict[str, Array]] = []
        for key in ("exp_avg", "exp_avg_sq"):
            held = {name: self.optimiser.state.get(p, {}).get(key) for name, p in tensors.items()}
            moments.append({name: _array(m) for name, m in held.items() if m is not None})
        return {name: _array(p) for name, p in tensors.items()}, moments[0], moments[1]

    def restore(
        self,
        now: Mapping[str, Array],
        first: Mapping[str, Array],
        second: Mapping[str, Array],
        recent: list[float],
        taken: float,
    ) -> None:
        """Go on from where `arrays`, `recent` and `taken` stood."""
        with torch.no_grad():
            for name, p in self._network.tensors().items():
                p.copy_(torch.from_numpy(now[name]))
                if name in first:
                    self.optimiser.state[p] = {
                        "step": torch.tensor(taken),
                        "exp_avg": torch.from_numpy(first[name]).to(p.device),
                        "exp_avg_sq": torch.from_numpy(second[name]).to(p.device),
                    }
        self._recent.extend(recent)
        self._keep()


def _array(tensor: Any) -> Array:
    return np.array(tensor.detach().cpu().numpy(), np.float32)
