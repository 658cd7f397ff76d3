"""What a call of the engine on a GPU is made of, each part alone: launches and transfers, without the others.

Needs an engine on a GPU to look into; `gpu.py` asks. Times are by the clock on the wall, from the call to the end of
what it started, and once more for the step by the GPU's own events.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from cases import Case
from loops import warmed

from streamrnn._cuda import SIMULATED, cuda
from streamrnn.engine.cuda import device as engine_device
from streamrnn.engine.cuda.memory import class_of, packet
from streamrnn.kernels.cuda import product
from streamrnn.measure import Report, interleaved

__all__ = ["ask_parts"]

_REPEAT = 20


@cuda.jit
def _empty():
    """A launch and nothing else."""


def _timed(call: Callable[[], object], stream: Any, repeat: int) -> Callable[[], float]:
    """Measures us of a call and of what it starts on a stream, one at a time."""
    call()
    stream.synchronize()

    def measure() -> float:
        spent = 0
        for _ in range(repeat):
            began = time.perf_counter_ns()
            call()
            stream.synchronize()
            spent += time.perf_counter_ns() - began
        return spent / repeat / 1e3

    return measure


def _by_events(call: Callable[[], object], stream: Any, repeat: int) -> Callable[[], float]:
    """Measures us that a launch takes on the GPU, several in a row between two events."""
    first, last = cuda.event(), cuda.event()
    call()
    stream.synchronize()

    def measure() -> float:
        first.record(stream)
        for _ in range(repeat):
            call()
        last.record(stream)
        stream.synchronize()
        return 1e3 * float(cuda.event_elapsed_time(first, last)) / repeat

    return measure


def ask_parts(report: Report, case: Case, batches: tuple[int, ...], rounds: int, smoke: bool) -> None:
    """Rows `parts`, by batch: an empty launch, a packet down, a packet up, and the step's launch."""
    repeat = 1 if smoke else _REPEAT
    stream = cuda.stream()
    n_in, n_out = case.n_in, case.n_out
    for batch in (b for b in batches if b <= engine_device.WAVE):
        down, up = packet(class_of(batch), n_in, n_out)
        sizes = {"down": down.stop - down.start, "up": up.stop - up.start}
        host = {name: cuda.pinned_array(size, np.uint8) for name, size in sizes.items()}
        memory = {name: cuda.device_array(size, np.uint8) for name, size in sizes.items()}
        for array in host.values():
            array[:] = 0
        contestants = {
            "empty launch": _timed(_empty[1, 1, stream], stream, repeat),
            "packet down": _timed(
                lambda m=memory, h=host: m["down"].copy_to_device(h["down"], stream=stream), stream, repeat
            ),
            "packet up": _timed(lambda m=memory, h=host: m["up"].copy_to_host(h["up"], stream=stream), stream, repeat),
            "step's launch": _timed(launch := _step(case, batch, stream, 1 if smoke else 50), stream, repeat),
        }
        if not SIMULATED:
            contestants["step on the GPU"] = _by_events(launch, stream, repeat)
        for name, values in interleaved(contestants, rounds).items():
            size = sizes.get(name.removeprefix("packet "))
            median = report.add("parts", name, "us", values, batch=batch, hidden=case.hidden[0], bytes=size)
            print(f"H={case.hidden[0]:<4}{batch:>7,} {name:26}{median:16,.1f} us", flush=True)


def _step(case: Case, batch: int, stream: Any, warm: int) -> Callable[[], object]:
    """The launch that a wave of so many streams is stepped by, again and again with the packet that came last."""
    engine, handles, X = warmed(case.model(seed=1), batch, 1, warm, "cuda")
    engine.step_many(handles, X[0])
    gpu = engine._device
    lane, rows = gpu._last, class_of(batch)
    blocks = min(gpu._blocks, -(-batch // product.TILE))

    def launch(keep: Any = engine) -> None:
        gpu._kernel[blocks, product.THREADS, stream](*gpu._arguments, lane.base, rows, batch, gpu._ticket)

    return launch
