"""The score of a stream of tokens, on the GPU: the very function of `kernels.surprise`."""

from __future__ import annotations

from streamrnn.kernels import surprise

from .rows import shared_rows

__all__ = ["judge"]


def _written(*args):
    """The stream's row, and row i of each answer."""
    row, i, answers = args[2], args[4], args[5:]
    return row, *(a[i : i + 1] for a in answers)


judge = shared_rows(surprise.judge_here, _written)
