"""The step, compiled: from admitted samples to outputs, scores and new state.

    fill missing channels -> score against the last forecast -> normalise -> learn -> every layer -> readout -> ring

Rows are cut into waves of at most TILE in which no stream appears twice, in order of arrival. What one stream's row
computes depends on that stream alone, so the cut cannot be seen in the results.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn._jit import inlined, kernel
from streamrnn.burst import HAS_T
from streamrnn.kernels import rnn
from streamrnn.kernels.clock import day_phase
from streamrnn.kernels.gru import gru
from streamrnn.kernels.lstm import lstm
from streamrnn.kernels.normalise import STATS, denormalise, observe
from streamrnn.kernels.normalise import init as init_stats
from streamrnn.kernels.numerics import bounded, fma32
from streamrnn.kernels.readout import linear, softmax
from streamrnn.kernels.rls import init as init_rls
from streamrnn.kernels.rls import learn, predict
from streamrnn.kernels.score import init as init_score
from streamrnn.kernels.score import score

from .program import (
    BIAS,
    CLASSIFY,
    FORECAST,
    GRU,
    HIDDEN,
    KIND,
    LEAK,
    LSTM,
    N_IN,
    NORMALISER_CAUSAL,
    NORMALISER_FIXED,
    RNN_RELU,
    RNN_TANH,
    S_B_OUT,
    S_CLOCK,
    S_FEATURES,
    S_HEAD,
    S_IN,
    S_MEAN,
    S_NET,
    S_NORMALISER,
    S_ONLINE,
    S_OUT,
    S_P,
    S_RING,
    S_SEEN,
    S_U_PREV,
    S_W,
    S_W_OUT,
    S_X_HELD,
    S_Y_PREV,
    STATE,
    TILE,
    W_HH,
    W_IH,
)
from .table import COUNT, EPOCH, LAST_EPOCH

__all__ = ["Answers", "advance", "clear_row"]


class Answers(NamedTuple):
    """The arrays of a `Results` that the step writes."""

    y: npt.NDArray[np.float32]
    score: npt.NDArray[np.float32]
    flag: npt.NDArray[np.uint8]
    edge: npt.NDArray[np.int8]
    cause: npt.NDArray[np.int32]
    seen: npt.NDArray[np.int64]
    epoch: npt.NDArray[np.int64]
    missing: npt.NDArray[np.uint8]


@inlined
def _matrix(flat, start, rows, columns):
    """flat[start:...] seen as a (rows, columns) matrix."""
    return flat[start : start + rows * columns].reshape((rows, columns))


@kernel
def clear_row(program, slab, slot):
    """Give a slot the state of a stream that has seen nothing, whatever was there before."""
    sizes = program.sizes
    n_in = sizes[S_IN]
    row = slab.state[slot]
    row[:] = np.float32(0.0)
    slab.ring[slot] = np.float32(0.0)
    init_score(slab.detector[slot])
    if sizes[S_NORMALISER] == NORMALISER_FIXED:
        for k in range(n_in):
            row[sizes[S_X_HELD] + k] = program.weights[sizes[S_MEAN] + k]
    if sizes[S_ONLINE]:
        F = sizes[S_FEATURES]
        adapt = slab.adapt[slot]
        init_stats(_matrix(adapt, 0, n_in, STATS))
        P = _matrix(adapt, sizes[S_P], F, F)
        w = _matrix(adapt, sizes[S_W], n_in, F)
        init_rls(P, w, F - 1 - sizes[S_NET], program.learning)


@kernel
def _fill(sizes, row, has_forecast, x, filled, missing):
    """Put something in the place of missing channels: the forecast, else the last value seen (at first the mean)."""
    for k in range(sizes[S_IN]):
        value = x[k]
        if np.isnan(value):
            missing[k] = 1
            seen = row[sizes[S_SEEN] + k] > np.float32(0.0)
            at = sizes[S_Y_PREV] if has_forecast and seen else sizes[S_X_HELD]
            filled[k] = row[at + k]
        else:
            missing[k] = 0
            filled[k] = value
            row[sizes[S_X_HELD] + k] = value
            row[sizes[S_SEEN] + k] = np.float32(1.0)


@kernel
def _features(sizes, state, h, u, phi):
    """phi = [h, u, 1]: what the online readout sees."""
    H = sizes[S_FEATURES] - 1 - sizes[S_NET]
    for j in range(H):
        phi[j] = state[h + j]
    for k in range(sizes[S_NET]):
        phi[H + k] = u[k]
    phi[sizes[S_FEATURES] - 1] = 1.0


@kernel
def _normalise(program, x, u):
    """u = (x - mean) / scale, or x itself, within the limit that keeps every later sum finite."""
    sizes = program.sizes
    n_in = sizes[S_IN]
    if sizes[S_NORMALISER] == NORMALISER_FIXED:
        at = sizes[S_MEAN]
        for k in range(n_in):
            u[k] = bounded((bounded(x[k]) - program.weights[at + k]) / program.weights[at + n_in + k])
    else:
        for k in range(n_in):
            u[k] = bounded(x[k])


@kernel
def _before(program, slab, work, x, t, has, j, slot, count, i, answers):
    """Everything that happens to one sample before the network sees it; work.u[j] receives the network's input."""
    sizes = program.sizes
    n_in = sizes[S_IN]
    row = slab.state[slot]
    has_forecast = sizes[S_HEAD] == FORECAST and count > 0
    filled = work.x[j]
    u = work.u[j]
    missing = answers.missing[i]
    _fill(sizes, row, has_forecast, x, filled, missing)
    y_prev = row[sizes[S_Y_PREV] : sizes[S_Y_PREV] + sizes[S_OUT]]
    score(
        filled,
        missing,
        y_prev,
        has_forecast,
        t if has & HAS_T else np.int64(0),
        slab.detector[slot],
        program.detector,
        i,
        answers.score,
        answers.flag,
        answers.edge,
        answers.cause,
    )
    if sizes[S_NORMALISER] == NORMALISER_CAUSAL:
        F = sizes[S_FEATURES]
        adapt = slab.adapt[slot]
        observe(filled, missing, _matrix(adapt, 0, n_in, STATS), u[:n_in])
        if count > 0:
            P = _matrix(adapt, sizes[S_P], F, F)
            w = _matrix(adapt, sizes[S_W], n_in, F)
            last = program.layers[program.layers.shape[0] - 1, STATE]
            _features(sizes, row, last, row[sizes[S_U_PREV] : sizes[S_U_PREV] + sizes[S_NET]], work.phi)
            learn(work.phi, u[:n_in], missing, P, w, work.gain, program.learning)
    else:
        _normalise(program, filled, u)
    if sizes[S_CLOCK]:
        day_phase(t if has & HAS_T else np.int64(0), u[n_in:])


