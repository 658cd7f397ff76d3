"""A GPU that is none: engines take it for one, and their kernels run as PTX, an instruction at a time.

    with gpu():
        engine = Engine(model, device="cuda")

All that an engine has on a GPU is there: one memory, copies to it and back, and launches. Memory begins with all bits
set, so that whoever reads what nobody wrote reads NaN.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numba
import numpy as np
from ptx import run

from streamrnn._cuda import assembly
from streamrnn.engine import core
from streamrnn.engine.cuda import device

__all__ = ["gpu"]

CAPABILITY = (9, 0)


class _Array(np.ndarray):
    """Memory of the GPU's, with the copies that numba-cuda's arrays know."""

    def copy_to_device(self, host: Any, stream: Any = None) -> None:
        self[...] = host

    def copy_to_host(self, host: Any, stream: Any = None) -> None:
        host[...] = self


@cache
def _compiled(function: Any, types: tuple[Any, ...], bounds: tuple[int, int]) -> str:
    return assembly(function, types, CAPABILITY, bounds)


class _Kernel:
    """What `cuda.jit` makes of a function, as far as an engine knows it."""

    def __init__(self, function: Any, bounds: tuple[int, int], ptx: str = "") -> None:
        self.function, self.bounds, self.ptx = function, bounds, ptx
        self.shape = 0, 0

    def specialize(self, *args: Any) -> _Kernel:
        types = tuple(numba.typeof(a.view(np.ndarray) if isinstance(a, np.ndarray) else a) for a in args)
        return _Kernel(self.function, self.bounds, _compiled(self.function, types, self.bounds))

    def __getitem__(self, configuration: tuple[Any, ...]) -> _Kernel:
        self.shape = configuration[:2]
        return self

    def __call__(self, *args: Any) -> None:
        run(self.ptx, *self.shape, list(args))


_CUDA = SimpleNamespace(
    device_array=lambda n, dtype: np.full(n, 0xFF, np.uint8).view(dtype).view(_Array),
    pinned_array=np.zeros,
    stream=lambda: SimpleNamespace(synchronize=lambda: None),
    event=lambda: SimpleNamespace(wait=lambda stream: None, record=lambda stream: None),
    get_current_device=lambda: SimpleNamespace(MULTIPROCESSOR_COUNT=1),
)


@contextmanager
def gpu() -> Iterator[None]:
    """Let device "cuda" be this one."""
    device._kernel.cache_clear()
    with (
        mock.patch.multiple(
            device, cuda=_CUDA, launched=_Kernel, exact=nullcontext, machine_code=lambda kernel: kernel.ptx
        ),
        mock.patch.object(core, "choose", lambda name: ("cpu" if name == "cpu" else "cuda", None)),
    ):
        try:
            yield
        finally:
            device._kernel.cache_clear()
