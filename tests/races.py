"""Finds data races of CUDA kernels in Numba's simulator: every access to shared and global memory is written down.

A race is two accesses to one address, at least one of them a write, by two threads of a block with no barrier between
them, or by two blocks of a grid at any time. A barrier that some thread of a block does not reach is found as well.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
from numba.cuda.simulator import kernel, kernelapi
from numba.cuda.simulator.cudadrv import devicearray
from numba.np import numpy_support

from streamrnn.kernels.cuda import rows


class Watch:
    """What was touched: `races` names each address at which something was wrong, with who was there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._epochs: dict[tuple[int, int], int] = {}
        self._touched: dict[tuple[int, int, int], tuple[set[int], set[int]]] = {}
        self._blocks: dict[int, tuple[set[int], set[int]]] = {}
        self.accesses = 0

    def barrier(self, thread: Any) -> None:
        at = thread.blockIdx.x, thread.thread_id
        with self._lock:
            self._epochs[at] = self._epochs.get(at, 0) + 1

    def touch(self, array: np.ndarray, index: Any, write: bool, shared: bool) -> None:
        thread = threading.current_thread()
        index = index if isinstance(index, tuple) else (index,)
        if not isinstance(thread, kernel.BlockThread):
            return
        if len(index) < array.ndim or any(isinstance(i, slice) for i in index):
            return  # a view, whose elements are watched when they are touched
        offset = sum(int(i) * stride for i, stride in zip(index, array.strides, strict=True))
        address = array.__array_interface__["data"][0] + offset
        block, who = thread.blockIdx.x, thread.thread_id
        with self._lock:
            self.accesses += 1
            key = block, self._epochs.setdefault((block, who), 0), address
            self._touched.setdefault(key, (set(), set()))[write].add(who)
            if not shared:
                self._blocks.setdefault(address, (set(), set()))[write].add(block)

    @property
    def races(self) -> list[str]:
        def clash(readers: set[int], writers: set[int]) -> bool:
            return bool(writers) and len(readers | writers) > 1

        found = [
            f"block {block}, after {epoch} barriers, {address:#x}: read by threads {sorted(r)}, written by {sorted(w)}"
            for (block, epoch, address), (r, w) in self._touched.items()
            if clash(r, w)
        ]
        found += [
            f"{address:#x}: read by blocks {sorted(r)}, written by {sorted(w)}"
            for address, (r, w) in self._blocks.items()
            if clash(r, w)
        ]
        for block in {b for b, _ in self._epochs}:
            counts = {n for (b, _), n in self._epochs.items() if b == block}
            if len(counts) > 1:
                found.append(f"block {block}: threads passed {sorted(counts)} barriers")
        return found


class _Watched:
    """A shared array whose elements are watched."""

    def __init__(self, array: np.ndarray, watch: Watch) -> None:
        self._array, self._watch = array, watch
        self.shape, self.ndim = array.shape, array.ndim

    def __getitem__(self, index: Any) -> Any:
        self._watch.touch(self._array, index, write=False, shared=True)
        return self._array[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._watch.touch(self._array, index, write=True, shared=True)
        self._array[index] = value


@contextmanager
def watched() -> Iterator[Watch]:
    """Launches inside are watched."""
    watch = Watch()
    wait = kernel.BlockThread.syncthreads
    get, put = devicearray.FakeCUDAArray.__getitem__, devicearray.FakeCUDAArray.__setitem__

    def shared(self: Any, shape: Any, dtype: Any) -> _Watched:
        # As in the simulator, one array of a block for each line that asks for one.
        caller = sys._getframe(1)
        place = caller.f_code.co_filename, caller.f_lineno
        return _Watched(self._allocations.setdefault(place, np.zeros(shape, numpy_support.as_dtype(dtype))), watch)

    def syncthreads(self: Any) -> None:
        watch.barrier(self)
        wait(self)

    def getitem(self: Any, index: Any) -> Any:
        watch.touch(self._ary, index, write=False, shared=False)
        return get(self, index)

    def touched(array: np.ndarray) -> None:
        for index in np.ndindex(array.shape):
            watch.touch(array, index, write=True, shared=False)

    def setitem(self: Any, index: Any, value: Any) -> None:
        watch.touch(self._ary, index, write=True, shared=False)
        put(self, index, value)

    with (
        mock.patch.object(kernelapi.FakeCUDAShared, "array", shared),
        mock.patch.object(kernel.BlockThread, "syncthreads", syncthreads),
        mock.patch.object(devicearray.FakeCUDAArray, "__getitem__", getitem),
        mock.patch.object(devicearray.FakeCUDAArray, "__setitem__", setitem),
        mock.patch.object(rows, "touch", touched),
    ):
        yield watch
