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
from streamrnn.kernels import gru, lstm, numerics, vector

__all__ = ["LIMIT", "bounded", "cell", "exp32", "fma", "gated", "least", "most", "sigmoid32", "tanh32", "unit"]

LIMIT = numerics.LIMIT


def shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of float32 numbers as kernels call it."""
    if not SIMULATED:
        return function

    def call(*args: np.float32) -> np.float32:
        if not all(type(arg) is np.float32 for arg in args):
            raise TypeError(f"{function.__name__} takes float32, not {[type(arg).__name__ for arg in args]}")
        return np.float32(function(*args))

    return call


# The simulator cannot call an intrinsic, so each is a function here.


@shared
@kernel
def fma(a, b, c):
    """a b + c with a single rounding."""
    return vector.fma(a, b, c)


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
