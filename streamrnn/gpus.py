"""What GPUs there are, and whether an engine can run on one: asked of the driver's own library, without a compiler.

Numba's CUDA target is not imported for that: a machine without a GPU pays nothing for the question, and a refusal can
name each thing that was looked for and what was found of it. The functions of the driver are those of the CUDA Driver
API reference, sections Initialization, Version, Device and Context Management.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal

from .errors import ConfigError, DeviceError

__all__ = ["DEVICES", "LIBRARY", "Device", "Found", "Gpu", "choose", "look"]

Device = Literal["cpu", "cuda", "auto"]
DEVICES: tuple[Device, ...] = ("cpu", "cuda", "auto")

LIBRARY = "libcuda.so.1"
"""What NVIDIA's driver installs, and no toolkit."""

DRIVER = (13, 0)
"""The CUDA version that the pinned compilers are of; older drivers do not load what they make."""

CAPABILITY = (7, 5)
"""The oldest GPUs that those compilers know."""

PACKAGES = ("numba-cuda", "nvidia-nvvm", "nvidia-nvjitlink")
"""What the extra `cuda` installs to compile and link; a toolkit of the system may stand in for all but the first."""

# Numbers of the driver's interface.
_MAJOR, _MINOR, _MULTIPROCESSORS = 75, 76, 16
_NO_DEVICE = 100


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU: its number, its name, its compute capability, multiprocessors, and its memory in bytes.

    `free` is what other programs leave of the memory, None where nobody asked or the driver did not say.
    """

    number: int
    name: str
    capability: tuple[int, int]
    multiprocessors: int
    memory: int
    free: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What was looked for: versions by package (None: not installed), whether the driver's library is there, the CUDA
    version of the driver, what it said instead of answering, the GPUs, and whether Numba's simulator stands in."""

    packages: dict[str, str | None]
    library: bool
    driver: tuple[int, int] | None
    trouble: str | None
    gpus: tuple[Gpu, ...]
    simulated: bool = False

    @property
    def refusal(self) -> str | None:
        """Why no engine can run on a GPU here, the remedy, and all that was looked for; None where one can.

        Numba's simulator counts as a GPU.
        """
        why = None if self.simulated else self._why()
        return None if why is None else f"{why}; looked for {self.list()}"

    def _why(self) -> str | None:
        if self.packages.get("numba-cuda") is None:
            return "numba-cuda is not installed: pip install 'streamrnn[cuda]'"
        if not self.library:
            return f"{LIBRARY} was not found: install NVIDIA's driver, or use device 'cpu'"
        if self.driver is not None and self.driver < DRIVER:
            return f"the driver is for CUDA {_dotted(self.driver)}: install one for {_dotted(DRIVER)} or newer"
        if self.trouble is not None:
            return f"the driver does not answer ({self.trouble}): mend it, or use device 'cpu'"
        if not self.gpus:
            return "the driver knows no GPU: look at CUDA_VISIBLE_DEVICES, or use device 'cpu'"
        if self.gpus[0].capability < CAPABILITY:
            has, least = _dotted(self.gpus[0].capability), _dotted(CAPABILITY)
            return f"GPU 0 has compute capability {has}: take one of {least} or newer, by CUDA_VISIBLE_DEVICES"
        return None

    def list(self) -> str:
        """Each thing that was looked for and, in parentheses, what was found of it."""
        packages = [f"{name} ({version or 'not installed'})" for name, version in self.packages.items()]
        driver = "none" if self.driver is None else _dotted(self.driver)
        gpus = ", ".join(f"{g.name}: {_dotted(g.capability)}" for g in self.gpus) or self.trouble or "none"
        return ", ".join(
            [
                *packages,
                f"{LIBRARY} ({'found' if self.library else 'not found'})",
                f"a driver for CUDA {_dotted(DRIVER)} or newer ({driver})",
                f"a GPU of compute capability {_dotted(CAPABILITY)} or newer ({gpus})",
            ]
        )


