"""How long things take: timed rounds, several contestants in turn, and what is written down about a machine.

`streamrnn bench` and the benchmarks of the repository measure by these rules: a figure is the median of rounds, given
with its quartiles; what is compared takes turns, round by round, so that a machine that slows down slows all of it.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["Report", "available_memory", "interleaved", "machine", "per_call", "percentile", "summary", "versions"]

BATCH_SECONDS = 0.01
"""A round repeats a call until it has taken this long: a hundred thousand times the clock's resolution."""


def per_call(
    call: Callable[[], object], seconds: float = BATCH_SECONDS, clock: Callable[[], float] = time.perf_counter
) -> Callable[[], float]:
    """A function that measures one round: the seconds that a call takes, in a batch of calls that takes `seconds`.

    With time.thread_time as the clock, what other processes take of a busy machine's cores is not counted.

    >>> per_call(lambda: None, seconds=0.001)() < 0.001
    True
    """
    call()  # which may compile, and would be taken for slow
    calls = 1
    while True:
        began = clock()
        for _ in range(calls):
            call()
        if (spent := clock() - began) >= seconds:
            break
        calls = max(2 * calls, int(calls * seconds / max(spent, 1e-9)))

    def measure() -> float:
        began = clock()
        for _ in range(calls):
            call()
        return (clock() - began) / calls

    return measure


def interleaved(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each contestant's function returned, `rounds` times, taking turns.

    >>> interleaved({"a": lambda: 1.0, "b": lambda: 2.0}, rounds=2)
    {'a': [1.0, 1.0], 'b': [2.0, 2.0]}
    """
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, measure in contestants.items():
            found[name].append(measure())
    return found


def percentile(values: Sequence[float], q: float) -> float:
    """The q-th percentile, 0 to 100, by linear interpolation.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 50)
    2.5
    """
    ordered = sorted(values)
    at = (len(ordered) - 1) * q / 100
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles of rounds, and how many there were.

    >>> summary([3.0, 1.0, 2.0])
    {'median': 2.0, 'low': 1.5, 'high': 2.5, 'rounds': 3}
    """
    return {
        "median": statistics.median(values),
        "low": percentile(values, 25),
        "high": percentile(values, 75),
        "rounds": len(values),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    return named.get("model name") or platform.processor() or platform.machine()


def _memory(name: str) -> int | None:
    """Bytes by a name of /proc/meminfo; None where there is no such file."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)


def available_memory() -> int | None:
    """Bytes that may be taken without swapping, or None where the system does not say."""
    return _memory("MemAvailable")


def machine() -> dict[str, Any]:
    """The machine as plain values: cpu, cores, memory_bytes, system, python, load (of the last minute)."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_bytes": _memory("MemTotal"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def versions(*packages: str) -> dict[str, str | None]:
    """Installed versions by distribution name; None for what is absent."""
    return {name: _version(name) for name in packages}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


class Report:
    """Figures of one benchmark, written as JSON:

        {"benchmark": name, "when": ISO 8601 UTC, "seconds": how long it ran,
         "machine": see `machine`, "versions": {package: version or null},
         "notes": [what was left out, and why],
         "rows": [{"question": ..., "name": ..., "unit": ..., "median": ..., "low": ..., "high": ..., "rounds": ...,
                   and the parameters of the measurement, such as "hidden": 64, "streams": 1024}]}

    Rows that answer one question share its name; `low` and `high` are quartiles over rounds. A figure that is one
    number, such as a count of bytes, is a row of one round.

    >>> report = Report("demo", packages=("numpy",))
    >>> report.add("step", "streamrnn", "ns", [90.0, 110.0, 100.0], hidden=32)
    100.0
    >>> report.rows[0]["hidden"], report.rows[0]["high"]
    (32, 105.0)
    """

    def __init__(self, benchmark: str, packages: Sequence[str] = ("streamrnn", "numba", "numpy")) -> None:
        self.benchmark = benchmark
        self.rows: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self._began = time.time()
        self._machine = machine()
        self._versions = versions(*packages)

    def add(self, question: str, name: str, unit: str, values: Sequence[float], **parameters: Any) -> float:
        """Add a row from the values of its rounds; returns their median."""
        row = {"question": question, "name": name, "unit": unit, **summary(values), **parameters}
        self.rows.append(row)
        return float(row["median"])

    def note(self, text: str) -> None:
        """Say what was left out, and why, to the terminal and in the report."""
        self.notes.append(text)
        print(text)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "benchmark": self.benchmark,
            "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._began)),
            "seconds": round(time.time() - self._began, 1),
            "machine": self._machine,
            "versions": self._versions,
            "notes": self.notes,
            "rows": self.rows,
        }

    def write(self, path: Path) -> None:
        """Write the report, making its folder where there is none."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_dict(), indent=1) + "\n", encoding="utf-8")
