"""The step, compiled: from admitted samples to outputs, scores and new state.

    fill missing channels -> score against the last forecast -> normalise -> learn -> every layer -> readout -> ring

Rows are cut into waves of at most TILE in which no stream appears twice, in order of arrival. What one stream's row
computes depends on that stream alone, so the cut cannot be seen in the results.
"""

from __future__ import annotations

import numpy as np

from streamrnn._jit import Entry, call_at, fused, inlined, kernel
from streamrnn.burst import HAS_T
from streamrnn.frames import address_of, numbers_at
from streamrnn.kernels.activate import softmax
from streamrnn.kernels.clock import day_phase
from streamrnn.kernels.memory import clear_rows, matrix, prefetch_row
from streamrnn.kernels.normalise import STATS, denormalise, observe
from streamrnn.kernels.normalise import init as init_stats
from streamrnn.kernels.rls import init as init_rls
from streamrnn.kernels.rls import learn, predict
from streamrnn.kernels.score import init as init_score
from streamrnn.kernels.score import nothing_found, score
from streamrnn.kernels.spread import NONE as NO_SPREAD
from streamrnn.kernels.spread import spread as add_spread
from streamrnn.kernels.surprise import judge

from .chain import layers, readout
from .frame import (
    ADVANCE,
    answers_of,
    marks_of,
    program_of,
    rows_of,
    slab_of,
    table_of,
    work_of,
)
from .packing import OUT
from .program import CLASSIFY, FORECAST, NORMALISER_CAUSAL, NORMALISER_FIXED, TILE, read_sizes
from .sample import complete, fill, hold, normalise, past, remember, scale_back
from .table import COUNT, EPOCH, LAST_EPOCH

__all__ = ["advance", "advance_shard", "begin", "clear_row"]


PREFETCH_FROM = 1 << 20
"""Bytes of all streams' state from which a wave's rows are asked for ahead: less stays in the second-level cache."""


@inlined
def _learned(sizes, adapt, work):
    """P, w and the pending update of a stream's online readout."""
    F = work.phi.size
    packed = sizes.w - sizes.p
    w = matrix(adapt, sizes.w, sizes.n_in, F)
    return adapt[sizes.p : sizes.p + packed], w, adapt[sizes.pending : sizes.pending + F + 1]


@kernel
def _clear(sizes, program, slab, work, slot):
    n_in = sizes.n_in
    row = slab.state[slot]
    row[:] = np.float32(0.0)
    slab.ring[slot] = np.float32(0.0)
    init_score(slab.detector[slot])
    if sizes.normaliser == NORMALISER_FIXED:
        for k in range(n_in):
            row[sizes.x_held + k] = program.weights[sizes.mean + k]
    if sizes.online:
        adapt = slab.adapt[slot]
        init_stats(matrix(adapt, sizes.stats, n_in, STATS))
        P, w, pending = _learned(sizes, adapt, work)
        init_rls(P, w, pending, sizes.features - 1 - sizes.n_net, program.learning)


@kernel
def clear_row(program, slab, work, slot):
    """Give a slot the state of a stream that has seen nothing, whatever was there before."""
    _clear(read_sizes(program), program, slab, work, slot)


@fused
def _features(sizes, state, h, u, phi):
    """phi = [h, u, 1, 0, ...]: what the online readout sees, in whole vectors."""
    H = sizes.features - 1 - sizes.n_net
    for j in range(H):
        phi[j] = state[h + j]
    for k in range(sizes.n_net):
        phi[H + k] = u[k]
    phi[sizes.features - 1] = 1.0


@fused
def _token(sizes, row, x, u, count, detector, params, i, answers):
    """What happens to a token before the network sees it: it is judged, and given to the first layer."""
    u[0] = x[0]
    has_forecast = sizes.head == FORECAST and count >= sizes.horizon
    token = min(max(int(x[0]), 0), sizes.tokens - 1)
    p = row[past(sizes, count) + token] if has_forecast else np.float32(0.0)
    judge(p, has_forecast, detector, params, i, answers.score, answers.flag, answers.edge, answers.cause)


