"""Time of day as two inputs for a network: the cosine and sine of the fraction of the (UTC) day."""

from __future__ import annotations

import numpy as np

from streamrnn._jit import kernel

__all__ = ["DAY", "REAL_TIME", "day_phase"]

DAY = 86_400 * 10**9
"""ns"""

REAL_TIME = 946_684_800 * 10**9
"""2000-01-01 in ns since the epoch: an earlier `t` is a counter or a relative time, not the time of day."""

# sin and cos of a quarter turn, as series in the fraction q of a quarter: (pi/2 q)^k / k!
_HALF_PI = 1.5707963267948966
_S = tuple((-1) ** k * _HALF_PI ** (2 * k + 1) / f for k, f in enumerate((1, 6, 120, 5040, 362880, 39916800)))
_C = tuple((-1) ** k * _HALF_PI ** (2 * k) / f for k, f in enumerate((1, 2, 24, 720, 40320, 3628800, 479001600)))
_S0, _S1, _S2, _S3, _S4, _S5 = _S
_C0, _C1, _C2, _C3, _C4, _C5, _C6 = _C


@kernel
def day_phase(t, out):
    """out float32 (2,): sin and cos of 2 pi t / DAY, t int64 in ns since the epoch; zeros before 2000-01-01.

    Taylor series on a quarter turn, in float64: the error is below 1e-7, and the bits are the same everywhere.
    """
    if t < REAL_TIME:
        out[0] = np.float32(0.0)
        out[1] = np.float32(0.0)
        return
    quarter = DAY // 4
    phase = t % DAY
    turn = phase // quarter
    q = float(phase % quarter) / float(quarter)
    z = q * q
    sin = q * (_S0 + z * (_S1 + z * (_S2 + z * (_S3 + z * (_S4 + z * _S5)))))
    cos = _C0 + z * (_C1 + z * (_C2 + z * (_C3 + z * (_C4 + z * (_C5 + z * _C6)))))
    if turn == 0:
        a, b = sin, cos
    elif turn == 1:
        a, b = cos, -sin
    elif turn == 2:
        a, b = -sin, -cos
    else:
        a, b = -cos, sin
    out[0] = a
    out[1] = b
