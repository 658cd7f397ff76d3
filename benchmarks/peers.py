"""One LSTM step, here and in the runtimes that people would use instead.

    python benchmarks/peers.py                      hidden 16, 32, 64, 128; 1 and 1,024 streams
    python benchmarks/peers.py --hidden 64 --streams 1 --json peers.json

Each contestant runs in a process of its own, with one thread, and computes the same weights on the same inputs. It is
checked against the float64 oracle of the tests over 50 steps before it is timed; one that is wrong by more than 2e-5 is
reported and not timed. Times are medians over batches of calls; contestants take turns for several rounds, so that a
machine that slows down slows all of them. What is not installed is skipped, and named.

What the peers do is their bare step: state in, state out. `engine.step` and `step_many` do more: they look up streams,
fill missing values, step, read out, score, flag, and keep rings. `streamrnn loop` is the bare step in compiled code.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
N_IN = 4
CHECKED = 50
TOLERANCE = 2e-5

Step = Callable[[np.ndarray], np.ndarray]


def model(hidden: int):
    from streamrnn import Model

    return Model.random("lstm", n_in=N_IN, hidden=hidden, n_out=N_IN, seed=1)


def onnx_bytes(hidden: int, streams: int) -> bytes:
    """The LSTM's step as an ONNX graph: x, h, c in; h, c out."""
    from onnx import TensorProto, helper, numpy_helper

    arrays = model(hidden).arrays

    def gates(a):  # ONNX's order is i, o, f, c
        i, f, g, o = np.split(a, 4)
        return np.concatenate([i, o, f, g])

    W, R, b_ih, b_hh = (gates(arrays[f"{p}_l0"]) for p in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    inits = [
        numpy_helper.from_array(np.ascontiguousarray(v), n)
        for n, v in (("W", W[None]), ("R", R[None]), ("B", np.concatenate([b_ih, b_hh])[None]))
    ]

    def port(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    state = (1, streams, hidden)
    node = helper.make_node("LSTM", ["x", "W", "R", "B", "", "h", "c"], ["", "h1", "c1"], hidden_size=hidden)
    inputs = [port("x", 1, streams, N_IN), port("h", *state), port("c", *state)]
    graph = helper.make_graph([node], "step", inputs, [port("h1", *state), port("c1", *state)], inits)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8).SerializeToString()


# Contestants: each returns a function that takes x (streams, N_IN) and gives the new h (streams, hidden).


def ort_session(hidden: int, streams: int):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(onnx_bytes(hidden, streams), options, providers=["CPUExecutionProvider"])


def ort_run(hidden: int, streams: int) -> Step:
    session = ort_session(hidden, streams)
    feed = {n: np.zeros((1, streams, hidden), np.float32) for n in ("h", "c")}

    def step(x):
        feed["x"] = x[None]
        feed["h"], feed["c"] = session.run(["h1", "c1"], feed)
        return feed["h"][0]

    return step


def ort_binding(hidden: int, streams: int) -> Step:
    """State stays in two pairs of bound buffers, which change places."""
    import onnxruntime

    session = ort_session(hidden, streams)
    value = onnxruntime.OrtValue.ortvalue_from_numpy
    x_in = value(np.zeros((1, streams, N_IN), np.float32))
    pairs = [[value(np.zeros((1, streams, hidden), np.float32)) for _ in range(2)] for _ in range(2)]
    bindings = []
    for k in (0, 1):
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", x_in)
        for name, i in (("h", 0), ("c", 1)):
            binding.bind_ortvalue_input(name, pairs[k][i])
            binding.bind_ortvalue_output(f"{name}1", pairs[1 - k][i])
        bindings.append(binding)
    turn = [0]

    def step(x):
        k = turn[0]
        x_in.update_inplace(x[None])
        session.run_with_iobinding(bindings[k])
        turn[0] = 1 - k
        return pairs[1 - k][0] if timing[0] else pairs[1 - k][0].numpy()[0]

    return step


def openvino(hidden: int, streams: int) -> Step:
    import openvino as ov

    core = ov.Core()
    config = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(onnx_bytes(hidden, streams)), "CPU", config).create_infer_request()
    feed = {n: np.zeros((1, streams, hidden), np.float32) for n in ("h", "c")}

    def step(x):
        feed["x"] = x[None]
        out = request.infer(feed, share_inputs=True, share_outputs=False)
        feed["h"], feed["c"] = out["h1"], out["c1"]
        return feed["h"][0]

    return step


def _torch_arrays(hidden: int):
    import torch

    torch.set_num_threads(1)
    return torch, {k: torch.from_numpy(np.array(v)) for k, v in model(hidden).arrays.items() if k.endswith("_l0")}


def torch_cell(hidden: int, streams: int) -> Step:
    torch, arrays = _torch_arrays(hidden)
    cell = torch.nn.LSTMCell(N_IN, hidden)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in arrays.items()})
    state = [torch.zeros(streams, hidden), torch.zeros(streams, hidden)]

    def step(x):
        with torch.inference_mode():
            state[:] = cell(torch.from_numpy(x), tuple(state))
        return state[0].numpy()

    return step


def torch_lstm(hidden: int, streams: int) -> Step:
    torch, arrays = _torch_arrays(hidden)
    net = torch.nn.LSTM(N_IN, hidden)
    net.load_state_dict(arrays)
    state = [(torch.zeros(1, streams, hidden), torch.zeros(1, streams, hidden))]

    def step(x):
        with torch.inference_mode():
            _, state[0] = net(torch.from_numpy(x)[None], state[0])
        return state[0][0].numpy()[0]

    return step


