"""The register tile: the product of a few streams with blocks of 32 columns of weights, its sums held in registers.

This is the one place that writes LLVM instructions by hand. For S streams and G blocks it emits

    acc[s][i] = z[s, col + 16 i : ... + 16]              i over the 2 G vectors of the blocks
    for k in range(K):
        w[i] = W[block + i // 2, k, 16 (i % 2) : ...]
        for s in range(S):
            x = src[rows[first + s], off + k]            one input, spread over a vector
            acc[s][i] = fma(w[i], x, acc[s][i])
    z[s, col + 16 i : ...] = acc[s][i]

Each output is one chain of fused multiply-adds over ascending k: the order does not depend on S, on G, on the vector
width or on how LLVM splits vectors for a CPU without such registers. So S and G are free to be what fills the
registers: 12 streams by one block are 24 of the 32 registers of AVX-512; with 16 registers of half the size, 3 streams
fit. A single stream takes four blocks at once instead, to have enough independent sums in flight to hide the latency
of an addition.
"""

from __future__ import annotations

import llvmlite.binding as llvm
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from .memory import element, load_vector, store_vector
from .vector import LANES, VECTOR, emit_fma, splat

__all__ = ["BLOCK", "STREAMS", "WIDE", "tile_many", "tile_one", "tile_one_wide", "tile_some"]

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

    void tile(W, K, src, src_width, rows, off, z, z_width): W at its first panel, rows at its first stream, z at its
    first element; widths are of rows, in floats. It is never inlined: a copy in every caller would multiply the time
    to compile.
    """
    name = f"streamrnn_tile_{streams}x{blocks}"
    if name in module.globals:
        return module.globals[name]
    index, floats = ir.IntType(64), ir.FloatType().as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [floats, index, floats, index, index.as_pointer(), index, floats, index])
    function = ir.Function(module, kind, name)
    function.linkage = "linkonce_odr"
    function.attributes.add("noinline")
    function.attributes.add("nounwind")
    W, K, src, src_width, rows, off, z, z_width = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))

    def shifted(pointer, *offsets):  # type: ignore[no-untyped-def]
        for offset in offsets:
            pointer = builder.gep(pointer, [index(offset) if isinstance(offset, int) else offset])
        return pointer

    vectors = range(blocks * VECTORS)
    places = [[shifted(z, builder.mul(z_width, index(s)), i * LANES) for i in vectors] for s in range(streams)]
    # Stack slots, which LLVM turns into registers.
    acc = [[cgutils.alloca_once(builder, VECTOR) for _ in vectors] for _ in range(streams)]
    inputs = []
    for s in range(streams):
        row = builder.load(shifted(rows, s))
        inputs.append(shifted(src, builder.mul(row, src_width), off))
        for i in vectors:
            builder.store(load_vector(builder, places[s][i]), acc[s][i])
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
        for i in vectors:
            store_vector(builder, builder.load(acc[s][i]), places[s][i])
    builder.ret_void()
    return function


def _make(streams: int, blocks: int):  # type: ignore[no-untyped-def]
    """The tile for S streams and G blocks, to be called from kernels."""

    @intrinsic
    def tile(typingctx, W, block, K, src, rows, first, off, z, top, col):  # type: ignore[no-untyped-def]  # noqa: ARG001
        """W float32 (blocks * K * BLOCK,) from `product.pack`, src float32 (any, any), rows int64, z float32 (streams,
        columns), of which rows top to top + S are taken. The arrays are C-contiguous."""
        intp = types.intp
        signature = types.void(W, intp, intp, src, rows, intp, intp, z, intp, intp)

        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            W, block, K, src, rows, first, off, z, top, col = args
            function = _define(builder.module, streams, blocks)

            def at(position, array, *indices):  # type: ignore[no-untyped-def]
                return element(context, builder, sig.args[position], array, list(indices))

            def width(position, array):  # type: ignore[no-untyped-def]
                view = context.make_array(sig.args[position])(context, builder, value=array)
                return cgutils.unpack_tuple(builder, view.shape)[1]

            zero = block.type(0)
            panel = builder.mul(block, builder.mul(K, block.type(BLOCK)))
            values = (at(0, W, panel), K, at(3, src, zero, zero), width(3, src), at(4, rows, first), off)
            builder.call(function, [*values, at(7, z, top, col), width(7, z)])
            return context.get_dummy_value()

        return signature, codegen

    return tile


tile_many = _make(STREAMS, 1)
"""STREAMS streams by one block."""

tile_some = _make(STREAMS // 3, 1)
"""A third of them, for what is left over."""

tile_one = _make(1, 1)
"""One stream by one block."""

tile_one_wide = _make(1, WIDE)
"""One stream by WIDE blocks at once."""
