"""Everything that docs/benchmarks.md quotes, measured anew: one command, a quarter of an hour at most.

    pip install -e '.[bench]'
    python benchmarks/run_all.py               all benchmarks of speed and memory, one after the other, then the report
    python benchmarks/run_all.py --quick       less of kernels, memory and peers; the document stays as it is
    python benchmarks/run_all.py --without wire peers

Leave the machine alone meanwhile. Figures go to benchmarks/results/ (of short runs to results/quick/), plots to docs/,
tables into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
PARTS = ("kernels", "memory", "start", "peers", "wire")
QUICK = ("kernels", "memory", "peers")
"""Those that have a shorter form."""


def run(script: str, *options: str) -> int:
    print(f"\n== {script} {' '.join(options)}", flush=True)
    began = time.monotonic()
    status = subprocess.run([sys.executable, str(FOLDER / f"{script}.py"), *options], check=False).returncode
    print(f"== {script}: {time.monotonic() - began:.0f} s, status {status}", flush=True)
    return status


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less of some; the document stays as it is")
    parser.add_argument("--without", nargs="+", choices=PARTS, default=[], help="leave these out")
    parser.add_argument("--no-report", action="store_true", help="only measure")
    args = parser.parse_args()
    wanted = [part for part in PARTS if part not in args.without]
    # Figures of short runs do not go where they would be quoted.
    folder = RESULTS / "quick" if args.quick else RESULTS
    failed = [
        part
        for part in wanted
        if run(part, *(["--quick"] if args.quick and part in QUICK else []), "--json", str(folder / f"{part}.json"))
    ]
    if not (args.no_report or args.quick) and run("report"):
        failed.append("report")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