def ours_loop(hidden: int, streams: int) -> Step:
    """The layer's kernel alone, called from compiled code."""
    from numba import njit

    from streamrnn import Engine
    from streamrnn.engine.advance import _layers
    from streamrnn.engine.program import TILE

    engine = Engine(model(hidden), capacity=streams, ring=0)
    program, slab, work = engine._program, engine._slab, engine._work

    @njit(error_model="numpy", _nrt=False)
    def run(program, slab, work, X, repeat):
        for _ in range(repeat):
            for first in range(0, X.shape[0], TILE):
                n = min(TILE, X.shape[0] - first)
                for s in range(n):
                    work.slots[s] = first + s
                    for k in range(X.shape[1]):
                        work.u[s, k] = X[first + s, k]
                _layers(program, slab, work, n)

    def step(x):
        run(program, slab, work, x, timing[0] or 1)
        return slab.state[:, :hidden]

    return step


def ours_many(hidden: int, streams: int) -> Step:
    from streamrnn import Engine

    engine = Engine(model(hidden), capacity=streams)
    handles = engine.handles([f"s{i}" for i in range(streams)])

    def step(x):
        engine.step_many(handles, x)
        return engine._slab.state[:, :hidden]

    return step


def ours_step(hidden: int, streams: int) -> Step:
    from streamrnn import Engine

    engine = Engine(model(hidden), capacity=1)
    handle = int(engine.handles(["s"])[0])

    def step(x):
        engine.step(handle, x[0])
        return engine._slab.state[:, :hidden]

    return step


CONTESTANTS = {
    "streamrnn loop": (ours_loop, None, "any"),
    "streamrnn engine.step": (ours_step, None, "one"),
    "streamrnn step_many": (ours_many, None, "many"),
    "onnxruntime run": (ort_run, "onnxruntime", "any"),
    "onnxruntime IO binding": (ort_binding, "onnxruntime", "any"),
    "openvino": (openvino, "openvino", "any"),
    "torch LSTMCell": (torch_cell, "torch", "any"),
    "torch nn.LSTM": (torch_lstm, "torch", "any"),
}

timing = [0]
"""While timing, how often a contestant that loops by itself repeats its step in one call; 0 while checking."""


def child(name: str, hidden: int, streams: int) -> dict[str, float]:
    """Check one contestant, then time it: nanoseconds a stream and step."""
    sys.path.insert(0, str(ROOT / "tests"))
    from reference import Network

    step = CONTESTANTS[name][0](hidden, streams)
    rng = np.random.default_rng(3)
    X = rng.normal(size=(CHECKED, streams, N_IN)).astype(np.float32)
    watched = sorted({0, streams // 2, streams - 1})
    oracles = [Network(["lstm"], model(hidden).arrays) for _ in watched]
    worst = 0.0
    for x in X:
        h = np.array(step(x))
        for s, oracle in zip(watched, oracles, strict=True):
            oracle.step(x[s])
            worst = max(worst, float(np.abs(h[s] - oracle.h[0]).max()))
    if worst > TOLERANCE:
        return {"error": worst}
    loops = 200 if name.endswith("loop") else 1
    timing[0] = loops
    x = X[-1]
    calls = 1
    while True:  # calls that take a good while
        start = time.perf_counter()
        for _ in range(calls):
            step(x)
        if (spent := time.perf_counter() - start) > 0.02:
            break
        calls = max(2 * calls, int(calls * 0.02 / max(spent, 1e-9)))
    times = []
    for _ in range(15):
        start = time.perf_counter()
        for _ in range(calls):
            step(x)
        times.append((time.perf_counter() - start) / (calls * loops * streams) * 1e9)
    return {"ns": statistics.median(times), "error": worst}


def run_child(name: str, hidden: int, streams: int) -> dict[str, float]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--child", name, "--hidden", str(hidden), "--streams", str(streams)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 1024])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(child(args.child, args.hidden[0], args.streams[0])))
        return
    absent = sorted({m for _, m, _ in CONTESTANTS.values() if m and importlib.util.find_spec(m) is None})
    if absent:
        print(f"not installed, so not compared: {', '.join(absent)}")
    rows = []
    for streams in args.streams:
        kind = "one" if streams == 1 else "many"
        names = [n for n, (_, m, k) in CONTESTANTS.items() if k in ("any", kind) and m not in absent]
        print(f"\nns a step of LSTM, {N_IN} inputs, {streams:,} stream{'s' * (streams > 1)} (median of {args.rounds})")
        print(f"{'':24}" + "".join(f"{f'H={h}':>12}" for h in args.hidden))
        figures: dict[str, dict[int, list[float]]] = {n: {h: [] for h in args.hidden} for n in names}
        for _ in range(args.rounds):
            for hidden in args.hidden:
                for name in names:
                    result = run_child(name, hidden, streams)
                    figures[name][hidden].append(result.get("ns", float("nan")))
        for name in names:
            medians = [statistics.median(figures[name][h]) for h in args.hidden]
            print(f"{name:24}" + "".join(f"{m:12,.0f}" for m in medians), flush=True)
            rows += [
                {"streams": streams, "hidden": h, "name": name, "ns": m, "all": figures[name][h]}
                for h, m in zip(args.hidden, medians, strict=True)
            ]
    if args.json:
        machine = {"machine": platform.processor() or platform.machine(), "python": platform.python_version()}
        args.json.write_text(json.dumps({**machine, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
