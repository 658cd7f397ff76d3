"""The step of one wave as one kernel: the twin of `engine.advance`.

    clear -> fill missing channels, score, normalise, learn -> every layer -> readout -> ring

Block b takes the streams of tiles b, b + gridDim.x, ... through all of it, so that no block waits for another and what
follows each other is parted by a barrier of the block alone. What the kernel works on it finds by the frames that
`memory` has made: one at the beginning of the memory, one at the beginning of the wave's packet.
"""

from __future__ import annotations

import numpy as np

from streamrnn._cuda import block_function, cuda
from streamrnn.frames import FIELDS
from streamrnn.kernels.cuda.product import BLOCK, TILE, WARPS
from streamrnn.kernels.spread import NONE as NO_SPREAD

from ..program import FORECAST, NORMALISER_FIXED, Program, Sizes, Slab
from .chain import forecast, layers, readout
from .memory import HEAD, PACKET, PARTS
from .sample import Work, after, before, online, scale_back
from .views import cube, matrix, vector
from .waves import FRESH, Down, Up

__all__ = ["advance"]

# Places in the memory's frame, and in a packet's behind its head.
(
    _SIZES, _LAYERS, _WEIGHTS, _SETTINGS, _LEARNING,
    _BLANK_STATE, _BLANK_ADAPT, _BLANK_DETECTOR,
    _ROWS, _U, _Z, _FILLED, _PHI, _GAIN,
    _STATE, _ADAPT, _DETECTOR, _RING,
) = (np.int64(FIELDS * k) for k in range(len(PARTS)))  # fmt: skip
_T, _SLOTS, _COUNTS, _X, _HAS, _Y, _SCORE, _CAUSE, _DONE, _FLAG, _EDGE, _MISSING = (
    np.int64(HEAD + FIELDS * k) for k in range(len(PACKET))
)

_ZERO = np.float32(0.0)


@block_function
def _read_sizes(s):
    """The program's sizes as a `Sizes` of numbers."""
    return Sizes(
        s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10], s[11], s[12],
        s[13], s[14], s[15], s[16], s[17], s[18], s[19], s[20], s[21], s[22], s[23], s[24],
    )  # fmt: skip


@block_function
def _clear(slab, state, adapt, detector, down, n):
    """Copy a blank row, state, adapt and detector, to those of the streams that start anew."""
    t = cuda.threadIdx.x
    lane, warp = t % BLOCK, t // BLOCK
    for first in range(cuda.blockIdx.x * TILE, n, cuda.gridDim.x * TILE):
        for s in range(first + warp, min(first + TILE, n), WARPS):
            if down.has[s] & FRESH:
                slot = down.slots[s]
                for k in range(lane, state.shape[0], BLOCK):
                    slab.state[slot, k] = state[k]
                for k in range(lane, adapt.shape[0], BLOCK):
                    slab.adapt[slot, k] = adapt[k]
                for k in range(lane, detector.shape[0], BLOCK):
                    slab.detector[slot, k] = detector[k]
                for i in range(slab.ring.shape[1]):
                    for k in range(lane, slab.ring.shape[2], BLOCK):
                        slab.ring[slot, i, k] = _ZERO
    cuda.syncthreads()


@block_function
def advance(f32, f64, i64, i32, i8, base):
    """Step the wave whose packet begins at i64[base], in the memory that each of these arrays is all of."""
    n = i64[base]
    program = Program(
        vector(i64, i64, _SIZES),
        matrix(i64, i64, _LAYERS),
        vector(f32, i64, _WEIGHTS),
        vector(f64, i64, _SETTINGS),
        vector(f64, i64, _LEARNING),
    )
    slab = Slab(matrix(f32, i64, _STATE), matrix(f64, i64, _ADAPT), matrix(f64, i64, _DETECTOR), cube(f32, i64, _RING))
    work = Work(matrix(f32, i64, _FILLED), matrix(f32, i64, _U), matrix(f64, i64, _PHI), matrix(f64, i64, _GAIN))
    rows, z = vector(i64, i64, _ROWS), matrix(f32, i64, _Z)
    down = Down(
        vector(i64, i64, base + _T),
        vector(i64, i64, base + _SLOTS),
        vector(i64, i64, base + _COUNTS),
        matrix(f32, i64, base + _X),
        vector(i8, i64, base + _HAS),
    )
    up = Up(
        matrix(f32, i64, base + _Y),
        vector(f32, i64, base + _SCORE),
        vector(i32, i64, base + _CAUSE),
        vector(i32, i64, base + _DONE),
        vector(i8, i64, base + _FLAG),
        vector(i8, i64, base + _EDGE),
        matrix(i8, i64, base + _MISSING),
    )
    sizes = _read_sizes(program.sizes)
    blank = vector(f32, i64, _BLANK_STATE), vector(f64, i64, _BLANK_ADAPT), vector(f64, i64, _BLANK_DETECTOR)
    _clear(slab, blank[0], blank[1], blank[2], down, n)
    before(sizes, program, slab, work, down, up, n)
    layers(program.layers, program.weights, slab.state, down.slots, work.u, rows, z, n)
    if sizes.online:
        online(sizes, program, slab, work, down, rows, up.y, n)
    else:
        readout(sizes, program.layers, program.weights, slab.state, down.slots, work.u, rows, z, n, up.y)
        forecast(sizes, program.weights, rows, n, up.y)
        if (
            sizes.head == FORECAST
            and sizes.tokens == 0
            and sizes.spread == NO_SPREAD
            and sizes.normaliser == NORMALISER_FIXED
        ):
            scale_back(sizes, program, up.y, n)
    after(sizes, slab, work, down, up, n)
    # Behind the last barrier: whoever sees the ticket knows that the tile's streams went through all of it.
    if cuda.threadIdx.x == 0:
        for first in range(cuda.blockIdx.x * TILE, n, cuda.gridDim.x * TILE):
            up.done[first // TILE] = i64[base + 1]
