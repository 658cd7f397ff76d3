"""A guess of the smallest step that a channel takes, from how its values are written.

A channel that stood still has shown no step, and the first that it shows may be the fault itself. What is known is how
fine its values are: 98 and 80 are whole numbers, 36.6 and 38.5 have tenths.
"""

from __future__ import annotations

import numpy as np

from streamrnn._jit import kernel

from .vector import least, most

__all__ = ["guess"]

_PARTS = 100.0  # of one: the finest decimal step that is looked for
_DIGIT = 1.2e-7  # more than the relative error of a decimal number in float32
_SHARE = 0.005  # of the value: no guess is finer
_WHOLE = 2.0**52  # from here on every number is


@kernel
def _off_grid(a):
    """|a - the nearest whole number|, exactly: np.rint, which a GPU has not got, would be one way to it."""
    a = abs(a)
    if a >= _WHOLE:
        return 0.0
    rest = a - np.float64(np.int64(a))
    return least(1.0 - rest, rest)


@kernel
def guess(before, value):
    """The quantum, float64 and positive, of a channel that only ever read `before` and now `value`, which differs.

    It is the coarsest of 1, 0.1 and 0.01 of which both float64 values are whole multiples, but at least a share of
    `before`: a price of 60,000 has a finer step than is of interest. Off that grid the share alone counts. Zero has
    no scale: after it, off the grid, 0.01 stands in. A share of `value` would let one wild sample set the scale.
    """
    share = _SHARE * abs(before)
    per = 1.0
    while per <= _PARTS:
        a = before * per
        b = value * per
        if _off_grid(a) <= _DIGIT * abs(a) and _off_grid(b) <= _DIGIT * abs(b):
            return most(share, 1.0 / per)
        per *= 10.0
    return share if before != 0.0 else most(share, 1.0 / _PARTS)
