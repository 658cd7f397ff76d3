"""Send the heart rate and saturation of three beds. Run: streamrnn serve, then python examples/publisher.py [INGEST]

The daemon must take two channels: one with --features of another number refuses them.
"""

import math
import random
import sys
import time

from streamrnn.client import Publisher

endpoint = sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:5590"
start = time.time_ns()
noise = random.Random(1)

with Publisher(endpoint) as publisher:
    # One sample a message. The first one waits until the daemon is there.
    for i in range(200):
        for bed in ("example/bed1", "example/bed2", "example/bed3"):
            rate = 70 + 5 * math.sin(i / 10) + noise.gauss(0, 0.5)
            spo2 = None if i % 50 == 7 else 97 + noise.gauss(0, 0.2)  # None: nothing measured
            if bed == "example/bed3" and 150 <= i < 170:
                rate += 60
            publisher.send(bed, [rate, spo2], t=start + i * 1_000_000_000)

    # Many samples in one message: here one stream's, in order. NumPy arrays work too.
    rows = [[70 + 5 * math.sin(i / 10), 97.0] for i in range(200, 400)]
    publisher.send_block("example/bed1", rows, t=[start + i * 1_000_000_000 for i in range(200, 400)])

print("sent 600 samples and a block of 200")
