"""A GPU as the engine sees it: rows of slots in its memory, bursts that it steps, and what happens when it fails.

A wave is packed into page-locked memory, copied, stepped by one launch, and copied back, all of it asynchronously on a
stream of its own; there are two of each, used in turn, so that one wave travels while another is computed. Launches
follow each other, whichever stream they are on. Nothing is allocated for a burst, except that scratch grows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn._cuda import SIMULATED, cuda, exact, inexact, launched, machine_code
from streamrnn.errors import DeviceError, DeviceFull
from streamrnn.kernels.cuda import product

from ..program import Program, Sizes, Slab, Work
from .advance import Traits, advance_of
from .memory import TILE, Lot, Part, Places, class_of, packet
from .sample import scratch
from .waves import Down, Up, cut, load, store

__all__ = ["WAVE", "Device"]

WAVE = 8192
"""The most streams of a launch. More are cut: so many keep every multiprocessor busy, and fewer travel sooner."""

_PROGRAM = "layers", "weights", "settings", "learning"
"""The parts of the memory that are a Program's arrays, but its sizes."""
_MOST_TICKETS = 2**31 - 1
_REMEDY = "its streams are lost: make a new engine, or use device 'cpu'"

assert TILE == product.TILE


@cache
def _kernel(traits: Traits) -> Any:
    """The step of models of these traits as a kernel, compiled for what it is launched with first."""
    return launched(advance_of(traits), product.LAUNCH)


def _numbers(program: Program) -> list[npt.NDArray[Any]]:
    """A program's arrays but its sizes, which go with every launch."""
    return [getattr(program, name) for name in Program._fields[1:]]


def _named(slab: Slab) -> list[tuple[str, npt.NDArray[Any]]]:
    """A slab's arrays with their names, which are those of parts of the memory."""
    return [(name, getattr(slab, name)) for name in Slab._fields]


def _at_once() -> int:
    """Blocks that run side by side: all that the multiprocessors hold; in the simulator two, which take turns."""
    return 2 if SIMULATED else int(cuda.get_current_device().MULTIPROCESSOR_COUNT) * product.LAUNCH[1]


class _Packet:
    """One size of a lane's packet: its parts on the host, and the stretches that are copied, the GPU's side first."""

    def __init__(self, m: int, n_in: int, n_out: int, host: npt.NDArray[np.uint8], memory: Any, base: int) -> None:
        down, up = packet(m, n_in, n_out)
        self.rows = m
        self.down = Down(*(down.parts[name].of(host) for name in Down._fields))
        self.up = Up(*(up.parts[name].of(host) for name in Up._fields))
        self.downwards = memory[base + down.start : base + down.stop], host[down.start : down.stop]
        self.upwards = memory[base + up.start : base + up.stop], host[up.start : up.stop]


class _Lane:
    """A stream of the GPU's with room for packets on both sides; `under_way` is the first and last row of a wave, its
    packet, and its ticket."""

    def __init__(self, base: int, most: int, n_in: int, n_out: int, memory: Any) -> None:
        self.base = base
        self.stream, self.stepped = cuda.stream(), cuda.event()
        self.under_way: tuple[int, int, _Packet, int] | None = None
        host = cuda.pinned_array(packet(most, n_in, n_out)[1].stop, np.uint8)
        host[:] = 0
        sizes = {1 << k for k in range(most.bit_length()) if TILE <= 1 << k <= most}
        self._packets = {m: _Packet(m, n_in, n_out, host, memory, base) for m in sizes}

    def packet(self, n: int) -> _Packet:
        """The packet in which n streams travel. All sizes stand in the same place."""
        return self._packets[class_of(n)]