def look(load: Callable[[str], Any] = ctypes.CDLL, free: bool = False) -> Found:
    """Look for all that an engine on a GPU needs; never raises.

    `load` opens a shared library by its name, or raises OSError. With `free`, each GPU is asked what is left of its
    memory, for which the driver makes a context on it and lets it go: a fraction of a second.
    """
    packages = {name: _installed(name) for name in PACKAGES}
    simulated = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")
    try:
        driver = _Driver(load(LIBRARY))
    except OSError:
        return Found(packages, False, None, None, (), simulated)
    version: tuple[int, int] | None = None
    try:
        version = driver.version()
        return Found(packages, True, version, None, driver.gpus(free), simulated)
    except (_DriverError, AttributeError) as error:  # a library without one of the functions is not the driver's
        return Found(packages, True, version, str(error), (), simulated)


def choose(device: str, found: Found | None = None) -> tuple[Literal["cpu", "cuda"], str | None]:
    """The device that `device` ("cpu", "cuda" or "auto") means here, and why "auto" does not mean the GPU.

    Raises ConfigError for another name, and DeviceError where "cuda" cannot be had. Numba's simulator is taken where
    it was asked for by "cuda", never by "auto", as it is slow.

    >>> choose("cpu")
    ('cpu', None)
    """
    if device not in DEVICES:
        raise ConfigError(f"device is {device!r:.60}; it must be one of {', '.join(map(repr, DEVICES))}")
    if device == "cpu":
        return "cpu", None
    found = look() if found is None else found
    why = found.refusal
    if device == "cuda":
        if why is not None:
            raise DeviceError(f"device is 'cuda', but {why}")
        return "cuda", None
    if found.simulated:
        why = "NUMBA_ENABLE_CUDASIM is set, and a simulator is no GPU"
    return ("cuda", None) if why is None else ("cpu", why)


class _DriverError(Exception):
    """What the driver returned instead of success, in its own words."""


class _Driver:
    """The driver's functions that count and describe devices."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def _call(self, name: str, *args: Any) -> None:
        code = getattr(self._library, name)(*args)
        if code:
            raise _DriverError(f"{name} returned {code}{self._words(code)}")

    def _words(self, code: int) -> str:
        text = ctypes.c_char_p()
        if self._library.cuGetErrorString(code, ctypes.byref(text)) or not text.value:
            return ""
        return f", {text.value.decode(errors='replace')}"

    def version(self) -> tuple[int, int]:
        """The CUDA version that the driver is for."""
        number = self._int("cuDriverGetVersion")
        return number // 1000, number % 1000 // 10

    def gpus(self, free: bool) -> tuple[Gpu, ...]:
        """All GPUs, in the order of their numbers; _DriverError where the driver does not start."""
        code = self._library.cuInit(0)
        if code == _NO_DEVICE:
            return ()
        if code:
            raise _DriverError(f"cuInit returned {code}{self._words(code)}")
        return tuple(self._gpu(k, free) for k in range(self._int("cuDeviceGetCount")))

    def _int(self, name: str, *args: Any) -> int:
        out = ctypes.c_int()
        self._call(name, ctypes.byref(out), *args)
        return out.value

    def _gpu(self, number: int, free: bool) -> Gpu:
        device = self._int("cuDeviceGet", number)
        name = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", name, len(name), device)
        memory = ctypes.c_size_t()
        self._call("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
        major, minor, many = (
            self._int("cuDeviceGetAttribute", what, device) for what in (_MAJOR, _MINOR, _MULTIPROCESSORS)
        )
        left = self._free(device) if free else None
        return Gpu(number, name.value.decode(errors="replace"), (major, minor), many, memory.value, left)

    def _free(self, device: int) -> int | None:
        """Bytes that are left of a GPU's memory beside a context; None where it takes no context."""
        context, left, whole = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
        try:
            self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        except _DriverError:
            return None
        try:
            self._call("cuCtxPushCurrent_v2", context)
            try:
                self._call("cuMemGetInfo_v2", ctypes.byref(left), ctypes.byref(whole))
            finally:
                self._call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))
        except _DriverError:
            return None
        finally:
            self._library.cuDevicePrimaryCtxRelease_v2(device)
        return left.value


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _dotted(version: tuple[int, int]) -> str:
    return "{}.{}".format(*version)
