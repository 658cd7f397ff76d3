"""How long does a daemon take until it is ready: the very first time, and after that?

    python benchmarks/start.py                 figures to results/start.json; half a minute

The first start has an empty folder for compiled code (NUMBA_CACHE_DIR) and compiles everything; later ones load it.
Measured from the creation of the process until its log says `ready`, so with the interpreter's own start.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from streamrnn.measure import Report

RESULTS = Path(__file__).parent / "results"
FLAGS = ["--n-in=4", "--log-format=json", *(f"--{role}=tcp://127.0.0.1:*" for role in ("ingest", "outputs", "control"))]


def start(cache: str) -> float:
    """Seconds until a new daemon is ready."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "streamrnn", "serve", *FLAGS],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NUMBA_CACHE_DIR": cache},
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("{") and json.loads(line)["event"] == "ready":
                return time.perf_counter() - began
        raise SystemExit(f"the daemon ended with status {process.wait()}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5, help="later starts, of which the median counts")
    parser.add_argument("--json", type=Path, default=RESULTS / "start.json", help="where the figures go")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        first = start(cache)
        later = [start(cache) for _ in range(options.repeat)]
    report = Report("start")
    report.add("start", "first", "s", [first])
    median = report.add("start", "later", "s", later)
    print(f"first start  {first:6.2f} s")
    print(f"later starts {median:6.2f} s (median of {options.repeat})")
    report.write(options.json)


if __name__ == "__main__":
    main()
