"""A part of a row as a matrix: the twin of `kernels.memory`, as far as a GPU needs one."""

from __future__ import annotations

from streamrnn._cuda import SIMULATED
from streamrnn.kernels import memory

__all__ = ["matrix"]


def _matrix(flat, start, rows, columns):
    return flat[start : start + rows * columns].reshape(rows, columns)


# The simulator cannot call an intrinsic, and NumPy's reshape is nothing for a GPU.
matrix = _matrix if SIMULATED else memory.matrix
