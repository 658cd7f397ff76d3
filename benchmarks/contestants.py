"""Who takes part in `peers.py`: each is a step of the same network, as its runtime offers it.

A contestant is made by a function of (case, streams) and takes x float32 (streams, n_in) to the last layer's new hidden
state (streams, H). While `timing` is set it may give back whatever is cheapest, and a loop in compiled code repeats its
step `timing` times a call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from cases import Case

SEED = 1
timing = [0]

Step = Callable[[np.ndarray], Any]


def _ort_session(case: Case, streams: int) -> tuple[Any, list[str]]:
    import onnxruntime
    from graph import step_graph

    proto, states = step_graph(case.model(SEED), streams)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # Else its threads, of which there is none, would spin.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session, states


def _last(states: list[str]) -> int:
    return max(i for i, s in enumerate(states) if s.startswith("h"))


def ort_run(case: Case, streams: int) -> Step:
    session, states = _ort_session(case, streams)
    shapes = {p.name: p.shape for p in session.get_inputs()}
    feed = {s: np.zeros(shapes[s], np.float32) for s in states}
    names, last = [f"{s}_new" for s in states], _last(states)

    def step(x: np.ndarray) -> np.ndarray:
        feed["x"] = x[None]
        new = session.run(names, feed)
        feed.update(zip(states, new, strict=True))
        return new[last][0]

    return step


def bound(session: Any, states: list[str], place: str = "cpu") -> Step:
    """A session's step with states that stay at a place, in two sets of bound buffers, which change places."""
    import onnxruntime

    def value(shape: Any) -> Any:
        return onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, np.float32), place, 0)

    shapes = {p.name: p.shape for p in session.get_inputs()}
    x_in = value(shapes["x"])
    sets = [[value(shapes[s]) for s in states] for _ in range(2)]
    bindings = []
    for k in (0, 1):
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", x_in)
        for name, old, new in zip(states, sets[k], sets[1 - k], strict=True):
            binding.bind_ortvalue_input(name, old)
            binding.bind_ortvalue_output(f"{name}_new", new)
        bindings.append(binding)
    turn, last = [0], _last(states)

    def step(x: np.ndarray) -> Any:
        k = turn[0]
        x_in.update_inplace(x[None])
        session.run_with_iobinding(bindings[k])
        turn[0] = 1 - k
        new = sets[1 - k][last]
        return new if timing[0] else new.numpy()[0]

    return step


def ort_binding(case: Case, streams: int) -> Step:
    return bound(*_ort_session(case, streams))


def openvino(case: Case, streams: int) -> Step:
    import openvino as ov
    from graph import step_graph

    proto, states = step_graph(case.model(SEED), streams)
    core = ov.Core()
    config = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(proto.SerializeToString()), "CPU", config)
    request = compiled.create_infer_request()
    feed = {s: np.zeros(tuple(compiled.input(s).shape), np.float32) for s in states}
    last = f"{states[_last(states)]}_new"

    def step(x: np.ndarray) -> np.ndarray:
        feed["x"] = x[None]
        out = request.infer(feed, share_inputs=True, share_outputs=False)
        for s in states:
            feed[s] = out[f"{s}_new"]
        return out[last][0]

    return step


def _torch(case: Case) -> tuple[Any, dict[str, Any]]:
    import torch

    torch.set_num_threads(1)
    arrays = case.model(SEED).arrays
    return torch, {k: torch.from_numpy(np.array(v)) for k, v in arrays.items() if "_l" in k}


def _cells(case: Case) -> tuple[Any, list[Any]]:
    torch, arrays = _torch(case)
    cells = []
    for i, (n, h) in enumerate(zip((case.n_in, *case.hidden), case.hidden, strict=False)):
        cell = torch.nn.LSTMCell(n, h)
        mine = {k.removesuffix(f"_l{i}"): v for k, v in arrays.items() if k.endswith(f"_l{i}")}
        cell.load_state_dict(mine)
        cells.append(cell)
    return torch, cells


