"""A bare LSTM step on a GPU as other libraries offer it: samples from the host, the last layer's h back to it.

Each gets what its documentation asks for: float32 throughout (no TF32), weights and states that stay on the GPU, one
copy down and one up a call, page-locked where the library has that.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
from cases import Case, many_samples
from contestants import SEED, bound
from graph import step_graph
from peers import TOLERANCE, wrong_by

from streamrnn.measure import Report

__all__ = ["PEERS", "checked"]

Bare = Callable[[np.ndarray], np.ndarray]


def torch_lstm(case: Case, streams: int) -> Bare:
    """torch.nn.LSTM, which is cuDNN's; RuntimeError without a build of torch for CUDA."""
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError(f"torch {torch.__version__} sees no GPU")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    arrays = {k: torch.from_numpy(np.array(v)) for k, v in case.model(SEED).arrays.items() if "_l" in k}
    net = torch.nn.LSTM(case.n_in, case.hidden[0], len(case.hidden))
    net.load_state_dict(arrays)
    net = net.cuda().eval()
    zeros = torch.zeros(len(case.hidden), streams, case.hidden[0], device="cuda")
    state = [(zeros, zeros.clone())]
    down = torch.zeros(1, streams, case.n_in).pin_memory()
    up = torch.zeros(streams, case.hidden[0]).pin_memory()

    def step(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            down[0] = torch.from_numpy(x)
            _, state[0] = net(down.cuda(non_blocking=True), state[0])
            up.copy_(state[0][0][-1], non_blocking=True)
            torch.cuda.synchronize()
        return up.numpy()

    return step


def ort_cuda(case: Case, streams: int) -> Bare:
    """ONNX Runtime's CUDA provider, states bound to buffers on the GPU."""
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise RuntimeError(f"onnxruntime {onnxruntime.__version__} has no CUDA provider: install onnxruntime-gpu")
    proto, states = step_graph(case.model(SEED), streams)
    provider = ("CUDAExecutionProvider", {"use_tf32": "0"})
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=[provider])
    return bound(session, states, "cuda")


PEERS: dict[str, tuple[Callable[[Case, int], Bare], tuple[str, ...]]] = {
    "torch nn.LSTM": (torch_lstm, ("torch",)),
    "onnxruntime CUDA": (ort_cuda, ("onnxruntime", "onnx")),
}
"""By name: how it is made, and the packages that it needs beside ours."""


def checked(name: str, case: Case, batch: int, report: Report) -> Callable[[int], object] | None:
    """A peer's step of so many streams, right to the tests' bound; None, with a note, where it cannot take part."""
    make, packages = PEERS[name]
    absent = [p for p in packages if importlib.util.find_spec(p) is None]
    try:
        if absent:
            raise RuntimeError(f"{', '.join(absent)} not installed")
        step = make(case, batch)
        error = wrong_by(case, batch, step)
        if error > TOLERANCE:
            raise RuntimeError(f"wrong by {error:.1e} on {case.name}")
    except Exception as error:  # whatever a library raises that is not at home here
        note = f"{name} is not timed: {' '.join(str(error).split())[:200]}"
        if note not in report.notes:
            report.note(note)
        return None
    X: Any = many_samples(64 if batch <= 4096 else 4, batch, case.n_in, seed=4)
    return lambda k: step(X[k % len(X)])
