"""The count that a demo ends with: faults found, flags that were false, and how long answers took."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..simulate import Fault

__all__ = ["GRACE_NS", "Alarm", "Tally", "percentiles_us"]

GRACE_NS = 30_000_000_000
"""A flag this long (ns of the feed's time) after a fault's end still counts as finding it."""


@dataclass(frozen=True)
class Alarm:
    """A flag that was raised: where, when (ns, the feed's time), why, and the fault that it found, if any.

    `first` says whether it is the first flag of that fault.
    """

    stream: str
    t: int
    cause: str | None
    fault: Fault | None
    first: bool


class Tally:
    """Judges flags against the faults that are known.

    A fault is found if a flag is raised on its stream from its start to `GRACE_NS` after its end; a flag that
    was raised in no fault's window is false. Without known faults (`faults=None`) no flag is false.
    `blamed` counts the false ones by the channel that they name.
    """

    def __init__(self, faults: Sequence[Fault] | None) -> None:
        self.known = faults is not None
        self.faults = tuple(faults or ())
        self.samples = 0
        self.missing = 0
        self.flags = 0
        self.false_flags = 0
        self.blamed: Counter[str] = Counter()
        self.found: dict[Fault, Alarm] = {}
        self.alarms: list[Alarm] = []
        self.played_to = -(2**63)
        self.round_trip = array("q")
        self.in_daemon = array("q")

    def sample(self, t: int | None, missing: int, round_trip_ns: int, in_daemon_ns: int) -> None:
        """Count one output: `missing` channels of it were filled."""
        self.samples += 1
        self.missing += missing
        if t is not None and t > self.played_to:
            self.played_to = t
        self.round_trip.append(round_trip_ns)
        self.in_daemon.append(in_daemon_ns)

    def raised(self, stream: str, t: int, cause: str | None) -> Alarm:
        """Judge a flag that was raised at `t`."""
        self.flags += 1
        fault = next((f for f in self.faults if f.stream == stream and f.start_ns <= t <= f.end_ns + GRACE_NS), None)
        alarm = Alarm(stream, t, cause, fault, fault is not None and fault not in self.found)
        if fault is None:
            self.false_flags += self.known
            if self.known:
                self.blamed[(cause or "unknown").partition(":")[0]] += 1
        elif alarm.first:
            self.found[fault] = alarm
        self.alarms.append(alarm)
        return alarm

    @property
    def injected(self) -> list[Fault]:
        """The faults that have begun."""
        return [fault for fault in self.faults if fault.start_ns <= self.played_to]

    def summary(self) -> dict[str, object]:
        """What the demo reports, ready for JSON. Latencies are in microseconds."""
        injected = self.injected
        kinds = sorted({fault.kind for fault in injected})
        return {
            "samples": self.samples,
            "missing": self.missing,
            "flags": self.flags,
            "injected": len(injected),
            "found": len(self.found),
            "false_flags": self.false_flags,
            "false_by_channel": dict(self.blamed.most_common()),
            "by_kind": {
                kind: {
                    "injected": sum(fault.kind == kind for fault in injected),
                    "found": sum(fault.kind == kind for fault in self.found),
                }
                for kind in kinds
            },
            "latency_us": percentiles_us(self.round_trip),
            "daemon_us": percentiles_us(self.in_daemon),
        }


def percentiles_us(times_ns: Sequence[int]) -> dict[str, float]:
    """The median and the 99th percentile (nearest rank) in microseconds; zeros for no times.

    >>> percentiles_us([1000, 2000, 3000])
    {'p50': 2.0, 'p99': 3.0}
    """
    ordered = sorted(times_ns)
    if not ordered:
        return {"p50": 0.0, "p99": 0.0}
    ranks = {"p50": 0.5, "p99": 0.99}
    return {
        name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1e3, 1) for name, share in ranks.items()
    }
