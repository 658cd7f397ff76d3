"""Runs PTX, one instruction at a time: what the compiler has made of a kernel, on a machine without a GPU.

    run(assembly(...), blocks=2, threads=128, arguments=[array, 3, ...])

The simulator runs a kernel's Python, and what that calls as the CPU's compiler has it. This runs what NVIDIA's has made
of both, with IEEE 754's operations rounded as the manual of PTX says: so a wrong address, the sign of a zero or another
rounding is found without a GPU. It knows the instructions that our kernels need; another is a KeyError. A load or store
outside of the arguments is an IndexError.

Threads of a block run one after the other from barrier to barrier. Each basic block becomes a function of Python.
"""

from __future__ import annotations

import math
import re
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator
from ctypes import c_byte, c_double, c_float, c_int16, c_int32, c_int64, c_uint8, c_uint16, c_uint32, c_uint64
from functools import lru_cache
from typing import Any

import numpy as np

from streamrnn.kernels.cuda.numerics import fma, fma64

__all__ = ["run"]

_KINDS = {
    "f32": c_float, "f64": c_double, "u8": c_uint8, "s8": c_byte, "u16": c_uint16, "s16": c_int16,
    "u32": c_uint32, "s32": c_int32, "u64": c_uint64, "s64": c_int64, "b8": c_uint8, "b16": c_uint16, "b32": c_uint32,
    "b64": c_uint64,
}  # fmt: skip
_DIGITS = "0123456789"
_WIDTHS = {"%rs": 0xFFFF, "%r": 0xFFFFFFFF, "%rd": 0xFFFFFFFFFFFFFFFF}
_SPECIAL = {"%tid.x": "T[0]", "%ctaid.x": "T[1]", "%nctaid.x": "T[2]", "%ntid.x": "T[3]"}


# Operations. Integers are held without a sign, in as many bits as their register has; a float32 as the float64 it is.


def _signed(x: int, bits: int) -> int:
    return x - (1 << bits) if x >> (bits - 1) else x


def _single(x: float) -> float:
    """Rounded to float32: an operation in float64 and then this are as one in float32, as 53 bits are 2 * 24 + 2."""
    return float(c_float(x).value)


def _divided(a: float, b: float) -> float:
    if b != 0.0 or math.isnan(a):
        return a / b if b != 0.0 else a
    return math.nan if a == 0.0 else math.copysign(math.inf, a) * math.copysign(1.0, b)


def _root(a: float) -> float:
    return math.sqrt(a) if a >= 0.0 else math.nan


def _greater(a: float, b: float) -> float:
    if math.isnan(a) or math.isnan(b):
        return b if math.isnan(a) else a
    if a == b:
        return a if math.copysign(1.0, a) > 0 else b
    return max(a, b)


def _whole(x: float, bits: int) -> int:
    """The integer towards zero, as close as there is one."""
    if math.isnan(x):
        return 0
    most = (1 << (bits - 1)) - 1
    return int(x) if abs(x) < most else most if x > 0 else -most - 1


