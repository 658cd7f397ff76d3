"""What carrying a sample costs the daemon's thread on each data path, without sockets of the system in between.

A burst's worth of samples waits on an inproc socket; timed is what the path does until all are answered: receiving,
decoding, the step, encoding, sending. The publisher and the subscriber are in the same thread and not timed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from time import thread_time

import numpy as np
import zmq

from streamrnn import Engine, Model
from streamrnn.transport.fleet import Fleet
from streamrnn.wire.messages import encode_sample, sample_topic

MODEL = Model.random("lstm", n_in=8, hidden=16, n_out=8, seed=1)
SAMPLES, BURST = 1024, 256


def paths(stack: ExitStack) -> dict[str, Callable[[], float]]:
    """Measures ns a sample of each path, open until `stack` is left; exits where an answer is not the engine's."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from pumps import PATHS, Bench

    X = np.random.default_rng(3).standard_normal((SAMPLES, MODEL.spec.n_in)).astype(np.float32)
    ids = [f"ward{i % 16}/bed{i // 16 % 16}" for i in range(SAMPLES)]
    messages = [(sample_topic(stream), encode_sample(x)) for stream, x in zip(ids, X, strict=True)]
    expected = Engine(MODEL, capacity=SAMPLES).step_many(ids, X)

    def measured(path: str) -> Callable[[], float]:
        context = stack.enter_context(zmq.Context())
        bench = Bench(context, Fleet(lambda _: Engine(MODEL, SAMPLES), 8, 8), limit=BURST, path=path)
        stack.callback(bench.close)
        for frames in messages:
            bench.send(*frames)
        answers = [message for message in bench.run() if hasattr(message, "y")]
        y = np.array([answer.y for answer in answers], np.float32)
        score = np.array([answer.score for answer in answers], np.float32)
        if (y.tobytes(), score.tobytes()) != (expected.y.tobytes(), expected.score.tobytes()):
            sys.exit(f"answers on the path {path} are not the engine's; nothing was timed")

        def measure() -> float:
            for frames in messages:
                bench.send(*frames)
            began = thread_time()
            while bench.pump.burst() or bench.pump.pending or bench.ingest.poll(0):
                continue
            spent = thread_time() - began
            if sum(frames[0].startswith(b"out/") for frames in bench.raw()) != SAMPLES:
                sys.exit(f"the path {path} did not answer all samples")
            return spent / SAMPLES * 1e9

        return measure

    return {path: measured(path) for path in PATHS}
