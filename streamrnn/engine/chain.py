"""The network of one wave, compiled: every layer of the chain, and the readout, as the table of layers has them."""

from __future__ import annotations

import numpy as np

from streamrnn._jit import inlined
from streamrnn.kernels import rnn
from streamrnn.kernels.activate import activate
from streamrnn.kernels.embed import embed
from streamrnn.kernels.forms import form
from streamrnn.kernels.gru import gru
from streamrnn.kernels.lstm import lstm
from streamrnn.kernels.norm import layer_norm
from streamrnn.kernels.product import padded
from streamrnn.kernels.readout import linear

from .packing import (
    ACT,
    ACT_GATE,
    ACT_OUT,
    BIAS,
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

__all__ = ["layers", "readout"]


@inlined
def _floats(program, at, n):
    return program.weights[at : at + n]


@inlined
def _recurrent(program, layer, src, src_rows, off, slab, work, n):
    """One recurrent layer."""
    kind, H = layer[KIND], layer[HIDDEN]
    elman = kind in (RNN_TANH, RNN_RELU, RESERVOIR, FORM)
    gru_like = kind in (GRU, FORM + 2, FORM + 3)
    blocks = 1 if elman else 4
    columns = padded(3 * H if gru_like else blocks * H)
    W_ih = _floats(program, layer[W_IH], layer[N_IN] * columns)
    hidden_columns = padded(2 * H) if kind == FORM + 3 else columns
    W_hh = _floats(program, layer[W_HH], layer[WIDTH] * hidden_columns)
    b = _floats(program, layer[BIAS], blocks * H)
    h = layer[OUT]
    if kind == LSTM:
        lstm(src, src_rows, off, slab.state, work.slots, h, W_ih, W_hh, b, work.z, n)
    elif kind == GRU:
        gru(src, src_rows, off, slab.state, work.slots, h, W_ih, W_hh, b, work.z, n)
    elif kind == RNN_TANH:
        rnn.tanh(src, src_rows, off, slab.state, work.slots, h, W_ih, W_hh, b, work.z, n)
    elif kind == RNN_RELU:
        rnn.relu(src, src_rows, off, slab.state, work.slots, h, W_ih, W_hh, b, work.z, n)
    elif kind == RESERVOIR:
        leak = _floats(program, layer[OTHER], H)
        rnn.reservoir(src, src_rows, off, slab.state, work.slots, h, W_ih, W_hh, b, leak, work.z, n)
    else:
        form(
            kind - FORM,
            src,
            src_rows,
            off,
            layer[N_IN],
            slab.state,
            work.slots,
            h,
            layer[WIDTH],
            W_ih,
            W_hh,
            _floats(program, layer[W_2], layer[SIZE_2]),
            b,
            layer[ACT_GATE],
            layer[ACT],
            layer[ACT_OUT],
            program.weights[layer[PARAMETER]],
            work.z,
            work.rows,
            n,
        )


@inlined
def _stateless(program, layer, src, src_rows, off, work, n):
    """One layer that remembers nothing: its outputs stand in work.u."""
    kind, width, out = layer[KIND], layer[WIDTH], layer[OUT]
    b = _floats(program, layer[BIAS], width)
    if kind == EMBED:
        table = _floats(program, layer[W_IH], layer[SIZE_2] * width)
        embed(src, src_rows, off, table, layer[SIZE_2], work.u, out, n)
        return
    if kind == DENSE:
        W = _floats(program, layer[W_IH], layer[N_IN] * padded(width))
        linear(src, src_rows, off, W, b, work.u, work.rows, out, work.z, n)
    elif kind == NORM:
        weight = _floats(program, layer[W_IH], width)
        layer_norm(src, src_rows, off, work.u, out, weight, b, program.weights[layer[PARAMETER]], n)
    else:
        for s in range(n):
            for j in range(width):
                work.u[s, out + j] = src[src_rows[s], off + j]
    for s in range(n):
        activate(work.u[s], out, width, layer[ACT])


@inlined
def layers(program, slab, work, n):
    """Every layer, for the n streams of the wave; its input stands at the beginning of work.u."""
    src, src_rows, off = work.u, work.rows, np.int64(0)
    for d in range(program.layers.shape[0]):
        layer = program.layers[d]
        if layer[STORED]:
            _recurrent(program, layer, src, src_rows, off, slab, work, n)
            src, src_rows, off = slab.state, work.slots, layer[OUT]
        else:
            _stateless(program, layer, src, src_rows, off, work, n)
            src, src_rows, off = work.u, work.rows, layer[OUT]


@inlined
def readout(sizes, program, slab, work, n, y):
    """y[work.outs[j]] of the n streams: a linear map of what the last layer hands on, or just that."""
    last = program.layers[program.layers.shape[0] - 1]
    if last[STORED]:
        src, src_rows = slab.state, work.slots
    else:
        src, src_rows = work.u, work.rows
    off = last[OUT]
    if sizes.w_out >= 0:
        W = _floats(program, sizes.w_out, last[WIDTH] * padded(sizes.n_out))
        b = _floats(program, sizes.b_out, sizes.n_out)
        linear(src, src_rows, off, W, b, y, work.outs, np.int64(0), work.z, n)
    else:
        for s in range(n):
            for j in range(sizes.n_out):
                y[work.outs[s], j] = src[src_rows[s], off + j]
