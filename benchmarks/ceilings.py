"""What the machine can do at most: fused multiply-adds from registers, and from weights in the L1 and L2 caches.

A step of a network multiplies every weight once for each stream. A tile of streams reuses a weight while it stands in
a register, so the rate of FMAs bounds it; a single stream uses each weight once, so the rate at which weights come
from the cache bounds it. Each loop here has enough independent sums in flight to hide the latency of an addition.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from time import perf_counter, thread_time

import numpy as np
from numba import njit

from streamrnn.engine.program import zeros
from streamrnn.kernels.memory import load16, store16
from streamrnn.kernels.vector import LANES, fma
from streamrnn.measure import per_call

__all__ = ["L1_WEIGHTS", "ceilings", "nearest", "side_by_side"]

BYTES = {"fma": 0, "l1": 16 << 10, "l2": 512 << 10, "far": 16 << 20}
"""Weights of each loop: well inside the cache that it is named for, outside the one before; `far` in no core's own."""

L1_WEIGHTS, L2_WEIGHTS = 32 << 10, 1 << 20
"""Bytes of weights that count as kept in L1 and in L2, beside what else a step touches there."""

_FLAGS = {"error_model": "numpy", "_nrt": False, "nogil": True}
_SUMS = 16


@njit(**_FLAGS)
def _registers(row, repeat):
    """`repeat` rounds of 16 FMAs without a load: a = a y + x."""
    y, x = load16(row, 0), load16(row, 16)
    a0, a1, a2, a3 = load16(row, 32), load16(row, 48), load16(row, 64), load16(row, 80)
    a4, a5, a6, a7 = load16(row, 96), load16(row, 112), load16(row, 128), load16(row, 144)
    b0, b1, b2, b3 = load16(row, 160), load16(row, 176), load16(row, 192), load16(row, 208)
    b4, b5, b6, b7 = load16(row, 224), load16(row, 240), load16(row, 256), load16(row, 272)
    for _ in range(repeat):
        a0, a1, a2, a3 = fma(a0, y, x), fma(a1, y, x), fma(a2, y, x), fma(a3, y, x)
        a4, a5, a6, a7 = fma(a4, y, x), fma(a5, y, x), fma(a6, y, x), fma(a7, y, x)
        b0, b1, b2, b3 = fma(b0, y, x), fma(b1, y, x), fma(b2, y, x), fma(b3, y, x)
        b4, b5, b6, b7 = fma(b4, y, x), fma(b5, y, x), fma(b6, y, x), fma(b7, y, x)
    store16(row, 288, ((a0 + a1) + (a2 + a3)) + ((a4 + a5) + (a6 + a7)))
    store16(row, 304, ((b0 + b1) + (b2 + b3)) + ((b4 + b5) + (b6 + b7)))


@njit(**_FLAGS)
def _weights(W, row, repeat):
    """Each weight of W float32 (a multiple of 128,) in one FMA, `repeat` times over."""
    x = load16(row, 16)
    a0, a1, a2, a3, a4, a5, a6, a7 = x, x, x, x, x, x, x, x
    for _ in range(repeat):
        for j in range(0, W.size, 8 * LANES):
            a0, a1 = fma(load16(W, j), x, a0), fma(load16(W, j + 16), x, a1)
            a2, a3 = fma(load16(W, j + 32), x, a2), fma(load16(W, j + 48), x, a3)
            a4, a5 = fma(load16(W, j + 64), x, a4), fma(load16(W, j + 80), x, a5)
            a6, a7 = fma(load16(W, j + 96), x, a6), fma(load16(W, j + 112), x, a7)
    store16(row, 288, ((a0 + a1) + (a2 + a3)) + ((a4 + a5) + (a6 + a7)))


def ceilings(clock: Callable[[], float] = thread_time) -> dict[str, Callable[[], float]]:
    """Functions that measure one round each, by name: 10^9 floating-point operations a second, two an FMA."""
    row = zeros((20 * LANES,), np.float32)
    row[:] = 0.5
    found = {}
    for name, size in BYTES.items():
        if size:
            W = zeros((size // 4,), np.float32)
            W[:] = 0.1
            repeat = (1 << 21) // size + 1
            seconds, flops = per_call(lambda W=W, n=repeat: _weights(W, row, n), clock=clock), 2 * W.size * repeat
        else:
            repeat = 1 << 16
            seconds, flops = per_call(lambda n=repeat: _registers(row, n), clock=clock), 2 * _SUMS * LANES * repeat
        found[name] = lambda seconds=seconds, flops=flops: flops / seconds() / 1e9
    return found


def side_by_side() -> Callable[[], float]:
    """Measures how many times one core's FMAs two threads do: what the machine gives to a second thread."""
    data = [zeros((20 * LANES,), np.float32) for _ in range(2)]
    for row in data:
        row[:] = 0.5
    repeat = 1 << 19

    def spent(n: int) -> float:
        threads = [Thread(target=_registers, args=(row, repeat)) for row in data[:n]]
        began = perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return perf_counter() - began

    spent(2)
    return lambda: 2 * spent(1) / spent(2)


def nearest(weight_bytes: int) -> str:
    """The ceiling that bounds one stream alone."""
    return "l1" if weight_bytes <= L1_WEIGHTS else "l2" if weight_bytes <= L2_WEIGHTS else "far"
