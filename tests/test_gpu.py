"""What only a GPU can show: that NVIDIA's hardware gives the CPU's bits, in kernels, in engines and in a daemon.

    pytest -m gpu                                         on a machine with a GPU
    NUMBA_ENABLE_CUDASIM=1 pytest tests/test_gpu.py       that the tests are sound, in the simulator; minutes

Bodies are those of test_cuda.py and test_engine_cuda.py, on another device.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zmq
from daemon_process import DaemonProcess, raw_publisher, until

from streamrnn import Engine, Model
from streamrnn.client import Event, Subscriber
from streamrnn.errors import DeviceError
from streamrnn.gpus import look
from streamrnn.wire.messages import encode_block, encode_sample, sample_topic

FOUND = look()
REFUSAL = FOUND.refusal

if REFUSAL is not None:
    pytest.skip(f"no GPU can be used: {REFUSAL}", allow_module_level=True)
pytestmark = pytest.mark.gpu
hardware = pytest.mark.skipif(FOUND.simulated, reason="this is about hardware, and a simulator stands in for it")

HERE = Path(__file__).parent


def told(program, tmp_path):
    """What a program of the tests writes on the device, in a process of its own."""
    out = tmp_path / "out.npz"
    subprocess.run([sys.executable, str(HERE / program), str(out)], check=True, timeout=290)
    with np.load(out) as arrays:
        return {name: arrays[name] for name in arrays.files}


def test_every_kernel_gives_the_cpu_s_bits(tmp_path):
    import twins

    found = told("twins.py", tmp_path)
    for k, case in enumerate(twins.CASES):
        assert found[str(k)].tobytes() == twins.on_cpu(case).tobytes(), case


def test_every_kind_of_model_says_what_it_says_on_the_cpu(tmp_path):
    import engines

    found = told("engines.py", tmp_path)
    expected = engines.everything("cpu")
    assert len(expected) > 10 * len(engines.MODELS)
    assert [name for name, array in expected.items() if found[name].tobytes() != array.tobytes()] == []


def test_auto_takes_it():
    engine = Engine(Model.adaptive(1, hidden=4), capacity=2, device="auto")
    assert engine.device == ("cpu" if FOUND.simulated else "cuda")


@hardware
def test_more_streams_than_its_memory_holds_are_refused_and_fewer_are_not():
    model = Model.random("lstm", n_in=4, hidden=512)
    most = max(gpu.memory for gpu in FOUND.gpus) // sum(a.nbytes for a in Engine(model, 1)._slab)
    with pytest.raises(DeviceError, match="lower capacity"):
        Engine(model, capacity=2 * most, device="cuda")
    assert Engine(model, capacity=100, device="cuda").step("a", [0.0] * 4).n == 1


def test_a_saved_state_goes_on_where_it_was_on_the_other_device():
    model = Model.adaptive(2, hidden=9, seed=4)
    X = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    engines = [Engine(model, 1, device=device) for device in ("cpu", "cuda")]
    whole = Engine(model, 1)
    for k in range(0, 40, 10):
        engine, other = engines if k % 20 == 0 else engines[::-1]
        out = engine.step_many(["s"] * 10, X[k : k + 10])
        expected = whole.step_many(["s"] * 10, X[k : k + 10])
        assert out.y.tobytes() == expected.y.tobytes()
        assert out.score.tobytes() == expected.score.tobytes()
        other.load_state("s", engine.state("s"))


@pytest.mark.parametrize("path", ["compiled", "pyzmq"])
def test_a_daemon_answers_with_the_cpu_s_bits_and_ends_in_order(path):
    answers = {}
    X = np.random.default_rng(1).normal(size=(120, 2)).astype(np.float32)
    for device in ("cpu", "cuda"):
        flags = ["--n-in=2", "--hidden=8", f"--data-path={path}", f"--device={device}", "--latency-budget=2ms"]
        with DaemonProcess(*flags, "--capacity=20") as process, zmq.Context() as context:
            assert process.lines("ready")[0]["device"] == device
            with Subscriber(process.outputs, ["out/", "block/", "event/daemon/"], timeout=60) as subscriber:
                subscriber.wait()
                socket = raw_publisher(context, process.ingest)
                for i, x in enumerate(X[:90]):
                    socket.send_multipart([sample_topic(f"s{i % 7}"), encode_sample(x, seq=i, t=i)])
                ids = [f"s{i % 7}" for i in range(30)]
                socket.send_multipart([b"block/", encode_block(ids, X[90:].tobytes(), 30, None, None, None)])
                taken = until(subscriber, lambda m: type(m).__name__ == "BlockOutput")
                assert process.ask("stream", stream="s3")["n"] > 10
                assert process.stop() == 0
                until(subscriber, lambda m: isinstance(m, Event) and m.data["state"] == "stopping")
                socket.close(0)
            answers[device] = [
                (getattr(m, "stream", None), np.asarray(m.y).tobytes(), np.asarray(m.score).tobytes()) for m in taken
            ]
            assert process.lines("stopped")[0]["accepted"] == 120
    assert len(answers["cpu"]) == 91
    assert answers["cuda"] == answers["cpu"]


@hardware
def test_info_tells_of_it():
    command = [sys.executable, "-m", "streamrnn", "info", "adaptive", "--device", "--json"]
    facts = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert facts["refusal"] is None
    assert facts["gpus"][0]["name"]
    assert facts["gpus"][0]["free"] <= facts["gpus"][0]["memory"]
    assert facts["room"]["streams"][0] > 1000


def test_the_benchmark_checks_and_measures(tmp_path):
    command = [sys.executable, str(HERE.parent / "benchmarks" / "gpu.py"), "--smoke", f"--json={tmp_path}/gpu.json"]
    subprocess.run(command, check=True, timeout=290, env=os.environ)
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert {row["question"] for row in report["rows"]} >= {"parts", "latency", "rate", "crossover"}
