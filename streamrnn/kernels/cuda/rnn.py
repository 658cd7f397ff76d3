"""One step of the Elman network, and of the leaky reservoir, for all streams of a grid: the twins of `kernels.rnn`.

Arguments as there, but z is float32 (gridDim.x * TILE, columns), scratch of every block. h is read by the product and
written behind a barrier, by the one block that has the stream.
"""

from __future__ import annotations

import numpy as np

from streamrnn._cuda import block_function, cuda

from .access import get, put, rows_from
from .numerics import LIMIT, fma, least, most, tanh32
from .product import BLOCK, COLUMN_0, TILE, WARPS, Operand, accumulate, padded, placed

__all__ = ["relu", "reservoir", "tanh"]

_ZERO = np.float32(0.0)


def _stepped(unit):
    """A step whose units are h_t = unit(z, h_{t-1}, parameter), with one parameter for each unit."""

    @block_function
    def step(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, parameter, z, n):
        H = b.shape[0]
        lane, warp = placed()
        own = rows_from(z, cuda.blockIdx.x * TILE)
        ih = Operand(W_ih, W_ih.shape[0] // padded(H), src, src_rows, src_off)
        hh = Operand(W_hh, H, state, rows, h)
        first = cuda.blockIdx.x * TILE
        while first < n:
            m = min(TILE, n - first)
            accumulate(own, COLUMN_0, m, H, b, ih, hh, first)
            cuda.syncthreads()
            s = warp
            while s < m:
                row = get(rows, first + s)
                j = lane
                while j < H:
                    put(state, (row, h + j), unit(get(own, (s, j)), get(state, (row, h + j)), get(parameter, j)))
                    j += BLOCK
                s += WARPS
            cuda.syncthreads()
            first += cuda.gridDim.x * TILE

    return step


@block_function
def _tanh(z, h, parameter):  # noqa: ARG001 - as the others
    return tanh32(z)


@block_function
def _relu(z, h, parameter):  # noqa: ARG001 - as the others
    return least(most(z, _ZERO), LIMIT)


@block_function
def _leaky(z, h, leak):
    return fma(leak, tanh32(z) - h, h)


_step_tanh, _step_relu = _stepped(_tanh), _stepped(_relu)

reservoir = _stepped(_leaky)
"""Leaky integrator: h_t = h_{t-1} + a (tanh(...) - h_{t-1}), `parameter` a float32 (H,), one rate for each unit."""


@block_function
def tanh(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, n):
    """Elman step with tanh."""
    # What stands for a parameter is not used, and so not loaded either.
    _step_tanh(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, b, z, n)


@block_function
def relu(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, z, n):
    """Elman step with max(0, z), clamped at numerics.LIMIT."""
    _step_relu(src, src_rows, src_off, state, rows, h, W_ih, W_hh, b, b, z, n)
