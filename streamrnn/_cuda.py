"""The only place that imports Numba's CUDA target, with the one option on which equal bits rest.

NVVM fuses a product and the sum that takes it into one rounding unless it is told not to, and numba-cuda has no option
for that. `exact` hands it to NVVM: every `*` and `+` becomes `mul.rn` and `add.rn`, which the assembler may not fuse
either. What is to be one rounding is written as `fma`, as on the CPU. `inexact` looks at what was compiled, so that a
numba-cuda in which `exact` has no effect is found out. Nothing that runs on a CPU imports this module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import Any

from numba import config
from numba import cuda as _target

__all__ = [
    "SIMULATED",
    "assembly",
    "block_function",
    "cuda",
    "dissolved",
    "exact",
    "inexact",
    "launched",
    "machine_code",
]

SIMULATED = bool(config.ENABLE_CUDASIM)
"""Whether kernels run in Numba's simulator: on the CPU, each thread of a block a thread of Python."""


class _Simulator:
    """Numba's CUDA target, and inside of a kernel what the simulator puts in its place.

    The simulator changes the global `cuda` of a function's module for as long as a thread is in that function, and the
    first thread that leaves takes it from those that are still inside.
    """

    def __init__(self) -> None:
        from numba.cuda.simulator import kernel  # noqa: PLC0415 - there only where kernels are simulated

        self._kernel = kernel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel._kernel_context or _target, name)


cuda: Any = _Simulator() if SIMULATED else _target

# Else a launch of few blocks warns, once for each number of them: few streams are what a live feed often has.
_settings: Any = config
if not SIMULATED:
    with suppress(ImportError):  # numba-cuda's own, where that is what provides the target
        from numba.cuda.core import config as _settings
_settings.CUDA_LOW_OCCUPANCY_WARNINGS = 0

_INEXACT = re.compile(
    r"\b(?:add|sub|mul|mad)\.f(?:32|64)\b"  # without .rn, which the assembler may fuse
    r"|\b[a-z][\w.]*\.(?:ftz|approx|full|rz|rm|rp|sat)\.f(?:32|64)\b"
    r"|\b(?:sin|cos|ex2|lg2|tanh|rsqrt)\.[\w.]+"
)


@contextmanager
def exact() -> Iterator[None]:
    """Let NVVM compile what is compiled inside without fusing products and sums.

    A function that is called by two ways comes as two equal modules, whose places in shared memory clash: each once.
    """
    if SIMULATED:
        yield
        return
    from numba.cuda.cudadrv import nvvm  # noqa: PLC0415 - the simulator has none

    compile_ir = nvvm.compile_ir

    def compiled(llvmir: str | list[str], **options: Any) -> Any:
        return compile_ir(llvmir if isinstance(llvmir, str) else list(dict.fromkeys(llvmir)), **options, fma=False)

    nvvm.compile_ir = compiled
    try:
        yield
    finally:
        nvvm.compile_ir = compile_ir


def inexact(ptx: str) -> list[str]:
    """The instructions of a kernel that could round otherwise than the CPU does, by name; empty where all is well."""
    return sorted({match.group(0) for match in _INEXACT.finditer(ptx)})


def block_function(function: Callable[..., Any]) -> Any:
    """The decorator of what the threads of a block run together; it becomes a part of its callers."""
    return cuda.jit(device=True)(function) if SIMULATED else cuda.jit(device=True, forceinline=True)(function)


def dissolved(function: Callable[..., Any]) -> Any:
    """The decorator of helpers that return arrays, which functions of a kernel may not: their lines become its own."""
    return cuda.jit(device=True)(function) if SIMULATED else cuda.jit(device=True, inline="always")(function)


def _python(function: Any) -> Callable[..., None]:
    """The Python function that a `block_function` was made of."""
    return function.fn if SIMULATED else function.py_func


def launched(function: Any, bounds: tuple[int, int]) -> Any:
    """A kernel of its own made of a `block_function`; launch it inside `exact`, which is where it is compiled.

    `bounds`: threads of a block, and blocks that are to fit a multiprocessor.
    """
    return cuda.jit(_python(function)) if SIMULATED else cuda.jit(_python(function), launch_bounds=bounds)


def machine_code(kernel: Any) -> str:
    """The PTX of what a launched kernel was compiled to; empty in the simulator."""
    return "" if SIMULATED else "\n".join(kernel.inspect_asm().values())


def assembly(function: Any, signature: tuple[Any, ...], capability: tuple[int, int], bounds: tuple[int, int]) -> str:
    """The PTX of a `block_function` as a kernel, compiled exactly, for a GPU that need not be there."""
    from numba.cuda import dispatcher  # noqa: PLC0415 - the simulator has none

    # What a kernel calls is compiled for the GPU that is found; here there may be none.
    found = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability)
    try:
        with exact():
            python = _python(function)
            ptx, _ = cuda.compile(python, signature, device=False, abi="numba", cc=capability, launch_bounds=bounds)
            return str(ptx)
    finally:
        dispatcher.get_current_device = found
