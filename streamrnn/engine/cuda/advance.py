"""The step of one wave as one kernel: the twin of `engine.advance`.

    clear -> fill missing channels, score, normalise, learn -> every layer -> readout -> ring

Block b takes the streams of tiles b, b + gridDim.x, ... through all of it, so that no block waits for another and what
follows each other is parted by a barrier of the block alone. What the kernel works on it finds by the numbers that
`memory` tells.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from streamrnn._cuda import block_function, cuda, dissolved
from streamrnn.kernels import rls
from streamrnn.kernels.cuda.product import BLOCK, TILE, WARPS
from streamrnn.kernels.signals import SETTINGS
from streamrnn.kernels.spread import NONE as NO_SPREAD

from ..packing import KIND, Row
from ..program import FORECAST, NO_READOUT, NORMALISER_FIXED, Program, Sizes, Slab
from .chain import forecast, layers_of, readout
from .memory import packet_places
from .sample import Work, after, before, online, scale_back
from .views import cube, matrix, vector
from .waves import FRESH, Down, Up

__all__ = ["Traits", "advance_of"]

_COLUMNS, _SETTINGS, _LEARNING = len(Row._fields), len(SETTINGS), len(rls.SETTINGS)
_ZERO = np.float32(0.0)


_places = block_function(packet_places)


@dissolved
def _program(p, f32, f64, i64):
    return Program(
        vector(i64, 0, 0),
        matrix(i64, p.layers, p.depth, _COLUMNS),
        vector(f32, p.weights, p.n_weights),
        vector(f64, p.settings, _SETTINGS),
        vector(f64, p.learning, _LEARNING),
    )


@dissolved
def _slab(sizes, p, f32, f64):
    return Slab(
        matrix(f32, p.state, p.capacity, p.state_width),
        matrix(f64, p.adapt, p.capacity, p.adapt_width),
        matrix(f64, p.detector, p.capacity, p.detector_width),
        cube(f32, p.ring, p.capacity, sizes.ring, sizes.n_in + sizes.n_out + 1),
    )


@dissolved
def _work(sizes, p, f32, f64):
    return Work(
        matrix(f32, p.filled, p.wave, sizes.n_in),
        matrix(f32, p.u, p.wave, p.u_width),
        matrix(f64, p.phi, p.held, p.phi_width),
        matrix(f64, p.gain, p.held, p.gain_width),
    )


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


class Traits(NamedTuple):
    """What a kernel is compiled for: the kinds of the model's layers, and what of its `Sizes` says what is done and not
    how much of it. All models of the same traits, of whatever size, share a kernel."""

    kinds: frozenset[int]
    head: int
    online: int
    normaliser: int
    clock: int
    scored: int
    spread: int
    words: bool
    reads_out: bool

    @classmethod
    def of(cls, program: Program) -> Traits:
        s = Sizes(*program.sizes.tolist())
        kinds = frozenset(program.layers[:, KIND].tolist())
        return cls(
            kinds, s.head, s.online, s.normaliser, s.clock, s.scored, s.spread, s.tokens > 0, s.w_out != NO_READOUT
        )


def _known_of(traits: Traits) -> Any:
    """A function that gives sizes with what is known of them as constants, which the compiler can follow."""
    _, head, online, normaliser, clock, scored, spread, words, reads_out = traits

    @dissolved
    def known(s):
        return Sizes(
            s.n_in, s.n_net, s.n_out, head, online, normaliser, clock, s.ring, s.x_held, s.seen, s.u_prev, s.y_prev,
            s.p, s.w, s.pending, s.stats, s.features, s.w_out if reads_out else NO_READOUT, s.b_out, s.mean, scored,
            s.horizon, s.kept, spread, s.tokens if words else 0,
        )  # fmt: skip

    return known


@cache
def advance_of(traits: Traits) -> Any:
    """The kernel of models of these traits, as a `block_function`."""
    known, layers = _known_of(traits), layers_of(traits.kinds)
    learned = bool(traits.online)
    in_units = (
        traits.head == FORECAST
        and traits.normaliser == NORMALISER_FIXED
        and traits.spread == NO_SPREAD
        and not traits.words
    )

    @block_function
    def advance(f32, f64, i64, i32, i8, given, p, base, m, n, ticket):
        """Step the n streams of the wave whose packet of m rows begins at byte `base` of the memory that each of these
        arrays is all of; given a `Sizes`, p `Places`, ticket what Up.done says of a tile that was stepped."""
        sizes = known(given)
        n_in, n_out = sizes.n_in, sizes.n_out
        at = _places(base, m, n_in, n_out)
        down = Down(
            vector(i64, at[0], m),
            vector(i64, at[1], m),
            vector(i64, at[2], m),
            matrix(f32, at[3], m, n_in),
            vector(i8, at[4], m),
        )
        up = Up(
            matrix(f32, at[5], m, n_out),
            vector(f32, at[6], m),
            vector(i32, at[7], m),
            vector(i32, at[8], m // TILE),
            vector(i8, at[9], m),
            vector(i8, at[10], m),
            matrix(i8, at[11], m, n_in),
        )
        program, slab, work = _program(p, f32, f64, i64), _slab(sizes, p, f32, f64), _work(sizes, p, f32, f64)
        rows, z = vector(i64, p.rows, p.wave), matrix(f32, p.z, p.held, p.z_width)
        blank_state, blank_adapt = vector(f32, p.blank_state, p.state_width), vector(f64, p.blank_adapt, p.adapt_width)
        _clear(slab, blank_state, blank_adapt, vector(f64, p.blank_detector, p.detector_width), down, n)
        before(sizes, program, slab, work, down, up, n)
        layers(program.layers, program.weights, slab.state, down.slots, work.u, rows, z, n)
        if learned:
            online(sizes, program, slab, work, down, rows, up.y, n)
        else:
            readout(sizes, program.layers, program.weights, slab.state, down.slots, work.u, rows, z, n, up.y)
            forecast(sizes, program.weights, rows, n, up.y)
            if in_units:
                scale_back(sizes, program, up.y, n)
        after(sizes, slab, work, down, up, n)
        # Behind the last barrier: whoever sees the ticket knows that the tile's streams went through all of it.
        if cuda.threadIdx.x == 0:
            for first in range(cuda.blockIdx.x * TILE, n, cuda.gridDim.x * TILE):
                up.done[first // TILE] = ticket

    return advance
