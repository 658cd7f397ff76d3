"""Print what a daemon says. Run: python examples/subscriber.py [OUTPUTS [COUNT]]; Ctrl-C ends it."""

import sys

from streamrnn.client import BlockOutput, Event, Flag, Output, Subscriber

endpoint = sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:5591"
count = int(sys.argv[2]) if len(sys.argv) > 2 else None
seen = 0

# Prefixes of topics: all outputs, flags and events here; "out/bed1/" would be one stream's outputs alone.
with Subscriber(endpoint, ["out/", "block/", "flag/", "event/"]) as subscriber:
    subscriber.wait()
    print("connected", flush=True)
    try:
        for message in subscriber:  # in a coroutine: async for
            if isinstance(message, Output):
                seen += 1
                if message.n % 50 == 0:
                    print(f"{message.stream:14} {message.n:5} score {message.score:.2f} expects {message.y}")
            elif isinstance(message, BlockOutput):
                seen += message.n
                print(f"a block of {message.n}, highest score {max(message.score):.2f}")
            elif isinstance(message, Flag):
                print(f"{message.stream:14} {message.n:5} FLAG {message.edge} {message.cause or ''}")
            elif isinstance(message, Event):
                print(f"{message.stream or 'daemon':14}       {message.kind} {message.data}")
            if count is not None and seen >= count:
                break
    except KeyboardInterrupt:
        pass

print(f"{seen} outputs, {subscriber.lost} lost")
