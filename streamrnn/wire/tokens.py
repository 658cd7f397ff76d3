"""Tokens on the wire: integers, one a sample, where the model begins with an embedding."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from numbers import Integral
from operator import index
from typing import Any

from ..errors import BadToken
from .limits import UINT64_MAX

__all__ = ["read_token", "read_tokens", "to_token", "to_tokens"]


def read_token(x: object, n_tokens: int) -> array[float]:
    """The x of a sample, as msgpack gives it, as the model's one input; BadToken for what is none of its tokens.

    >>> read_token(17, 256)
    array('f', [17.0])
    """
    if type(x) is not int or not 0 <= x < n_tokens:
        what = "missing" if x is None else f"{x!r:.60}"
        raise BadToken(f"x is {what}; the model takes tokens: send an integer from 0 to {n_tokens - 1}")
    return array("f", [x])


def read_tokens(x: object, n_tokens: int) -> array[float]:
    """The x of a block, one token a row."""
    if type(x) is not list:
        what = "missing" if x is None else f"{x!r:.60}"
        raise BadToken(f"x is {what}; the model takes tokens: send an array of integers from 0 to {n_tokens - 1}")
    for i, value in enumerate(x):
        if type(value) is not int or not 0 <= value < n_tokens:
            raise BadToken(f"row {i} of x is {value!r:.60}; send integers from 0 to {n_tokens - 1}")
    return array("f", x)


def to_token(x: object) -> int | None:
    """An integer, NumPy's included, as a token to send; None for what is no integer, such as a sample's values.

    >>> to_token(17), to_token([17.0])
    (17, None)
    """
    if not isinstance(x, Integral) or isinstance(x, bool):
        return None
    token = index(x)
    if not 0 <= token <= UINT64_MAX:
        raise BadToken(f"x is {token}; a token is an integer from 0 to {UINT64_MAX}")
    return token


def to_tokens(X: Any) -> list[int] | None:
    """A sequence or vector of integers as tokens to send; None where X holds rows of values."""
    if not isinstance(X, Sequence) and getattr(X, "ndim", 1) != 1:
        return None
    values = X if isinstance(X, list | tuple) else X.tolist() if hasattr(X, "tolist") else None
    if not values or to_token(values[0]) is None:
        return None
    tokens = [to_token(x) for x in values]
    if None in tokens:
        at = tokens.index(None)
        raise BadToken(f"row {at} of X is {values[at]!r:.60} among tokens; send integers")
    return tokens  # type: ignore[return-value]