def _quotient(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _fma32(a: float, b: float, c: float) -> float:
    return float(fma(np.float32(a), np.float32(b), np.float32(c)))


def _fma64(a: float, b: float, c: float) -> float:
    return float(fma64(np.float64(a), np.float64(b), np.float64(c)))


_COMPARED = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_REVERSED = {"equ": "!=", "neu": "==", "ltu": ">=", "leu": ">", "gtu": "<=", "geu": "<"}
_FLOATS = {
    "add": "{} + {}", "sub": "{} - {}", "mul": "{} * {}", "div": "_divided({}, {})", "sqrt": "_root({})",
    "rcp": "_divided(1.0, {})", "neg": "-{}", "abs": "abs({})", "mov": "{}", "max": "_greater({}, {})",
    "min": "-_greater(-{}, -{})", "ld": "", "st": "",
}  # fmt: skip


def _floats(op: str, how: list[str], kind: str, args: list[str]) -> str:
    if op == "fma":
        return f"{'_fma32' if kind == 'f32' else '_fma64'}({', '.join(args)})"
    if op in ("add", "sub", "mul", "div", "sqrt", "rcp") and "rn" not in how:
        raise KeyError(f"{op} may round as the assembler likes")
    value = _FLOATS[op].format(*args)
    return f"_single({value})" if kind == "f32" and op not in ("mov", "neg", "abs") else value


def _integers(op: str, how: list[str], kind: str, args: list[str]) -> str:
    bits, signed = int(kind[1:]), kind[0] == "s"
    wide = 2 * bits if "wide" in how else bits
    mask = (1 << wide) - 1
    given = [f"_signed({a}, {bits})" if signed else a for a in args]
    shift = f"min({args[1]}, {bits})" if len(args) > 1 else ""
    value = {
        "add": lambda: f"{args[0]} + {args[1]}",
        "sub": lambda: f"{args[0]} - {args[1]}",
        "mul": lambda: f"({given[0]} * {given[1]}) >> {bits}" if "hi" in how else f"{given[0]} * {given[1]}",
        "mad": lambda: f"{given[0]} * {given[1]} + {args[2]}",
        "div": lambda: f"_quotient({given[0]}, {given[1]})",
        "rem": lambda: f"{given[0]} - _quotient({given[0]}, {given[1]}) * ({given[1]})",
        "and": lambda: f"{args[0]} & {args[1]}",
        "or": lambda: f"{args[0]} | {args[1]}",
        "xor": lambda: f"{args[0]} ^ {args[1]}",
        "not": lambda: f"~{args[0]}",
        "neg": lambda: f"-{args[0]}",
        "abs": lambda: f"abs({given[0]})",
        "shl": lambda: f"{args[0]} << {shift}",
        "shr": lambda: f"{given[0]} >> {shift}",
        "min": lambda: f"min({given[0]}, {given[1]})",
        "max": lambda: f"max({given[0]}, {given[1]})",
        "mov": lambda: args[0],
        "cvta": lambda: args[0],
    }[op]()
    return f"({value}) & {mask}"


def _converted(to: str, kind: str, value: str) -> str:
    if kind[0] == "f":
        if to[0] == "f":
            return f"_single({value})" if to == "f32" else value
        return f"_whole({value}, {to[1:]}) & {(1 << int(to[1:])) - 1}"
    bits = int(kind[1:])
    value = f"({value}) & {(1 << bits) - 1}"
    if kind[0] == "s":
        value = f"_signed({value}, {bits})"
    if to[0] == "f":
        return f"_single({value})" if to == "f32" else f"float({value})"
    return f"({value}) & {(1 << int(to[1:])) - 1}"


class _Translator:
    """Python for the instructions of one kernel; registers are numbers in a list R."""

    def __init__(self, places: dict[str, int]) -> None:
        self.places = places
        self.registers: dict[str, int] = {}

    def operand(self, text: str, kind: str) -> str:
        if text in _SPECIAL:
            return _SPECIAL[text]
        if text.startswith("%"):
            return f"R[{self.registers.setdefault(text, len(self.registers))}]"
        if text.startswith(("0d", "0f")):
            (value,) = struct.unpack(">d" if text[1] == "d" else ">f", bytes.fromhex(text[2:]))
            return repr(value) if math.isfinite(value) else f"float('{value}')"
        if text in self.places:
            return str(self.places[text])
        if kind == "pred":
            return str(bool(int(text)))
        return str(int(text) & ((1 << int(kind[1:])) - 1))

    def address(self, text: str) -> str:
        base, _, offset = text.strip("[]").partition("+")
        return f"{self.operand(base, 'u64')} + {int(offset or 0)}"

    def statement(self, opcode: str, args: list[str]) -> str:
        op, *how = opcode.split(".")
        kind = how[-1]
        if op == "st":
            return f"M.store({self.address(args[0])}, K{kind}, {self.operand(args[1], kind)})"
        target = self.operand(args[0], kind)
        if op == "ld":
            if "param" in how:
                return f"{target} = P[{int(args[1].strip('[]').rpartition('_')[2])}]"
            value = f"M.load({self.address(args[1])}, K{kind})"
            # A register is wider than what it may be loaded with, and then takes its sign.
            return f"{target} = {value}" + (f" & {_WIDTHS[args[0].rstrip(_DIGITS)]}" if kind[0] == "s" else "")
        if op == "cvt":
            to, kind = how[-2:]
            return f"{target} = {_converted(to, kind, self.operand(args[1], kind))}"
        if op == "mov" and kind == "b64" and args[0][:3] == "%fd" and args[1][:3] != "%fd":
            return f"{target} = _double({self.operand(args[1], kind)})"
        if op == "mov" and kind == "b64" and args[0][:3] != "%fd" and args[1][:3] == "%fd":
            return f"{target} = _bits({self.operand(args[1], kind)})"
        if op == "mov" and kind == "b32" and (args[0][:2] == "%f") != (args[1][:2] == "%f"):
            return f"{target} = {'_float' if args[0][:2] == '%f' else '_bits32'}({self.operand(args[1], kind)})"
        given = [self.operand(a, kind) for a in args[1:]]
        if op == "setp":
            if kind[0] == "f" and how[0] in _REVERSED:
                return f"{target} = not {given[0]} {_REVERSED[how[0]]} {given[1]}"
            if kind[0] == "f" and how[0] == "ne":
                return f"{target} = {given[0]} < {given[1]} or {given[0]} > {given[1]}"
            if kind[0] == "s":
                given = [f"_signed({a}, {kind[1:]})" for a in given]
            return f"{target} = {given[0]} {_COMPARED[how[0]]} {given[1]}"
        if op == "selp":
            return f"{target} = {given[0]} if {self.operand(args[3], 'pred')} else {given[1]}"
        if kind == "pred":
            sign = {"and": "&", "or": "|", "xor": "^"}
            value = {"not": "not {0}", "mov": "{0}"}.get(op) or f"{{0}} {sign[op]} {{1}}"
            return f"{target} = {value.format(*given)}"
        translate = _floats if kind[0] == "f" else _integers
        return f"{target} = {translate(op, how, kind, given)}"


class _Memory:
    """Arrays at their addresses, and nothing else."""

    def __init__(self, spans: list[tuple[int, int]]) -> None:
        self.spans = sorted(s for s in spans if s[1] > s[0])
        self.starts = [start for start, _ in self.spans]

    def _check(self, address: int, kind: Any) -> None:
        k = bisect_right(self.starts, address) - 1
        if k < 0 or address + kind_size(kind) > self.spans[k][1]:
            raise IndexError(f"an access to {address:#x}, where no array is")

    def load(self, address: int, kind: Any) -> Any:
        self._check(address, kind)
        return kind.from_address(address).value

    def store(self, address: int, kind: Any, value: Any) -> None:
        self._check(address, kind)
        kind.from_address(address).value = value


def kind_size(kind: Any) -> int:
    return int(struct.calcsize(kind._type_))


def _flat(arguments: list[Any]) -> Iterator[float]:
    """Arguments as numba-cuda hands them to a kernel: of an array nobody's counts, sizes, place, shape and strides."""
    for a in arguments:
        if isinstance(a, np.ndarray):
            yield from (0, 0, a.size, a.itemsize, a.ctypes.data, *a.shape, *a.strides)
        elif isinstance(a, tuple):
            yield from _flat(list(a))
        else:
            yield float(a) if isinstance(a, (float, np.floating)) else int(a)


def _functions(body: str, places: dict[str, int]) -> tuple[list[Callable[..., int]], int]:
    """Each basic block as a function that returns the next one's number, or -1 - that behind a barrier; and how many
    registers there are."""
    translator = _Translator(places)
    labels: dict[str, int] = {}
    blocks: list[list[str]] = [[]]
    for line in (text.strip() for text in body.splitlines()):
        if line.endswith(":"):
            blocks.append([])
            labels[line[:-1]] = len(blocks) - 1
        elif line.endswith(";") and not line.startswith("."):
            blocks[-1].append(line[:-1])
            if re.match(r"(@|bra|bar\.sync|ret)", line):
                blocks.append([])
    source = []
    for k, lines in enumerate(blocks):
        source.append(f"def b{k}(R, T, P, M):")
        for line in lines:
            guard, opcode, rest = re.fullmatch(r"(?:@(!?%p\d+)\s+)?(\S+)\s*(.*)", line).groups()  # type: ignore[union-attr]
            indent = "    "
            if guard:
                not_, guard = ("not ", guard[1:]) if guard[0] == "!" else ("", guard)
                source.append(f"    if {not_}{translator.operand(guard, 'pred')}:")
                indent = "        "
            if opcode.startswith("bra"):
                source.append(f"{indent}return {labels[rest]}")
            elif opcode == "bar.sync":
                source.append(f"{indent}return {-1 - (k + 1)}")
            elif opcode == "ret":
                source.append(f"{indent}return {len(blocks)}")
            else:
                source.append(indent + translator.statement(opcode, [a.strip() for a in rest.split(",")]))
        source.append(f"    return {k + 1}")
    names: dict[str, Any] = (
        globals()
        | {f"K{name}": kind for name, kind in _KINDS.items()}
        | {
            "_double": lambda x: struct.unpack("d", struct.pack("Q", x))[0],
            "_bits": lambda x: struct.unpack("Q", struct.pack("d", x))[0],
            "_float": lambda x: struct.unpack("f", struct.pack("I", x))[0],
            "_bits32": lambda x: struct.unpack("I", struct.pack("f", x))[0],
        }
    )
    exec("\n".join(source), names)
    return [names[f"b{k}"] for k in range(len(blocks))], len(translator.registers)


def _thread(functions: list[Callable[..., int]], *state: Any) -> Iterator[None]:
    """Runs one thread, with a stop at each barrier."""
    at = 0
    while at < len(functions):
        at = functions[at](*state)
        if at < 0:
            yield
            at = -1 - at


class _Module:
    """A kernel as functions, and the shared memory that blocks have one after the other."""

    def __init__(self, ptx: str) -> None:
        entry = re.search(r"\.entry[^{]*\{(.*)\n\}", ptx, re.DOTALL)
        assert entry is not None
        sizes = re.findall(r"\.shared .align \d+ \.b8 (\w+)\[(\d+)\]", ptx)
        self.shared = {name: np.full(int(size), 0xFF, np.uint8) for name, size in sizes}
        places = {name: array.ctypes.data for name, array in self.shared.items()}
        self.functions, self.registers = _functions(entry.group(1), places)


_loaded = lru_cache(maxsize=64)(_Module)


def run(ptx: str, blocks: int, threads: int, arguments: list[Any]) -> None:
    """Run the one kernel of a module with these arguments: arrays, in place, and numbers, and tuples of them."""
    module, parameters = _loaded(ptx), list(_flat(arguments))
    arrays = [a for a in (*arguments, *module.shared.values()) if isinstance(a, np.ndarray)]
    memory = _Memory([(a.ctypes.data, a.ctypes.data + a.nbytes) for a in arrays])
    for block in range(blocks):
        running = [
            _thread(module.functions, [None] * module.registers, (t, block, blocks, threads), parameters, memory)
            for t in range(threads)
        ]
        while running:
            # Those that are not done have come to a barrier: all of them, or it is none.
            waiting = [thread for thread in running if next(thread, running) is None]
            assert len(waiting) in (0, len(running)), "a barrier that some threads of a block do not reach"
            running = waiting
