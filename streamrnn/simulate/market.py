"""A market of best quotes: bursts of volatility, queues that lean before the price moves, and known faults.

Quotes come at random times (a Poisson process). The logarithm of volatility is an Ornstein-Uhlenbeck process,
so that calm and busy spells alternate; the imbalance of the two queues is another, and the price drifts to
the thinner one, as order books do (Cont, Kukanov and Stoikov 2014, doi:10.1093/jjfinec/nbt003).
"""

from __future__ import annotations

import numpy as np

from .faults import Kind, Placed, schedule
from .feed import Feed, merge
from .processes import Signal, ornstein_uhlenbeck, ramp

__all__ = ["CHANNELS", "KINDS", "UNITS", "market"]

CHANNELS = ("bid", "ask", "bid_qty", "ask_qty")
UNITS = ("USD", "USD", "lots", "lots")

CRASH = Kind("crash", 20.0, 60.0, ("bid", "ask"))
WIDE_SPREAD = Kind("wide-spread", 20.0, 60.0, ("bid", "ask"))
BAD_PRINT = Kind("bad-print", 3.0, 6.0, ("bid", "ask"))
THIN_BOOK = Kind("thin-book", 30.0, 90.0, ("bid_qty", "ask_qty"))

KINDS = (CRASH, WIDE_SPREAD, BAD_PRINT, THIN_BOOK)

FAULT_EVERY = 900.0
"""Seconds of a symbol's time to one fault."""

TICK = 0.01


def market(symbols: int = 6, seconds: float = 1200.0, seed: int = 0, calm: float = 300.0, rate: float = 2.0) -> Feed:
    """`seconds` of `rate` quotes a second (mean) of each symbol; no fault begins in the first `calm` seconds.

    Channels are the best bid and ask (USD) and the quantities waiting there (lots).

    >>> market(symbols=2, seconds=900, seed=1).streams
    ('SYM1', 'SYM2')
    """
    streams = tuple(f"SYM{i + 1}" for i in range(symbols))
    placed = schedule(
        np.random.default_rng([seed, 2]),
        KINDS,
        streams=symbols,
        seconds=seconds,
        calm=calm,
        every=FAULT_EVERY,
    )
    parts = []
    for i in range(symbols):
        mine = [p for p in placed if p.stream == i]
        parts.append(_quotes(np.random.default_rng([seed, 3, i]), seconds, rate, mine))
    return merge(CHANNELS, UNITS, streams, parts, placed)


def _quotes(rng: np.random.Generator, seconds: float, rate: float, faults: list[Placed]) -> tuple[Signal, Signal]:
    """One symbol's quotes: times in seconds `(n,)`, and bid, ask and their queues `(n, 4)`."""
    n = rng.poisson(rate * seconds)
    clock = np.sort(rng.uniform(0.0, seconds, n))
    dt = 1.0 / rate
    volatility = 5e-5 * np.exp(ornstein_uhlenbeck(rng, n, dt, 90.0, 0.5))
    imbalance = np.tanh(ornstein_uhlenbeck(rng, n, dt, 5.0, 0.8))
    steps = volatility * np.sqrt(dt) * (rng.standard_normal(n) + 0.5 * imbalance)
    price = rng.uniform(20.0, 400.0) * np.exp(np.cumsum(steps))
    spread = TICK * (1.0 + rng.poisson(0.4 + 5e3 * volatility, n))
    depth = 300.0 * np.exp(ornstein_uhlenbeck(rng, n, dt, 60.0, 0.4) + rng.normal(0.0, 0.3, n))
    for fault in faults:
        during = (clock >= fault.start) & (clock < fault.end)
        if fault.kind is CRASH:
            price = price * (1.0 - rng.uniform(0.02, 0.04) * ramp(clock, fault.start, fault.end, 5.0, 40.0))
        elif fault.kind is WIDE_SPREAD:
            spread = np.where(during, spread + 0.002 * price, spread)
        elif fault.kind is BAD_PRINT:
            price = np.where(during, price * 1.1, price)
        else:
            depth = np.where(during, 0.05 * depth, depth)
    bid = np.rint((price - spread / 2.0) / TICK) * TICK
    ask = bid + np.rint(spread / TICK) * TICK
    lots = np.maximum(1.0, np.rint(np.stack([depth * (1.0 + imbalance), depth * (1.0 - imbalance)], axis=1)))
    return clock, np.column_stack([bid, ask, lots])