@fused
def _before(sizes, program, slab, work, x, t, has, j, slot, count, i, answers):
    """Everything that happens to one sample before the network sees it; work.u[j] receives the network's input."""
    n_in = sizes.n_in
    row = slab.state[slot]
    u = work.u[j]
    if sizes.tokens > 0:
        _token(sizes, row, x, u, count, slab.detector[slot], program.detector, i, answers)
        return
    has_forecast = sizes.head == FORECAST and count >= sizes.horizon
    y_prev = past(sizes, count)
    missing = answers.missing[i]
    n_missing = 0
    values = x
    if not complete(sizes, x):
        n_missing = fill(sizes, row, y_prev, has_forecast, x, work.x[j], missing)
        values = work.x[j]
    if sizes.scored:
        score(
            values,
            missing,
            n_missing,
            row[y_prev : y_prev + sizes.kept],
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
    else:
        nothing_found(i, answers.score, answers.flag, answers.edge, answers.cause)
    if n_missing == 0:
        # Not before the forecast beside it was read: a load waits for a store that it overlaps, masked lanes included.
        hold(sizes, row, x)
    if sizes.normaliser == NORMALISER_CAUSAL:
        adapt = slab.adapt[slot]
        observe(values, missing, matrix(adapt, sizes.stats, n_in, STATS), u[:n_in])
        if count > 0:
            P, w, pending = _learned(sizes, adapt, work)
            last = program.layers[program.layers.shape[0] - 1, OUT]
            _features(sizes, row, last, row[sizes.u_prev : sizes.u_prev + sizes.n_net], work.phi)
            learn(work.phi, u[:n_in], missing, P, w, pending, work.gain, program.learning)
    else:
        normalise(sizes, program, values, u)
    if sizes.clock:
        day_phase(t if has & HAS_T else np.int64(0), u[n_in : sizes.n_net])


@fused
def _outputs(sizes, program, slab, work, n, y):
    """y[work.outs[j]] of the n streams of the wave, in the channels' own units where it is a forecast."""
    n_in = sizes.n_in
    if sizes.online:
        last = program.layers[program.layers.shape[0] - 1, OUT]
        for j in range(n):
            slot = work.slots[j]
            adapt = slab.adapt[slot]
            w = _learned(sizes, adapt, work)[1]
            _features(sizes, slab.state[slot], last, work.u[j], work.phi)
            predict(work.phi, w, work.forecast)
            denormalise(work.forecast, matrix(adapt, sizes.stats, n_in, STATS), y[work.outs[j]])
        return
    readout(sizes, program, slab, work, n, y)
    if sizes.head == CLASSIFY or (sizes.tokens > 0 and sizes.head == FORECAST and sizes.w_out >= 0):
        for j in range(n):
            softmax(y[work.outs[j]], np.int64(0), sizes.n_out)
    elif sizes.spread != NO_SPREAD:
        scaled = sizes.normaliser == NORMALISER_FIXED
        for j in range(n):
            add_spread(y[work.outs[j]], n_in, sizes.spread, scaled, program.weights, sizes.mean)
    elif sizes.head == FORECAST and sizes.normaliser == NORMALISER_FIXED:
        for j in range(n):
            scale_back(sizes, program, y[work.outs[j]])


@inlined
def _wave(sizes, program, slab, table, work, x, t, has, slots, fresh, n, answers):
    """Step the n rows work.outs[:n], all of different streams."""
    meta = table.meta
    for j in range(n):
        i = work.outs[j]
        slot = slots[i]
        work.slots[j] = slot
        if fresh[i]:
            if answers.epoch[i] > 0:
                meta[slot, EPOCH] = answers.epoch[i]
            meta[slot, COUNT] = 0
            _clear(sizes, program, slab, work, slot)
        _before(sizes, program, slab, work, x[i], t[i], has[i], j, slot, meta[slot, COUNT], i, answers)
    layers(program, slab, work, n)
    _outputs(sizes, program, slab, work, n, answers.y)
    for j in range(n):
        i = work.outs[j]
        remember(sizes, slab, meta, work.u[j], x[i], slots[i], i, answers)


@kernel
def begin(frame, start, stop):
    """Prepare rows for the step: nothing is missing until it is found to be, and those that start a stream anew get
    their epochs, in order of arrival.

    answers.epoch is written where `fresh` is set: the new epoch, or 0 where the stream has seen nothing that could be
    forgotten.
    """
    rows = rows_of(frame)
    slots, fresh = rows.slots, rows.fresh
    clear_rows(answers_of(frame).missing, start, stop)
    some = np.uint8(0)
    for i in range(start, stop):
        some |= fresh[i]
    if some != 0:
        table, marks, answers = table_of(frame), marks_of(frame), answers_of(frame)
        marks.mark[0] += 1
        mark = marks.mark[0]
        for i in range(start, stop):
            slot = slots[i]
            if slot >= 0:
                if fresh[i]:
                    answers.epoch[i] = 0
                    if table.meta[slot, COUNT] > 0 or marks.stamp[slot] == mark:
                        table.head[LAST_EPOCH] += 1
                        answers.epoch[i] = table.head[LAST_EPOCH]
                marks.stamp[slot] = mark


@fused
def _shard_of(slot):
    """Neighbouring slots belong together: threads that write to one cache line wait for each other."""
    return slot >> 6


@Entry
def advance(address, start, stop, mark, shard, shards):
    """Step those of the rows start..stop of the frame at an address, in order of arrival, whose stream belongs to one
    of `shards` shards.

    Rows whose slot is negative were refused and are passed over. Shards share no stream, so they may run side by side,
    each with a frame whose scratch is its own. The frame's stamps hold no value above `mark` on entry; returns the
    largest that they hold on return. `begin` comes first.
    """
    frame = numbers_at(address)
    program, slab, table, work = program_of(frame), slab_of(frame), table_of(frame), work_of(frame)
    stamp, answers = marks_of(frame).stamp, answers_of(frame)
    x, t, has, slots, fresh = rows_of(frame)
    # Numbers, not an array: the compiler would have to read an array's again after every store.
    sizes = read_sizes(program)
    spread = slab.state.nbytes + slab.detector.nbytes > PREFETCH_FROM
    i = start
    while i < stop:
        mark += 1
        n = 0
        while i < stop and n < TILE:
            slot = slots[i]
            if slot >= 0 and (shards == 1 or _shard_of(slot) % shards == shard):
                if stamp[slot] == mark:
                    break
                stamp[slot] = mark
                work.outs[n] = i
                if spread:
                    prefetch_row(slab.state, slot)
                    if sizes.scored:
                        prefetch_row(slab.detector, slot)
                n += 1
            i += 1
        _wave(sizes, program, slab, table, work, x, t, has, slots, fresh, n, answers)
    return mark


@kernel
def advance_shard(frame, start, stop, mark, shard, shards):
    """`advance`, for the frame of a thread."""
    return call_at(frame[ADVANCE], (address_of(frame), start, stop, mark, shard, shards))
