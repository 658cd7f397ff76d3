"""The network of one wave on a GPU: every layer of the chain, the readout, and what becomes of its outputs.

The twin of `engine.chain`. Each function is run by all threads of the grid, with the arrays themselves in the place of
the CPU's tuples of them:

    table, weights    Program.layers int64 (layers, len(Row)) and Program.weights float32 (all,)
    state, slots      Slab.state float32 (capacity, width) and the n streams' slots int64 (n,), all different
    u, rows           float32 (n, Layout.u_width), the network's input at its beginning, and int64 0, 1, ...: as many as
                      there are rows of u, and TILE at least
    z                 float32 (gridDim.x * TILE, columns), scratch of each block, with as many columns as Work.z has

Layers follow each other without a word between blocks, for a block steps its streams from the first layer to the last.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from streamrnn._cuda import block_function, cuda
from streamrnn.engine.packing import (
    ACT,
    ACT_GATE,
    ACT_OUT,
    BIAS,
    COPY,
    DENSE,
    EMBED,
    FORM,
    GRU,
    HIDDEN,
    KIND,
    LSTM,
    N_IN,
    NORM,
    OTHER,
    OUT,
    PARAMETER,
    RESERVOIR,
    RNN_RELU,
    RNN_TANH,
    SIZE_2,
    STORED,
    W_2,
    W_HH,
    W_IH,
    WIDTH,
)
from streamrnn.engine.program import CLASSIFY, FORECAST, NORMALISER_FIXED
from streamrnn.kernels.cuda import rnn
from streamrnn.kernels.cuda.access import get, part, put
from streamrnn.kernels.cuda.activate import activate, softmax
from streamrnn.kernels.cuda.embed import embed
from streamrnn.kernels.cuda.forms import form
from streamrnn.kernels.cuda.gru import gru
from streamrnn.kernels.cuda.lstm import lstm
from streamrnn.kernels.cuda.norm import layer_norm
from streamrnn.kernels.cuda.product import BLOCK, TILE, WARPS, padded, placed
from streamrnn.kernels.cuda.readout import linear
from streamrnn.kernels.cuda.spread import spread
from streamrnn.kernels.spread import NONE as NO_SPREAD

__all__ = ["forecast", "layers", "layers_of", "readout"]

_COLUMN_0 = np.int64(0)

STATELESS = (DENSE, NORM, COPY, EMBED)


@block_function
def _copied(src, src_rows, src_off, out, out_off, width, n):
    """out[s, out_off : out_off + width] = src[src_rows[s], src_off : src_off + width] for s < n."""
    lane, warp = placed()
    first = cuda.blockIdx.x * TILE
    while first < n:
        s, stop = first + warp, min(first + TILE, n)
        while s < stop:
            row = get(src_rows, s)
            j = lane
            while j < width:
                put(out, (s, out_off + j), get(src, (row, src_off + j)))
                j += BLOCK
            s += WARPS
        cuda.syncthreads()
        first += cuda.gridDim.x * TILE


def _recurrent_of(kinds):
    """One recurrent layer of a model whose layers are of these kinds."""
    plain_lstm, plain_gru, leaky = LSTM in kinds, GRU in kinds, RESERVOIR in kinds
    elman_tanh, elman_relu = RNN_TANH in kinds, RNN_RELU in kinds
    forms = [k for k in kinds if k >= FORM]
    any_form, family = len(forms) > 0, forms[0] - FORM if len(forms) == 1 else -1

    @block_function
    def recurrent(kind, layer, weights, src, src_rows, off, state, slots, rows, z, n):
        H = layer[HIDDEN]
        elman = kind in (RNN_TANH, RNN_RELU, RESERVOIR, FORM)
        gru_like = kind in (GRU, FORM + 2, FORM + 3)
        blocks = 1 if elman else 4
        columns = padded(3 * H if gru_like else blocks * H)
        W_ih = part(weights, layer[W_IH], layer[N_IN] * columns)
        hidden_columns = padded(2 * H) if kind == FORM + 3 else columns
        W_hh = part(weights, layer[W_HH], layer[WIDTH] * hidden_columns)
        b = part(weights, layer[BIAS], blocks * H)
        h = layer[OUT]
        if plain_lstm:
            if kind == LSTM:
                lstm(src, src_rows, off, state, slots, h, W_ih, W_hh, b, z, n)
        if plain_gru:
            if kind == GRU:
                gru(src, src_rows, off, state, slots, h, W_ih, W_hh, b, z, n)
        if elman_tanh:
            if kind == RNN_TANH:
                rnn.tanh(src, src_rows, off, state, slots, h, W_ih, W_hh, b, z, n)
        if elman_relu:
            if kind == RNN_RELU:
                rnn.relu(src, src_rows, off, state, slots, h, W_ih, W_hh, b, z, n)
        if leaky:
            if kind == RESERVOIR:
                leak = part(weights, layer[OTHER], H)
                rnn.reservoir(src, src_rows, off, state, slots, h, W_ih, W_hh, b, leak, z, n)
        if any_form:
            if kind >= FORM:
                form(
                    np.int64(family) if family >= 0 else kind - FORM,
                    src,
                    src_rows,
                    off,
                    layer[N_IN],
                    state,
                    slots,
                    h,
                    layer[WIDTH],
                    W_ih,
                    W_hh,
                    part(weights, layer[W_2], layer[SIZE_2]),
                    b,
                    layer[ACT_GATE],
                    layer[ACT],
                    layer[ACT_OUT],
                    weights[layer[PARAMETER]],
                    z,
                    rows,
                    n,
                )

    return recurrent


def _stateless_of(kinds):
    """One layer that remembers nothing, of such a model: its outputs stand in u."""
    dense, norm, look_up, copy = DENSE in kinds, NORM in kinds, EMBED in kinds, COPY in kinds
    activated = dense or copy

    @block_function
    def stateless(kind, layer, weights, src, src_rows, off, u, rows, z, n):
        width, out = layer[WIDTH], layer[OUT]
        b = part(weights, layer[BIAS], width)
        if look_up:
            if kind == EMBED:
                table = part(weights, layer[W_IH], layer[SIZE_2] * width)
                embed(src, src_rows, off, table, layer[SIZE_2], u, out, n)
        if dense:
            if kind == DENSE:
                W = part(weights, layer[W_IH], layer[N_IN] * padded(width))
                linear(src, src_rows, off, W, b, u, rows, out, z, n)
        if norm:
            if kind == NORM:
                weight = part(weights, layer[W_IH], width)
                layer_norm(src, src_rows, off, u, out, weight, b, weights[layer[PARAMETER]], n)
        if copy:
            if kind == COPY:
                _copied(src, src_rows, off, u, out, width, n)
        if activated:
            if kind in (DENSE, COPY):
                activate(u, rows, out, width, layer[ACT], n)

    return stateless


@cache
def layers_of(kinds):
    """`layers` of models whose layers are of these kinds alone, a frozenset: what is not there takes no registers.

    layers(table, weights, state, slots, u, rows, z, n) is every layer, for the n streams of the wave; the network's
    input stands at the beginning of u.
    """
    recurrent, stateless = _recurrent_of(kinds), _stateless_of(kinds)
    some_recurrent = any(k not in STATELESS for k in kinds)
    some_stateless = any(k in STATELESS for k in kinds)
    only = next(iter(kinds)) if len(kinds) == 1 else -1

    @block_function
    def layers(table, weights, state, slots, u, rows, z, n):
        src, src_rows, off = u, rows, _COLUMN_0
        d = _COLUMN_0
        while d < table.shape[0]:
            layer = table[d]
            kind = np.int64(only) if only >= 0 else layer[KIND]
            if some_recurrent:
                if layer[STORED] != 0:
                    recurrent(kind, layer, weights, src, src_rows, off, state, slots, rows, z, n)
                    src, src_rows, off = state, slots, layer[OUT]
            if some_stateless:
                if layer[STORED] == 0:
                    stateless(kind, layer, weights, src, src_rows, off, u, rows, z, n)
                    src, src_rows, off = u, rows, layer[OUT]
            d += 1

    return layers


layers = layers_of(frozenset([*range(FORM), *(FORM + k for k in range(4))]))
"""The same for any model."""


@block_function
def readout(sizes, table, weights, state, slots, u, rows, z, n, y):
    """y[s] of the n streams, float32 (n, n_out): a linear map of what the last layer hands on, or just that."""
    last = table[table.shape[0] - 1]
    src, src_rows = u, rows
    if last[STORED]:
        src, src_rows = state, slots
    off = last[OUT]
    if sizes.w_out >= 0:
        W = part(weights, sizes.w_out, last[WIDTH] * padded(sizes.n_out))
        linear(src, src_rows, off, W, part(weights, sizes.b_out, sizes.n_out), y, rows, _COLUMN_0, z, n)
    else:
        _copied(src, src_rows, off, y, _COLUMN_0, sizes.n_out, n)


@block_function
def forecast(sizes, weights, rows, n, y):
    """What becomes of y behind the readout: probabilities, or a forecast and its spread in the channels' units.

    A forecast without a spread is left to `sample.scale_back`, as on the CPU.
    """
    if sizes.head == CLASSIFY or (sizes.tokens > 0 and sizes.head == FORECAST and sizes.w_out >= 0):
        softmax(y, rows, _COLUMN_0, sizes.n_out, n)
    elif sizes.spread != NO_SPREAD:
        scaled = sizes.normaliser == NORMALISER_FIXED
        spread(y, rows, sizes.n_in, sizes.spread, scaled, weights, sizes.mean, n)
