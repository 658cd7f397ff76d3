"""The engine as a library: no daemon, no sockets. Run: python examples/library.py"""

from streamrnn import Engine, Model
from streamrnn.simulate import ward

feed = ward(beds=4, seconds=1200, seed=1)
engine = Engine(Model.adaptive(n_in=4, features=feed.channels))

# One sample at a time, as it arrives.
flagged = set()
for t, stream, x in feed.rows():
    out = engine.step(stream, x, t=t)
    if out.flag and stream not in flagged:
        print(f"{(t - feed.t[0]) / 1e9:6.0f} s  {stream}  {out.cause}  score {out.score:.2f}")
    (flagged.add if out.flag else flagged.discard)(stream)

print("put in by the simulation:")
for fault in feed.faults:
    print(f"{(fault.start_ns - feed.t[0]) / 1e9:6.0f} s  {fault.stream}  {fault.kind}")

# Many samples at once give the same bits; handles spare a hot loop the ids.
again = Engine(engine.model)
handles = again.handles(feed.streams)
outputs = again.step_many(handles[feed.stream], feed.x, feed.t)
assert outputs.y[-1].tobytes() == out.y.tobytes()
print(f"{len(feed)} samples again in one call: the same bits")