class Device:
    """The rows of `capacity` slots on a GPU. After any error it refuses every call, as nobody knows what they hold.

    `blank` is a slab of one slot, cleared; `work` the scratch that the CPU would take. Raises DeviceError.
    """

    def __init__(self, program: Program, blank: Slab, work: Work, capacity: int) -> None:
        self.failed: str | None = None
        self._blank_row = blank
        self._blank = np.ones(capacity, np.uint8)
        self._order, self._ranks, self._ends = (np.zeros(0, np.int64) for _ in range(3))
        sizes = Sizes(*program.sizes.tolist())
        self._most = min(WAVE, class_of(capacity))
        with self._guarded("the GPU does not answer", "ask nvidia-smi why, or use device 'cpu'"):
            self._blocks = min(self._most // TILE, _at_once())
        lot, packets = self._plan(sizes, program, blank, work, capacity)
        self._parts = {name: lot.parts[name] for name in Slab._fields}
        self.nbytes = lot.stop
        what = f"the GPU cannot take {lot.stop / 1e6:,.0f} MB for {capacity:,} streams"
        with self._guarded(what, "lower capacity", may_be_full=True):
            self._memory = cuda.device_array(lot.stop, np.uint8)
            self._upload(lot, program, blank)
            seen_as = [self._memory.view(kind) for kind in (np.float32, np.float64, np.int64, np.int32, np.int8)]
            self._lanes = [_Lane(base, self._most, sizes.n_in, sizes.n_out, self._memory) for base in packets]
        told = {"capacity": capacity, "wave": self._most, "held": self._blocks * TILE}
        places = Places.of(lot.parts, **told, depth=len(program.layers), n_weights=len(program.weights))
        self._arguments = (*seen_as, sizes, places)
        self._last, self._ticket = self._lanes[0], 0
        with self._guarded("the kernel of the step cannot be used"):
            self._kernel = self._compiled(Traits.of(program))

    def _plan(self, sizes: Sizes, program: Program, blank: Slab, work: Work, capacity: int) -> tuple[Lot, list[int]]:
        """Where everything goes, and where the lanes' packets begin."""
        held = self._blocks * TILE
        lot = Lot(0)
        for name, array in zip(_PROGRAM, _numbers(program), strict=True):
            lot.place(name, array.dtype, *array.shape)
        for name in ("state", "adapt", "detector"):
            lot.place(f"blank_{name}", getattr(blank, name).dtype, getattr(blank, name).shape[1])
        lot.place("rows", np.int64, self._most)
        lot.place("u", np.float32, self._most, work.u.shape[1])
        lot.place("z", np.float32, held, work.z.shape[1])
        lot.place("filled", np.float32, self._most, sizes.n_in)
        for name, width in zip(("phi", "gain"), scratch(sizes.features, sizes.n_out), strict=True):
            lot.place(name, np.float64, held, width)
        bases = []
        for k in range(2):
            bases.append(lot.stop)
            lot.place(f"packet {k}", np.uint8, packet(self._most, sizes.n_in, sizes.n_out)[1].stop)
        for name, array in _named(blank):
            lot.place(name, array.dtype, capacity, *array.shape[1:])
        return lot, bases

    def _upload(self, lot: Lot, program: Program, blank: Slab) -> None:
        """What never changes: the program, the blank row, and the numbers of rows."""
        stop = lot.parts["u"].at
        host = np.zeros(stop, np.uint8)
        for name, array in zip(_PROGRAM, _numbers(program), strict=True):
            lot.parts[name].of(host)[...] = array
        for name in ("state", "adapt", "detector"):
            lot.parts[f"blank_{name}"].of(host)[:] = getattr(blank, name)[0]
        lot.parts["rows"].of(host)[:] = np.arange(self._most)
        self._memory[:stop].copy_to_device(host)

    def _compiled(self, traits: Traits) -> Any:
        """The step as a kernel for these arguments, which has been looked at, and launched once, for no stream."""
        lane = self._lanes[0]
        with exact():
            kernel = _kernel(traits).specialize(*self._arguments, lane.base, TILE, 0, 0)
            wrong = inexact(machine_code(kernel))
        if wrong:
            raise RuntimeError(f"compiled with {', '.join(wrong)}, it could round otherwise than the CPU")
        kernel[1, product.THREADS, lane.stream](*self._arguments, lane.base, TILE, 0, 0)
        lane.stream.synchronize()
        return kernel

    @contextmanager
    def _guarded(
        self, what: str = "the GPU failed", remedy: str = _REMEDY, may_be_full: bool = False
    ) -> Iterator[None]:
        """Let any error inside be the last: the memory's contents are not known after it."""
        self.check()
        try:
            yield
        except BaseException as error:
            said = " ".join(str(error).split()) or "no more is known"
            self.failed = f"{what} ({type(error).__name__}: {said}); {remedy}"
            if isinstance(error, Exception):
                full = may_be_full and "OUT_OF_MEMORY" in said
                raise (DeviceFull if full else DeviceError)(self.failed) from error
            raise

    def check(self) -> None:
        """Raise DeviceError where the GPU has failed before."""
        if self.failed is not None:
            raise DeviceError(self.failed)

    # Rows

    def _stretch(self, name: str, slot: int) -> Any:
        """A slot's row of a part of the slab, in the GPU's memory."""
        part: Part = self._parts[name]
        width = (part.stop - part.at) // part.shape[0]
        return self._memory[part.at + slot * width : part.at + (slot + 1) * width]

    def clear(self, slot: int) -> None:
        """Let a slot be that of a stream that has seen nothing: the launch that steps it next will clear its row."""
        self.check()
        self._blank[slot] = 1

    def row(self, slot: int) -> Slab:
        """A copy of a slot's row: a slab of one slot."""
        with self._guarded():
            row = Slab._make(array.copy() for array in self._blank_row)
            if not self._blank[slot]:
                for name, array in _named(row):
                    if array.size:
                        self._stretch(name, slot).copy_to_host(array.reshape(-1).view(np.uint8))
            return row

    def put(self, slot: int, row: Slab) -> None:
        """Write a slot's row, from a slab of one slot."""
        with self._guarded():
            for name, array in _named(row):
                if array.size:
                    self._stretch(name, slot).copy_to_device(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
            self._blank[slot] = 0

    # Steps

    def step(self, frame: npt.NDArray[np.int64], start: int, stop: int) -> None:
        """Step the frame's rows from `start` to `stop`, which are admitted, and write their answers.

        Raises DeviceError, and then no answer of theirs may be used.
        """
        with self._guarded():
            n = stop - start
            if n > len(self._order):
                self._order, self._ranks, self._ends = (np.zeros(2 * n + 2, np.int64) for _ in range(3))
            waves = cut(frame, start, stop, self._order, self._ranks, self._ends)
            turn = 0
            for begin, end in pairwise(self._ends[: waves + 1].tolist()):
                for first in range(begin, end, self._most):
                    lane = self._lanes[turn]
                    self._finish(lane, frame)
                    self._begin(lane, frame, first, min(first + self._most, end))
                    turn ^= 1
            self._finish(self._lanes[turn], frame)
            self._finish(self._lanes[turn ^ 1], frame)

    def _begin(self, lane: _Lane, frame: npt.NDArray[np.int64], first: int, last: int) -> None:
        """Send a wave on its way."""
        n = last - first
        self._ticket = self._ticket % _MOST_TICKETS + 1
        found = lane.packet(n)
        load(frame, self._order, first, last, self._blank, found.down)
        memory, host = found.downwards
        memory.copy_to_device(host, stream=lane.stream)
        # Scratch is one for both lanes, and a stream may be in both waves.
        self._last.stepped.wait(lane.stream)
        blocks = min(self._blocks, -(-n // TILE))
        place = lane.base, found.rows, n, self._ticket
        self._kernel[blocks, product.THREADS, lane.stream](*self._arguments, *place)
        lane.stepped.record(lane.stream)
        self._last = lane
        memory, host = found.upwards
        memory.copy_to_host(host, stream=lane.stream)
        lane.under_way = first, last, found, self._ticket

    def _finish(self, lane: _Lane, frame: npt.NDArray[np.int64]) -> None:
        """Wait for a lane's wave, if there is one, and write down its answers."""
        if lane.under_way is None:
            return
        first, last, found, ticket = lane.under_way
        lane.stream.synchronize()
        if not store(frame, self._order, first, last, found.up, ticket, TILE):
            raise RuntimeError(f"a wave of {last - first} streams came back without having been stepped")
        lane.under_way = None
