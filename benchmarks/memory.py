"""What a stream costs in memory, and the process without any.

    python benchmarks/memory.py                figures to results/memory.json; half a minute

For each model a process of its own makes 100,000 streams (10,000 of the adaptive model), steps each until its ring is
full, and compares by how much it grew with what the engine's arrays hold for them: state, ring, ids and table.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
from cases import Case
from loops import warmed

from streamrnn import Engine, Model
from streamrnn.measure import Report

RESULTS = Path(__file__).parent / "results"
N_IN = 4
RING = 16
STREAMS = {"lstm-16": 100_000, "lstm-64": 100_000, "gru-64": 100_000, "adaptive-64": 10_000}


def model_of(name: str) -> Model:
    cell, hidden = name.split("-")
    if cell == "adaptive":
        return Model.adaptive(N_IN, hidden=int(hidden))
    return Case(cell, N_IN, (int(hidden),), N_IN).model(seed=1)


def resident() -> int:
    """Bytes that this process holds in memory now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # not Linux: the peak is the nearest there is
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * resource.getpagesize()


def child(name: str, streams: int) -> dict[str, float]:
    model = model_of(name)
    Engine(model, capacity=1).compile()
    np.zeros((streams, 64)).fill(1.0)  # what NumPy and the allocator keep for themselves is there before
    before = resident()
    engine, _, _ = warmed(model, streams, 1, RING)
    return {"base": before, "grown": resident() - before, **engine.nbytes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=RESULTS / "memory.json", help="where the figures go")
    parser.add_argument("--quick", action="store_true", help="a tenth of the streams")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(child(args.child[0], int(args.child[1]))))
        return
    report = Report("memory")
    for name, most in STREAMS.items():
        streams = most // 10 if args.quick else most
        command = [sys.executable, __file__, "--child", name, str(streams)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        base, grown = found.pop("base"), found.pop("grown")
        held, each = sum(found.values()), {k: v / streams for k, v in found.items()}
        report.add("base", name, "bytes", [base], streams=0)
        report.add("stream", name, "bytes", [grown / streams], streams=streams)
        report.add("held", name, "bytes", [held / streams], streams=streams, **each)
        print(f"{name:12}{streams:8,} streams: {grown / streams:8,.0f} bytes each, arrays {held / streams:8,.0f}")
    report.write(args.json)


if __name__ == "__main__":
    main()
