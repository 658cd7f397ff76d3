"""The functions shared with the CPU, which are one source for both targets, and single operations as functions.

In a kernel they are compiled for the GPU. In the simulator they are the CPU's compiled functions, called with numbers:
`shared` makes their results float32 again, as Numba hands Python a float, and takes nothing but float32, so that a
kernel which drifts into double precision is found out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from streamrnn._cuda import SIMULATED
from streamrnn._jit import kernel
from streamrnn.kernels import gru, lstm, numerics, spread, vector

__all__ = [
    "LIMIT",
    "bounded",
    "cell",
    "exp32",
    "fma",
    "fma64",
    "gated",
    "least",
    "most",
    "sigmoid32",
    "squareplus",
    "tanh32",
    "unit",
]

LIMIT = numerics.LIMIT


def shared(function: Callable[..., Any], kind: type[Any] = np.float32) -> Callable[..., Any]:
    """A function of float32 numbers, or of such of another kind, as kernels call it."""
    if not SIMULATED:
        return function

    def call(*args: Any) -> Any:
        if not all(type(arg) is kind for arg in args):
            raise TypeError(f"{function.__name__} takes {kind.__name__}, not {[type(a).__name__ for a in args]}")
        return kind(function(*args))

    return call


# The simulator cannot call an intrinsic, so each is a function here.


@kernel
def _fma(a, b, c):
    """a b + c with a single rounding, of float32 or of float64."""
    return vector.fma(a, b, c)


fma = shared(_fma)
fma64 = shared(_fma, np.float64)


@shared
@kernel
def least(x, y):
    """x if x < y else y."""
    return vector.least(x, y)


@shared
@kernel
def most(x, y):
    """x if y < x else y."""
    return vector.most(x, y)


bounded = shared(numerics.bounded)
exp32 = shared(numerics.exp32)
sigmoid32 = shared(numerics.sigmoid32)
tanh32 = shared(numerics.tanh32)
cell = shared(lstm.cell)
gated = shared(lstm.gated)
unit = shared(gru.unit)
squareplus = shared(spread.squareplus)