@kernel
def _layers(program, slab, work, n):
    """Every layer, for the n streams of the wave."""
    depth = program.layers.shape[0]
    for d in range(depth):
        layer = program.layers[d]
        kind = layer[KIND]
        H = layer[HIDDEN]
        gates = 4 if kind in (LSTM, GRU) else 1
        columns = 3 * H if kind == GRU else gates * H
        W_ih = _matrix(program.weights, layer[W_IH], layer[N_IN], columns)
        W_hh = _matrix(program.weights, layer[W_HH], H, columns)
        b = program.weights[layer[BIAS] : layer[BIAS] + gates * H]
        if d == 0:
            src, src_rows, off = work.u, work.rows, np.int64(0)
        else:
            src, src_rows, off = slab.state, work.slots, program.layers[d - 1, STATE]
        h = layer[STATE]
        if kind == LSTM:
            lstm(src, src_rows, off, slab.state, work.slots, h, W_ih, W_hh, b, work.z, n)
        elif kind == GRU:
            gru(src, src_rows, off, slab.state, work.slots, h, W_ih, W_hh, b, work.z, n)
        elif kind == RNN_TANH:
            rnn.tanh(src, src_rows, off, slab.state, work.slots, h, W_ih, W_hh, b, work.z, n)
        elif kind == RNN_RELU:
            rnn.relu(src, src_rows, off, slab.state, work.slots, h, W_ih, W_hh, b, work.z, n)
        else:
            leak = program.weights[layer[LEAK] : layer[LEAK] + H]
            rnn.reservoir(src, src_rows, off, slab.state, work.slots, h, W_ih, W_hh, b, leak, work.z, n)