def torch_cell(case: Case, streams: int) -> Step:
    torch, cells = _cells(case)
    states = [(torch.zeros(streams, h), torch.zeros(streams, h)) for h in case.hidden]

    def step(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            value = torch.from_numpy(x)
            for i, cell in enumerate(cells):
                states[i] = cell(value, states[i])
                value = states[i][0]
        return value.numpy()

    return step


def torch_lstm(case: Case, streams: int) -> Step:
    torch, arrays = _torch(case)
    net = torch.nn.LSTM(case.n_in, case.hidden[0], len(case.hidden))
    net.load_state_dict(arrays)
    zeros = (len(case.hidden), streams, case.hidden[0])
    state = [(torch.zeros(zeros), torch.zeros(zeros))]

    def step(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            _, state[0] = net(torch.from_numpy(x)[None], state[0])
        return state[0][0].numpy()[-1]

    return step


def torch_compiled(case: Case, streams: int) -> Step:
    """torch.compile of an LSTMCell of one layer, in the mode that is to spare overhead."""
    torch, (cell,) = _cells(case)
    compiled = torch.compile(cell, mode="reduce-overhead", fullgraph=True)
    state = [(torch.zeros(streams, case.hidden[0]), torch.zeros(streams, case.hidden[0]))]

    def step(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            state[0] = compiled(torch.from_numpy(x), state[0])
        return state[0][0].numpy()

    return step


def ours_loop(case: Case, streams: int) -> Step:
    """The layers alone, in compiled code: what the peers' bare step is to be compared with."""
    from loops import layers_loop

    loop = layers_loop(case.model(SEED), streams)

    def step(x: np.ndarray) -> np.ndarray | None:
        loop.run(x, timing[0] or 1)
        return None if timing[0] else loop.h()

    return step


def _hidden(engine: Any) -> np.ndarray:
    _, at, shape = engine._layout.parts[f"h_l{len(engine.model.spec.layers) - 1}"]
    h: np.ndarray = engine._slab.state[:, at : at + shape[0]]
    return h


def ours_many(case: Case, streams: int, model: Any = None) -> Step:
    from loops import warmed

    from streamrnn import Engine

    # Past the detectors' youth, and then from zero, as everybody.
    engine, handles, X = warmed(model or case.model(SEED), streams, 1, 300)
    engine.step_many(handles, X[0], reset=True)
    for i in range(streams):
        engine._slab.state[i] = 0
    assert isinstance(engine, Engine)

    def step(x: np.ndarray) -> np.ndarray:
        engine.step_many(handles, x)
        return _hidden(engine)

    return step


def ours_without(case: Case, streams: int) -> Step:
    """The same with a detector whose margins are all 0, which is off: gather, step, readout and scatter."""
    from streamrnn import Model
    from streamrnn.kernels.score import COMPONENTS
    from streamrnn.kernels.signals import SETTINGS

    model = case.model(SEED)
    off = replace(model.spec, detector={name: 0.0 for name in COMPONENTS if name in SETTINGS})
    return ours_many(case, streams, Model(off, model.arrays))


def ours_step(case: Case, streams: int) -> Step:
    from streamrnn import Engine

    engine = Engine(case.model(SEED), capacity=1)
    handle = int(engine.handles(["s"])[0])

    def step(x: np.ndarray) -> np.ndarray:
        engine.step(handle, x[0])
        return _hidden(engine)

    return step


CONTESTANTS: dict[str, tuple[Callable[[Case, int], Step], str | None]] = {
    "streamrnn loop": (ours_loop, None),
    "streamrnn engine.step": (ours_step, None),
    "streamrnn step_many": (ours_many, None),
    "streamrnn step_many, no detector": (ours_without, None),
    "onnxruntime run": (ort_run, "onnxruntime"),
    "onnxruntime IO binding": (ort_binding, "onnxruntime"),
    "openvino": (openvino, "openvino"),
    "torch LSTMCell": (torch_cell, "torch"),
    "torch nn.LSTM": (torch_lstm, "torch"),
    "torch.compile": (torch_compiled, "torch"),
}
"""By name: how it is made, and the package that it needs beside ours."""


def oracle(case: Case) -> Any:
    """The float64 network of the tests."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from reference import Network

    return Network([case.cell] * len(case.hidden), case.model(SEED).arrays)
