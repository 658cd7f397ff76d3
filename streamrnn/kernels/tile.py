"""The register tile: the products of a few streams with blocks of 32 columns of weights, sums held in registers.

This is the one place that writes LLVM instructions by hand. For S streams and G blocks it emits

    acc[s][i] = start[s, col + 16 i : ... + 16]          i over the 2 G vectors of the blocks
    for each of two operands (W, K, src, rows, off):
        for k in range(K):
            w[i] = W[block + i // 2, k, 16 (i % 2) : ...]
            for s in range(S):
                x = src[rows[first + s], off + k]        one input, spread over a vector
                acc[s][i] = fma(w[i], x, acc[s][i])
    z[s, col + 16 i : ...] = acc[s][i]

so that a pre-activation b + W_ih x + W_hh h is in a register from its bias to its last addition. Each output is one
chain of fused multiply-adds over ascending k, of the first operand and then of the second: the order does not depend
on S, on G, on the vector width or on how LLVM splits vectors for a CPU without such registers. So S and G are free to
be what fills the registers: 12 streams by one block are 24 of the 32 registers of AVX-512; with 16 registers of half
the size, 3 streams fit. A single stream takes four blocks at once instead, to have enough independent sums in flight
to hide the latency of an addition.
"""

from __future__ import annotations

from typing import NamedTuple

import llvmlite.binding as llvm
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from .memory import element, load_vector, store_vector
from .vector import LANES, VECTOR, emit_fma, splat

__all__ = ["BLOCK", "STREAMS", "WIDE", "Operand", "tile_many", "tile_one", "tile_one_wide", "tile_some", "tile_two"]


class Operand(NamedTuple):
    """One matrix product: W float32 (blocks * K * BLOCK,) from `product.pack`, and for stream s the K inputs
    src[rows[first + s], off : off + K] of src float32 (any, any) and rows int64. With K = 0 it adds nothing."""

    W: npt.NDArray[np.float32]
    K: int
    src: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]
    off: int


VECTORS = 2
BLOCK = VECTORS * LANES
"""Columns of a block of packed weights."""


def _wide() -> bool:
    """Whether the CPU that code is compiled for has 32 registers of 16 float32."""
    features = config.CPU_FEATURES
    if features is None:
        try:
            return bool(llvm.get_host_cpu_features().get("avx512f", False))
        except RuntimeError:
            return False
    return "+avx512f" in features


STREAMS = 12 if _wide() else 3
"""Streams that one register tile takes."""

WIDE = 4
"""Blocks that a single stream takes at once."""


def _define(module, streams: int, blocks: int):  # type: ignore[no-untyped-def]
    """The tile for S streams and G blocks as a function of its own in an LLVM module.

    void tile(start, start_width, z, z_width, then W, K, src, src_width, rows, off of each operand): start and z at
    their first element, W at its first panel, rows at its first stream; widths are of rows, in floats. It is never
    inlined: a copy in every caller would multiply the time to compile.
    """
    name = f"streamrnn_tile_{streams}x{blocks}"
    if name in module.globals:
        return module.globals[name]
    index, floats = ir.IntType(64), ir.FloatType().as_pointer()
    operand = [floats, index, floats, index, index.as_pointer(), index]
    kind = ir.FunctionType(ir.VoidType(), [floats, index, floats, index, *operand, *operand])
    function = ir.Function(module, kind, name)
    function.linkage = "linkonce_odr"
    function.attributes.add("noinline")
    function.attributes.add("nounwind")
    start, start_width, z, z_width, *operands = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))

    def shifted(pointer, *offsets):  # type: ignore[no-untyped-def]
        for offset in offsets:
            pointer = builder.gep(pointer, [index(offset) if isinstance(offset, int) else offset])
        return pointer

    vectors = range(blocks * VECTORS)
    # Stack slots, which LLVM turns into registers.
    acc = [[cgutils.alloca_once(builder, VECTOR) for _ in vectors] for _ in range(streams)]
    for s in range(streams):
        first = shifted(start, builder.mul(start_width, index(s)))
        for i in vectors:
            builder.store(load_vector(builder, shifted(first, i * LANES)), acc[s][i])
    for W, K, src, src_width, rows, off in (operands[:6], operands[6:]):
        inputs = [shifted(src, builder.mul(builder.load(shifted(rows, s)), src_width), off) for s in range(streams)]
        panel = builder.mul(K, index(BLOCK))
        panels = [shifted(W, builder.mul(panel, index(g))) for g in range(blocks)]
        with cgutils.for_range(builder, K) as loop:
            at = builder.mul(loop.index, index(BLOCK))
            w = [load_vector(builder, shifted(panels[i // VECTORS], at, i % VECTORS * LANES)) for i in vectors]
            for s in range(streams):
                x = splat(builder, builder.load(shifted(inputs[s], loop.index)))
                for i in vectors:
                    builder.store(emit_fma(builder, w[i], x, builder.load(acc[s][i])), acc[s][i])
    for s in range(streams):
        first = shifted(z, builder.mul(z_width, index(s)))
        for i in vectors:
            store_vector(builder, builder.load(acc[s][i]), shifted(first, i * LANES))
    builder.ret_void()
    return function


def _make(streams: int, blocks: int):  # type: ignore[no-untyped-def]
    """The tile for S streams and G blocks, to be called from kernels."""

    @intrinsic
    def tile(typingctx, z, top, col, start, row, a, b, block, first):  # type: ignore[no-untyped-def]  # noqa: ARG001
        """z float32 (streams, columns), of which rows top to top + S and columns from col on are written; start of the
        same kind, read at the same columns from row `row` on, or, where it has one row, that row for every stream; a
        and b as `Operand`. The arrays are C-contiguous."""
        intp = types.intp
        signature = types.void(z, intp, intp, start, intp, a, b, intp, intp)

        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            z, top, col, start, row, a, b, block, first = args
            function = _define(builder.module, streams, blocks)

            def at(kind, array, *indices):  # type: ignore[no-untyped-def]
                return element(context, builder, kind, array, list(indices))

            def shape(kind, array):  # type: ignore[no-untyped-def]
                view = context.make_array(kind)(context, builder, value=array)
                return cgutils.unpack_tuple(builder, view.shape)

            zero = block.type(0)
            rows, width = shape(sig.args[3], start)
            one = builder.icmp_signed("==", rows, rows.type(1))
            values = [at(sig.args[3], start, row, col), builder.select(one, zero, width)]
            values += [at(sig.args[0], z, top, col), shape(sig.args[0], z)[1]]
            for kind, operand in ((sig.args[5], a), (sig.args[6], b)):
                W, K, src, src_rows, off = cgutils.unpack_tuple(builder, operand)
                W_type, _, src_type, rows_type, _ = kind.types
                panel = builder.mul(block, builder.mul(K, block.type(BLOCK)))
                values += [at(W_type, W, panel), K, at(src_type, src, zero, zero), shape(src_type, src)[1]]
                values += [at(rows_type, src_rows, first), off]
            builder.call(function, values)
            return context.get_dummy_value()

        return signature, codegen

    return tile


tile_many = _make(STREAMS, 1)
"""STREAMS streams by one block."""

tile_some = _make(STREAMS // 3, 1)
"""A third of them, for what is left over."""

tile_one = _make(1, 1)
"""One stream by one block."""

tile_two = _make(1, 2)
"""One stream by two blocks at once."""

tile_one_wide = _make(1, WIDE)
"""One stream by WIDE blocks at once."""
