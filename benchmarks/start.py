"""How long does a daemon take until it is ready: the very first time, and after that?

    python benchmarks/start.py --json start.json

The first start has an empty folder for compiled code (NUMBA_CACHE_DIR) and compiles everything; later ones load it.
Measured from the creation of the process until its log says `ready`, so with the interpreter's own start.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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
    parser.add_argument("--json", metavar="FILE", help="write the report there; - for standard output")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        first = start(cache)
        later = statistics.median(start(cache) for _ in range(options.repeat))
    report = {"first_seconds": first, "later_seconds": later, "cores": os.cpu_count()}
    print(f"first start  {first:6.2f} s")
    print(f"later starts {later:6.2f} s (median of {options.repeat})")
    if options.json == "-":
        print(json.dumps(report))
    elif options.json:
        Path(options.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
