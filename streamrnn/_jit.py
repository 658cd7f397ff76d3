"""The only place with Numba flags, and with the rules of its cache.

`error_model="numpy"` keeps loops with a division free of the zero check that stops them from vectorising.
There is no `fastmath`, ever: it would let two compilations of one sum differ, and equal bits are a promise
(docs/design.md). `nogil` lets other threads run while a burst is stepped. `_nrt=False` leaves numba's runtime out:
a kernel that allocates does not compile, and array arguments are not reference-counted, which on a small kernel
costs several times its arithmetic (the detector: 250 ns with, 60 without).

Compiled code is cached on disk, which makes the second start fast. Numba notices when a function's own file changes,
but not when a function that it calls does; so the cache's folder carries a digest of all our compiled sources, and a
change to any of them starts a new folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from llvmlite import ir
from numba import cfunc, config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["FLAGS", "Entry", "allocating", "apart", "cache_dir", "call_at", "fused", "inlined", "kernel"]

FLAGS = {"error_model": "numpy", "fastmath": False, "nogil": True}

_PACKAGE = Path(__file__).parent
# Where compiled functions and their constants live.
_COMPILED = ("_jit.py", "burst.py", "frames.py", "ids.py", "kernels", "engine", "wire", "transport")
_KEEP = 4  # folders of earlier sources that stay, for switching back and forth


def _digest() -> str:
    found = hashlib.sha256()
    for part in _COMPILED:
        path = _PACKAGE / part
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            found.update(file.relative_to(_PACKAGE).as_posix().encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:16]


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _prune(base: Path, keep: Path) -> None:
    """Remove the oldest folders of other sources."""
    others = [p for p in base.glob("streamrnn-*") if p != keep and p.is_dir()]
    for old in sorted(others, key=lambda p: p.stat().st_mtime)[: -_KEEP or None]:
        shutil.rmtree(old, ignore_errors=True)


@lru_cache(maxsize=1)
def cache_dir() -> Path | None:
    """Where compiled code is kept: under NUMBA_CACHE_DIR if set, else beside the package, else in the user's cache.

    None, with a warning, where none of them can be written: then every start compiles.
    """
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    name = f"streamrnn-{_digest()}"
    for base in [Path(chosen)] if chosen else [_PACKAGE / "__pycache__", user / "streamrnn"]:
        folder = base / name
        if _writable(folder):
            _prune(base, folder)
            return folder
    warnings.warn(
        "no folder for compiled code can be written, so every start takes the time of a first start; "
        "set NUMBA_CACHE_DIR to a writable folder",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def _cached(make: Callable[[bool], Any]) -> Any:
    """What `make(cache)` compiles, with its cache in our folder."""
    folder = cache_dir()
    before = config.CACHE_DIR
    config.CACHE_DIR = str(folder or "")
    try:
        return make(folder is not None)
    finally:
        config.CACHE_DIR = before


def _compiled(function: Callable, **options: object) -> Callable:
    return _cached(lambda cache: njit(**FLAGS, cache=cache, **options)(function))


def kernel(function: Callable) -> Callable:
    """The decorator of every compiled function that allocates nothing, which is all of the data path.

    Without Numba's runtime, a view of an array costs no atomic reference count: a step takes dozens of views. What a
    fused kernel calls is fused too: Numba's option passes from caller to callee. That is wanted here; as functions of
    their own, the cells of a single LSTM-16 took 127 ns instead of 76.
    """
    return _compiled(function, _nrt=False)


def fused(function: Callable) -> Callable:
    """The decorator of a kernel that always becomes a part of its one caller.

    A call passes every array as half a dozen numbers. With three dozen arrays that takes as long as a small step.
    """
    return _compiled(function, _nrt=False, forceinline=True)


@intrinsic
def apart(typingctx):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Called in a kernel, keeps that kernel from becoming a part of its callers: for what rarely runs.

    LLVM would put it in line where it is called once, and then crowd the registers of what always runs.
    """

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]  # noqa: ARG001
        # A kernel that a fused one calls inherits `alwaysinline`.
        builder.function.attributes.discard("alwaysinline")
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), codegen


def inlined(function: Callable) -> Callable:
    """The decorator of helpers that return a view: they dissolve into their caller, as a kernel may not return one."""
    return _compiled(function, _nrt=False, inline="always")


def allocating(function: Callable) -> Callable:
    """The decorator of compiled functions off the data path that make arrays."""
    return _compiled(function)


class Entry:
    """The decorator of a large kernel that other compiled code calls by its address, with integers and for one.

    Numba compiles what a function calls once more with every caller. Behind an address it is compiled once, when
    `address` is first asked for; callers take the address as data (`call_at`), so that they can be cached.
    """

    def __init__(self, function: Callable) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    @cached_property
    def _compiled(self) -> Any:
        n = self._function.__code__.co_argcount
        signature = types.int64(*[types.int64] * n)
        return _cached(lambda cache: cfunc(signature, cache=cache, _nrt=False, **FLAGS)(self._function))

    @property
    def address(self) -> int:
        return int(self._compiled.address)


@intrinsic
def call_at(typingctx, address, arguments):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """The int64 that the C function at an address returns for a tuple of integers.

    Integers travel in registers of 64 bits, of which a C function that takes an `int` reads the half that it needs: so
    on all calling conventions of 64 bits. A C `int` comes back as its lower half; see `c_int`.
    """

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        i64 = ir.IntType(64)
        values = [
            context.cast(builder, value, kind, types.int64)
            for value, kind in zip(cgutils.unpack_tuple(builder, args[1]), signature.args[1].types, strict=True)
        ]
        function = ir.FunctionType(i64, [i64] * len(values)).as_pointer()
        return builder.call(builder.inttoptr(args[0], function), values)

    return types.int64(types.int64, arguments), codegen
