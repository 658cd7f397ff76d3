"""A client without streamrnn: pyzmq and msgpack. Run: python examples/minimal_client.py [INGEST OUTPUTS]"""

import sys

import msgpack
import zmq

ingest, outputs = sys.argv[1:3] if len(sys.argv) > 2 else ("tcp://127.0.0.1:5590", "tcp://127.0.0.1:5591")

context = zmq.Context()
sub = context.socket(zmq.SUB)
sub.subscribe(b"out/minimal/")
sub.connect(outputs)
pub = context.socket(zmq.XPUB)  # a PUB that can hear its subscribers
pub.connect(ingest)
if not pub.poll(10_000):  # the daemon's subscription: what is sent before it is lost
    sys.exit(f"no daemon at {ingest}; start one with: streamrnn serve")

answered = 0
for seq in range(100):
    pub.send_multipart([b"in/minimal/", msgpack.packb({"x": [97.0 + seq % 3, None], "seq": seq})])
    if not sub.poll(1_000):
        continue  # the answer to the first one may come before our own subscription has arrived
    topic, body = sub.recv_multipart()
    answer = msgpack.unpackb(body)
    answered += 1
print(f"{answered} answers; the last one under {topic.decode()}: {answer}")
context.destroy(linger=0)
