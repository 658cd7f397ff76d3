"""How far is a step from the truth, and is it the same everywhere?

    python benchmarks/parity.py                a minute; figures to results/parity.json
    python benchmarks/parity.py --steps 200 --cpus haswell

Questions:

    oracle    the largest difference of outputs after 1,000 steps from the same network in float64 (tests/reference.py),
              in parts of the output where that is above 1
    onnx      the same against ONNX Runtime in float32, on the same weights
    own       ONNX Runtime against float64: what a difference in float32 means
    digests   a digest of all outputs of all cases and of the adaptive model, compiled for this CPU and narrower ones

It fails where a difference is above the tolerance of the tests, or where two digests differ. For each cell the table
has the worst of its cases (`cases.py`, which tests/test_kernels.py holds to the same).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from cases import PARITY, Case, samples
from graph import step_graph

from streamrnn import Engine, Model
from streamrnn.measure import Report

RESULTS = Path(__file__).parent / "results"
TESTS = Path(__file__).parents[1] / "tests"

TOLERANCE = 2e-5
"""The tests' bound."""

CPUS = {
    "haswell": "+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+movbe,+popcnt,+lzcnt,+sse4.2",  # 8 lanes
    "nehalem": "+sse4.2,+popcnt",  # 4 lanes, and no FMA instruction
}
"""What code is made for, by LLVM's names, besides the CPU at hand."""


def ours(case: Case, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return Engine(case.model(seed=3), capacity=1).step_many(["s"] * len(x), x).y


def oracle(case: Case, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    from reference import Network

    model = case.model(seed=3)
    network = Network([layer.cell for layer in model.spec.layers], model.arrays)
    return np.array([network.step(row) for row in x])


def onnx(case: Case, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
    """What ONNX Runtime answers, or None where it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    proto, states = step_graph(case.model(seed=3), readout=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {p.name: np.zeros(p.shape, np.float32) for p in session.get_inputs()}
    names = ["y", *(f"{s}_new" for s in states)]
    found = []
    for row in x:
        feed["x"] = row[None, None]
        out = dict(zip(names, session.run(names, feed), strict=True))
        feed.update({s: out[f"{s}_new"] for s in states})
        found.append(out["y"][0, 0])
    return np.array(found)


def apart(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> float:
    """The largest difference, in parts of `b` where that is above 1."""
    return float(np.abs((a - b) / np.maximum(1.0, np.abs(b))).max())


def digest(steps: int) -> str:
    """SHA-256 over all outputs of all cases and, for the adaptive model, over its scores too."""
    out = hashlib.sha256()
    for case in PARITY:
        out.update(ours(case, samples(steps, case.n_in, seed=4)).tobytes())
    x = samples(20 * steps, 3, seed=5)
    found = Engine(Model.adaptive(3), capacity=7).step_many([f"s{i % 7}" for i in range(len(x))], x)
    out.update(found.y.tobytes() + found.score.tobytes() + found.flag.tobytes())
    return out.hexdigest()


def digest_on(cpu: str, steps: int) -> str:
    """The digest from code that is compiled for another CPU, in a process of its own."""
    env = {**os.environ, "NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": CPUS[cpu]}
    command = [sys.executable, __file__, "--digest", "--steps", str(steps)]
    run = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        sys.exit(f"no digest on {cpu}: {run.stderr.strip().splitlines()[-1] if run.stderr else run.returncode}")
    return run.stdout.split()[-1]


def compare(report: Report, steps: int) -> list[str]:
    """Fill the report's differences, a row a case; returns what is above the tolerance."""
    failed = []
    for case in PARITY:
        x = samples(steps, case.n_in, seed=4)
        y, truth, other = ours(case, x), oracle(case, x), onnx(case, x)
        found = {"oracle": apart(y, truth)}
        if other is not None:
            found |= {"onnx": apart(y, other), "own": apart(other, truth)}
        for question, value in found.items():
            report.add(question, case.name, "1", [value], cell=case.cell, steps=steps)
            if question != "own" and not value <= TOLERANCE:
                failed.append(f"{case.name}: {value:.2g} from {question}; the tests allow {TOLERANCE:g}")
    return failed


def show(report: Report) -> None:
    questions = {"oracle": "from float64", "onnx": "from ONNX Runtime", "own": "ONNX Runtime's own"}
    print(f"{'largest of all cases':<22}" + "".join(f"{title:>20}" for title in questions.values()))
    for cell in dict.fromkeys(case.cell for case in PARITY):
        rows = [row for row in report.rows if row.get("cell") == cell]
        worst = [max((r["median"] for r in rows if r["question"] == q), default=float("nan")) for q in questions]
        print(f"{cell:<22}" + "".join(f"{value:>20.1e}" for value in worst))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000, help="steps of each case (default 1000)")
    parser.add_argument("--cpus", nargs="*", choices=CPUS, default=list(CPUS), help="other CPUs to compile for")
    parser.add_argument("--json", type=Path, metavar="FILE", default=RESULTS / "parity.json", help="write figures here")
    parser.add_argument("--digest", action="store_true", help="print only the digest, on the CPU at hand")
    args = parser.parse_args()
    if args.steps < 1:
        parser.error(f"--steps is {args.steps}; it must be at least 1")
    if args.digest:
        print(digest(args.steps))
        return
    sys.path.append(str(TESTS))
    report = Report("parity", packages=("streamrnn", "numba", "numpy", "onnxruntime"))
    failed = compare(report, args.steps)
    show(report)
    here = digest(args.steps)
    print(f"digest on this CPU: {here[:16]}")
    for cpu in args.cpus:
        there = digest_on(cpu, args.steps)
        report.add("digests", cpu, "same", [float(there == here)], digest=there)
        print(f"     for {cpu:<12}: {there[:16]}, {'the same' if there == here else 'ANOTHER'}")
        if there != here:
            failed.append(f"code for {cpu} gives other bits")
    report.write(args.json)
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
