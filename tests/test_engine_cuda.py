"""Whole engines on a GPU, without one: in Numba's simulator they say what the CPU's say, bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba.cuda", reason="this Numba has no CUDA target; pip install 'streamrnn[cuda]'")

import engines
from assembled import CAPABILITIES, ptxas, whole_step

from streamrnn import Engine, Model
from streamrnn._cuda import SIMULATED, inexact
from streamrnn.engine.cuda import memory
from streamrnn.kernels.cuda.product import LAUNCH

STORIES = [*(f"{kind}/steps" for kind in engines.MODELS), *(f"{kind}/life" for kind in engines.LIVES), "wire"]
SMALL = Model.random("lstm", n_in=3, hidden=4, n_out=2)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """What engines said on the simulator's device, in a process of its own."""
    out = tmp_path_factory.mktemp("engines") / "out.npz"
    # Coverage's tracing multiplies the simulator's time; what it would see there are kernels.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")} | {"NUMBA_ENABLE_CUDASIM": "1"}
    program = Path(__file__).with_name("engines.py")
    subprocess.run([sys.executable, str(program), str(out)], env=environment, check=True, timeout=560)
    with np.load(out) as arrays:
        return {name: arrays[name] for name in arrays.files}


@cache
def on_cpu():
    return engines.everything("cpu")


@pytest.mark.parametrize("story", STORIES)
def test_the_simulated_device_says_what_the_cpu_says(simulated, story):
    expected = {name: array for name, array in on_cpu().items() if name.startswith(story + "/")}
    assert set(expected) == {name for name in simulated if name.startswith(story + "/")}
    assert len(expected) > 1
    for name, array in expected.items():
        assert simulated[name].shape == array.shape, name
        assert simulated[name].tobytes() == array.tobytes(), name


def test_the_stories_are_worth_telling():
    """Flags are raised and cleared, channels are missing, and streams come and go."""
    said = on_cpu()
    for kind in ("adaptive", "forecast", "quantile", "tokens"):
        assert any(said[f"{kind}/steps/step {k}.score"].any() for k in range(3)), kind
    assert any(array.any() for name, array in said.items() if name.endswith(".flag"))
    assert all(said[f"{kind}/steps/step 0.missing"].any() for kind in ("lstm", "adaptive", "quantile"))
    events = "".join(said["lstm/life/events"])
    assert all(kind in events for kind in ("created", "evicted", "reset"))


@pytest.mark.parametrize("how", ["idle", "lost", "interrupted"])
def test_an_engine_whose_device_failed_refuses_every_further_call(simulated, how):
    first, *later, alive, events = json.loads(str(simulated["failures"]))[how]
    assert (alive, events) == (1, 1)  # what the host knows it still says
    assert len(later) == 10
    if how == "interrupted":
        assert first.startswith("KeyboardInterrupt")
    else:
        assert first.startswith("DeviceError: the GPU failed")
        assert set(later) == {first}
    assert all(said.startswith("DeviceError: the GPU failed") and "make a new engine" in said for said in later)
    reason = {"idle": "without having been stepped", "lost": "the device is lost for good", "interrupted": "Keyboard"}
    assert reason[how] in later[0]


def test_a_device_without_room_and_a_kernel_that_rounds_are_refused(simulated):
    found = json.loads(str(simulated["failures"]))
    assert found["full"].startswith("DeviceFull: the GPU cannot take 0 MB for 4 streams")
    assert "OUT_OF_MEMORY" in found["full"]
    assert "lower capacity" in found["full"]
    assert "mul.f32" in found["inexact"]
    assert "round otherwise" in found["inexact"]


def test_parts_of_a_memory_and_of_a_packet_do_not_meet():
    for m in (16, 32, 8192):
        down, up = memory.packet(m, 3, 5)
        parts = sorted([*down.parts.values(), *up.parts.values()], key=lambda part: part.at)
        assert all(part.at % part.dtype.itemsize == 0 for part in parts)
        assert all(a.stop <= b.at for a, b in pairwise(parts))
        told = memory.packet_places(512, m, 3, 5)  # what a kernel makes of it
        for part, at in zip([*down.parts.values(), *up.parts.values()], told, strict=True):
            assert (512 + part.at) / part.dtype.itemsize == at
    assert [memory.class_of(n) for n in (1, 16, 17, 32, 33)] == [16, 16, 32, 32, 64]


def test_a_cpu_engine_does_not_import_the_cuda_target():
    code = (
        "import sys; from streamrnn import Engine, Model; Engine(Model.adaptive(1), 1).step('a', [0.0]); "
        "Engine(Model.adaptive(1), 1, device='auto'); "
        "print('streamrnn._cuda' in sys.modules, 'numba.cuda' in sys.modules)"
    )
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split()[0] == "False"


def test_auto_falls_back_to_the_cpu_with_one_line_in_the_log(monkeypatch, caplog):
    monkeypatch.setattr("streamrnn.engine.core.choose", lambda device: ("cpu", "no GPU was found"))
    engine = Engine(SMALL, 2, device="auto", threads=2)
    assert engine.device == "cpu"
    assert [r.getMessage() for r in caplog.records] == ["device is 'auto'; the CPU is taken: no GPU was found"]


def test_threads_are_refused_beside_a_gpu(monkeypatch):
    from streamrnn.errors import ConfigError

    monkeypatch.setattr("streamrnn.engine.core.choose", lambda device: ("cuda", None))
    with pytest.raises(ConfigError, match="threads is 2 with device 'cuda'; a GPU steps all rows: let threads be 1"):
        Engine(SMALL, 2, device="cuda", threads=2)


def test_no_two_threads_race_in_a_launch(simulated):
    found = json.loads(str(simulated["races"]))
    assert set(found) == set(engines.RACED)
    assert not any(found.values()), {kind: races[:3] for kind, races in found.items()}


@pytest.mark.skipif(
    ptxas() is None or SIMULATED, reason="no wheels that compile for a GPU; pip install 'streamrnn[cuda]'"
)
@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("kind", engines.COMPILED)
def test_the_machine_code_of_a_whole_step(kind, capability):
    m = whole_step(kind, capability)
    assert inexact(m.ptx) == []
    assert "fma.rn.f32" in m.ptx
    assert m.spills == 0
    assert m.registers <= 168
    assert m.shared <= 24 * 1024
    assert m.blocks >= LAUNCH[1]