@kernel
def _readout(program, slab, work, n, y):
    """y[work.outs[j]] of the n streams of the wave, in the channels' own units where it is a forecast."""
    sizes = program.sizes
    n_in = sizes[S_IN]
    last = program.layers[program.layers.shape[0] - 1]
    if sizes[S_ONLINE]:
        F = sizes[S_FEATURES]
        for j in range(n):
            slot = work.slots[j]
            adapt = slab.adapt[slot]
            w = _matrix(adapt, sizes[S_W], n_in, F)
            _features(sizes, slab.state[slot], last[STATE], work.u[j], work.phi)
            predict(work.phi, w, work.forecast)
            denormalise(work.forecast, _matrix(adapt, 0, n_in, STATS), y[work.outs[j]])
        return
    W = _matrix(program.weights, sizes[S_W_OUT], last[HIDDEN], sizes[S_OUT])
    b = program.weights[sizes[S_B_OUT] : sizes[S_B_OUT] + sizes[S_OUT]]
    linear(slab.state, work.slots, last[STATE], W, b, y, work.outs, work.z, n)
    if sizes[S_HEAD] == CLASSIFY:
        for j in range(n):
            softmax(y[work.outs[j]])
    elif sizes[S_HEAD] == FORECAST and sizes[S_NORMALISER] == NORMALISER_FIXED:
        at = sizes[S_MEAN]
        for j in range(n):
            yj = y[work.outs[j]]
            for k in range(n_in):
                yj[k] = fma32(bounded(yj[k]), program.weights[at + n_in + k], program.weights[at + k])


@kernel
def _after(sizes, slab, meta, work, x, j, slot, i, answers):
    """Remember the sample and the output, and count it."""
    row = slab.state[slot]
    ring = sizes[S_RING]
    for k in range(sizes[S_NET]):
        row[sizes[S_U_PREV] + k] = work.u[j, k]
    for k in range(sizes[S_OUT]):
        row[sizes[S_Y_PREV] + k] = answers.y[i, k]
    if ring > 0:
        entry = slab.ring[slot, meta[slot, COUNT] % ring]
        n_in = sizes[S_IN]
        for k in range(n_in):
            entry[k] = x[k]
        for k in range(sizes[S_OUT]):
            entry[n_in + k] = answers.y[i, k]
        entry[n_in + sizes[S_OUT]] = answers.score[i]
    meta[slot, COUNT] += 1
    answers.seen[i] = meta[slot, COUNT]
    answers.epoch[i] = meta[slot, EPOCH]


@kernel
def _wave(program, slab, table, work, x, t, has, slots, fresh, n, answers):
    """Step the n rows work.outs[:n], all of different streams."""
    meta = table.meta
    for j in range(n):
        i = work.outs[j]
        slot = slots[i]
        work.slots[j] = slot
        if fresh[i]:
            if meta[slot, COUNT] > 0:
                table.head[LAST_EPOCH] += 1
                meta[slot, EPOCH] = table.head[LAST_EPOCH]
                meta[slot, COUNT] = 0
            clear_row(program, slab, slot)
        _before(program, slab, work, x[i], t[i], has[i], j, slot, meta[slot, COUNT], i, answers)
    _layers(program, slab, work, n)
    _readout(program, slab, work, n, answers.y)
    for j in range(n):
        i = work.outs[j]
        _after(program.sizes, slab, meta, work, x[i], j, slots[i], i, answers)


@kernel
def advance(program, slab, table, work, x, t, has, slots, fresh, start, stop, stamp, mark, answers):
    """Step rows start..stop in order of arrival; rows whose slot is negative were refused and are passed over.

    stamp int64 (capacity,) holds no value above `mark` on entry; returns the largest that it holds on return.
    """
    i = start
    while i < stop:
        mark += 1
        n = 0
        while i < stop and n < TILE:
            slot = slots[i]
            if slot >= 0:
                if stamp[slot] == mark:
                    break
                stamp[slot] = mark
                work.outs[n] = i
                n += 1
            i += 1
        _wave(program, slab, table, work, x, t, has, slots, fresh, n, answers)
    return mark
