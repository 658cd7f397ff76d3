"""What Python code hands to an engine of tokens: whole numbers, as the arrays that compiled code takes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamrnn.errors import BadToken

from .arguments import owned

__all__ = ["one_token", "tokens_of"]

_NUMBERS = "iuf"


def one_token(x: npt.ArrayLike, n_tokens: int) -> npt.NDArray[np.float32]:
    """One token, alone or as a vector (1,), as float32 (1,); or BadToken.

    >>> one_token(17, 256)
    array([17.], dtype=float32)
    """
    return _checked(x, n_tokens, ((), (1,)), "x", "one token").reshape(1)


def tokens_of(X: npt.ArrayLike, n_tokens: int) -> npt.NDArray[np.float32]:
    """n tokens, (n,) or (n, 1), as float32 (n, 1); or BadToken."""
    try:
        n = (np.shape(X) or (-1,))[0]
    except ValueError:  # ragged
        n = -1
    return _checked(X, n_tokens, ((n,), (n, 1)), "X", "n tokens")


def _checked(
    x: npt.ArrayLike, n_tokens: int, shapes: tuple[tuple[int, ...], ...], name: str, what: str
) -> npt.NDArray[np.float32]:
    """Whole numbers from 0 to n_tokens - 1 of one of the shapes, as float32 (n, 1)."""
    try:
        found = np.asarray(x)
        fits = found.dtype.kind in _NUMBERS and found.shape in shapes
    except (ValueError, OverflowError):  # ragged
        fits = False
    if not fits:
        remedy = f"each an integer from 0 to {n_tokens - 1}, none missing"
        raise BadToken(f"{name} is {x!r:.60}; it must be {what}, {remedy}")
    # Written so that a NaN is wrong.
    wrong = ~((found >= 0) & (found < n_tokens) & (found == np.floor(found)))
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise BadToken(f"token {at} is {found.flat[at]}; send integers from 0 to {n_tokens - 1}, none missing")
    return owned(found.reshape(-1, 1), np.float32)
