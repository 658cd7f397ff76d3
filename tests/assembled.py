"""What the GPU kernels become: PTX and machine code, without a GPU.

python tests/assembled.py      prints a table of registers, shared memory, spills and occupancy
"""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import chained
import engines
from numba import types
from twins import KERNELS, twin

from streamrnn._cuda import assembly
from streamrnn.engine.cuda.advance import Traits, advance_of
from streamrnn.engine.cuda.memory import Places
from streamrnn.engine.program import Sizes, build_program
from streamrnn.kernels.cuda.product import LAUNCH, THREADS

CAPABILITIES = ((8, 0), (9, 0))

ALL = (*KERNELS, "chain.network")
"""Every kernel, and all of a network as one."""

# Of a multiprocessor of both: registers, warps and blocks; shared memory in KiB, of which each block takes one more.
REGISTERS, WARPS, BLOCKS = 65536, 64, 32
SHARED = {(8, 0): 164, (9, 0): 228}
_UNIT = 256  # registers are given to a warp in so many
_RESERVED = 1024


class Machine(NamedTuple):
    """A kernel for one compute capability: bytes of spills and of shared memory a block, registers a thread."""

    ptx: str
    registers: int
    spills: int
    shared: int
    capability: tuple[int, int]

    @property
    def blocks(self) -> int:
        """How many blocks a multiprocessor holds at once."""
        warps = THREADS // 32
        a_warp = -(-self.registers * 32 // _UNIT) * _UNIT
        by_registers = REGISTERS // (a_warp * warps)
        by_shared = SHARED[self.capability] * 1024 // (self.shared + _RESERVED)
        return min(by_registers, by_shared, WARPS // warps, BLOCKS)

    @property
    def occupancy(self) -> float:
        """Warps that a multiprocessor holds, of those that it could."""
        return self.blocks * (THREADS // 32) / WARPS


def ptxas() -> Path | None:
    """NVIDIA's assembler, from the wheel nvidia-cuda-nvcc."""
    try:
        import nvidia
    except ImportError:
        return None
    return next((p for root in nvidia.__path__ for p in Path(root).glob("*/bin/ptxas")), None)


def _signatures() -> dict[str, tuple[types.Type, ...]]:
    """The types of the arguments of kernels that take others than a plain cell does."""
    i64, f32, rows = types.int64, types.float32, types.Array(types.int64, 1, "C")
    flat, wide = (types.Array(f32, d, "C") for d in (1, 2))
    source, target = (wide, rows, i64), (wide, rows, i64)
    sizes, table = types.NamedUniTuple(i64, len(Sizes._fields), Sizes), types.Array(i64, 2, "C")
    return {
        "rnn.reservoir": (*source, *target, flat, flat, flat, flat, wide, i64),
        "forms.form": (i64, *source, i64, *target, i64, *[flat] * 4, i64, i64, i64, f32, wide, rows, i64),
        "readout.linear": (*source, flat, flat, *target, wide, i64),
        "embed.embed": (*source, flat, i64, wide, i64, i64),
        "norm.layer_norm": (*source, wide, i64, flat, flat, f32, i64),
        "activate.activate": (*target, i64, i64, i64),
        "activate.softmax": (*target, i64, i64),
        "spread.spread": (*target, i64, types.boolean, flat, i64, i64),
        "chain.network": (sizes, table, flat, wide, rows, wide, rows, wide, i64, wide),
        "": (*source, *target, flat, flat, flat, wide, i64),
    }


def signature(name: str) -> tuple[types.Type, ...]:
    """The types of a kernel's arguments."""
    known = _signatures()
    return known.get(name, known[""])


@cache
def assembled(function: Any, signature: tuple[types.Type, ...], capability: tuple[int, int]) -> Machine:
    """A `block_function` as a kernel, compiled and assembled; RuntimeError where the assembler refuses it."""
    ptx = assembly(function, signature, capability, LAUNCH)
    command = [str(ptxas()), "-v", "-arch", "sm_{}{}".format(*capability), "-o", "/dev/null", "-"]
    done = subprocess.run(command, input=ptx, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    if done.returncode:
        raise RuntimeError(f"ptxas refuses it: {said}")

    def number(pattern: str) -> int:
        return sum(map(int, re.findall(pattern, said)))

    spills = number(r"(\d+) bytes spill (?:stores|loads)") + number(r"(\d+) bytes stack frame")
    return Machine(ptx, number(r"Used (\d+) registers"), spills, number(r"(\d+) bytes smem"), capability)


def machine(name: str, capability: tuple[int, int]) -> Machine:
    """The kernel of that name, assembled."""
    function = chained.network if name == "chain.network" else twin(name)
    return assembled(function, signature(name), capability)


@cache
def whole_step(kind: str, capability: tuple[int, int]) -> Machine:
    """The one kernel of an engine with a model of a kind of `engines.MODELS`."""
    traits = Traits.of(build_program(engines.MODELS[kind](), engines.RING))
    i64 = types.int64
    memory = [types.Array(t, 1, "C") for t in (types.float32, types.float64, i64, types.int32, types.int8)]
    told = [types.NamedUniTuple(i64, len(kind._fields), kind) for kind in (Sizes, Places)]
    return assembled(advance_of(traits), (*memory, *told, i64, i64, i64, i64), capability)


def table() -> str:
    lines = [
        "| kernel | sm | registers | shared, KiB | spills | blocks an SM | occupancy |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in (*ALL, *(f"a step: {kind}" for kind in engines.COMPILED)):
        for capability in CAPABILITIES:
            m = machine(name, capability) if name in ALL else whole_step(name.removeprefix("a step: "), capability)
            sizes = f"{m.registers} | {m.shared / 1024:.0f} | {m.spills} | {m.blocks} | {m.occupancy:.0%}"
            lines.append("| {} | {}{} | {} |".format(name, *capability, sizes))
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
