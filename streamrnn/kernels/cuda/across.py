"""Sums of eight numbers in the order of the CPU's vectors, and the product of two rows: a twin of `kernels.across`."""

from __future__ import annotations

from numba import float64

from streamrnn._cuda import block_function, cuda
from streamrnn.kernels.vector import LANES64

from .numerics import fma64

__all__ = ["dot", "total"]


@block_function
def total(v):
    """The sum of v float64 (8,): ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7))."""
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]))


@block_function
def dot(a, i, b, j, n):
    """The product of a[i : i + n] and b[j : j + n], float64, n whole vectors: eight sums, added up in a fixed order."""
    s = cuda.local.array(LANES64, float64)
    for k in range(LANES64):
        s[k] = a[i + k] * b[j + k]
    for at in range(LANES64, n, LANES64):
        for k in range(LANES64):
            s[k] = fma64(a[i + at + k], b[j + at + k], s[k])
    return total(s)
