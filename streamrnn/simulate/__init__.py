"""Wards, markets and chats that produce realistic feeds with known faults, the same ones for the same seed.

>>> feed = ward(beds=2, seconds=60, seed=1)
>>> len(feed), feed.channels, feed.streams
(120, ('hr', 'spo2', 'resp', 'abp'), ('ward/bed01', 'ward/bed02'))
"""

from __future__ import annotations

from .chat import chat
from .faults import Fault
from .feed import Feed
from .market import market
from .ward import ward

__all__ = ["Fault", "Feed", "chat", "market", "ward"]
