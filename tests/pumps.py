"""A data path between sockets of this process, with a publisher before and a subscriber behind it."""

from __future__ import annotations

from array import array

import msgpack
import numpy as np
import zmq

from streamrnn.transport.counters import Counters
from streamrnn.transport.outlet import Outlet
from streamrnn.transport.paths import open_path
from streamrnn.wire.messages import Limits, decode_published, encode_block, encode_sample, sample_topic

__all__ = ["PATHS", "Bench", "timeless"]

PATHS = ("pyzmq", "compiled")


class Bench:
    """A data path between two inproc sockets of a context that is its own."""

    def __init__(self, context, fleet, limit=8, limits=None, rate=1e6, burst=1_000_000, path="compiled", budget=0):
        # Every bench has a context, and with it names, of its own.
        self.ingest, self.outputs = context.socket(zmq.SUB), context.socket(zmq.PUB)
        self.feed, self.sink = context.socket(zmq.XPUB), context.socket(zmq.SUB)
        for socket in (self.ingest, self.outputs, self.feed, self.sink):
            socket.linger = 0
            socket.set_hwm(0)
        self.ingest.subscribe(b"")
        self.sink.subscribe(b"")
        self.ingest.bind("inproc://in")
        self.outputs.bind("inproc://out")
        self.feed.connect("inproc://in")
        self.sink.connect("inproc://out")
        self.outlet = Outlet(self.outputs, Counters(), rate, burst)
        self.fleet = fleet
        sockets = self.ingest, self.outputs
        self.pump, _ = open_path(path, *sockets, self.outlet, fleet, limits or Limits(), limit, budget)
        self.counters = self.outlet.counters
        self.ingest.poll(1)  # so that the pipes are known on both sides
        self.feed.poll(1000)
        self.sink.poll(1)

    def send(self, *frames):
        self.feed.send_multipart(frames)

    def sample(self, stream, x, **keys):
        self.send(sample_topic(stream), encode_sample(x, **keys))

    def block(self, ids, X, t=None, seq=None, session=None):
        X = np.asarray(X, np.float32)
        t, seq = (None if v is None else array(c, v) for v, c in ((t, "q"), (seq, "Q")))
        self.send(b"block/", encode_block(ids, X.tobytes(), len(X), t, seq, session))

    def raw(self):
        """Pump until nothing waits; the frames that were published."""
        while self.pump.burst() or self.pump.pending or self.ingest.poll(0):
            continue
        return self.published()

    def published(self):
        """The frames that were published since somebody asked."""
        found = []
        while self.sink.poll(0):
            found.append(self.sink.recv_multipart())
        return found

    def run(self):
        """The same, decoded."""
        return [decode_published(frames) for frames in self.raw()]

    def close(self):
        for socket in (self.ingest, self.outputs, self.feed, self.sink):
            socket.close()


def timeless(frames):
    """A published message with its times by the daemon's clock cut out of its bytes, wherever they stand."""
    topic, body = frames
    fields = msgpack.unpackb(body)
    for name in ("recv", "sent", "at"):
        if name in fields:
            for raw in (fields[name].to_bytes(8, "big"), fields[name].to_bytes(8, "little")):
                body = body.replace(raw, b"<" + name.encode() + b">")
    return topic, body
