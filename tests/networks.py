"""Networks that several tests share: those that the benchmarks time, and every cell in odd sizes and depths."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from cases import CELLS, Case, samples
from cases import PARITY as CASES

__all__ = ["CASES", "CELLS", "case_id", "network", "samples"]


def case_id(case: Case) -> str:
    return case.name


def network(case: Case, seed: int = 0):
    return case.model(seed)
