"""What GPUs there are, by a driver's library of the tests' own; and what is said where there is none."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from streamrnn import gpus
from streamrnn.errors import ConfigError, DeviceError
from streamrnn.gpus import LIBRARY, choose, look

H100 = ("NVIDIA H100 80GB HBM3", (9, 0), 132, 80 << 30)
V100 = ("Tesla V100-SXM2-16GB", (7, 0), 80, 16 << 30)


def driver(*devices, version=13000, init=0, context=0, words=b"it has its reasons"):
    """A library as NVIDIA's driver is, which knows these devices; `open` are contexts that nobody let go of."""
    made = SimpleNamespace(open=0, pushed=0)

    def put(ref, value):
        ref._obj.value = value
        return 0

    def attribute(ref, what, device):
        _, (major, minor), many, _ = devices[device]
        return put(ref, {75: major, 76: minor, 16: many}[what])

    def name(buffer, size, device):
        buffer.value = devices[device][0].encode()[: size - 1]
        return 0

    def retain(ref, device):
        if not context:
            made.open += 1
            put(ref, 1000 + device)
        return context

    def release(device):
        made.open -= 1
        return 0

    def push(handle):
        made.pushed += 1
        return 0

    def pop(ref):
        made.pushed -= 1
        return 0

    def free(left, whole):
        assert made.open == made.pushed == 1
        put(left, 7 << 30)
        return put(whole, 8 << 30)

    made.cuInit = lambda flags: init
    made.cuDriverGetVersion = lambda ref: put(ref, version)
    made.cuGetErrorString = lambda code, ref: put(ref, words) if words else 1
    made.cuDeviceGetCount = lambda ref: put(ref, len(devices))
    made.cuDeviceGet = put
    made.cuDeviceGetName = name
    made.cuDeviceTotalMem_v2 = lambda ref, device: put(ref, devices[device][3])
    made.cuDeviceGetAttribute = attribute
    made.cuDevicePrimaryCtxRetain = retain
    made.cuDevicePrimaryCtxRelease_v2 = release
    made.cuCtxPushCurrent_v2 = push
    made.cuCtxPopCurrent_v2 = pop
    made.cuMemGetInfo_v2 = free
    return made


def nothing(name):
    raise OSError(f"{name}: cannot open shared object file")


@pytest.fixture(autouse=True)
def _installed(monkeypatch):
    """numba-cuda is installed, whether it is or not, and nothing is simulated."""
    monkeypatch.setattr(gpus, "_installed", lambda package: "0.30.4" if package == "numba-cuda" else None)
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)


def test_what_the_driver_says_of_its_gpus():
    library = driver(H100, V100)
    asked = []
    found = look(lambda name: asked.append(name) or library)
    assert asked == [LIBRARY]
    assert found.driver == (13, 0)
    assert [(g.number, g.name, g.capability, g.multiprocessors, g.memory, g.free) for g in found.gpus] == [
        (0, *H100, None),
        (1, *V100, None),
    ]
    assert found.refusal is None
    assert choose("cuda", found) == choose("auto", found) == ("cuda", None)


def test_the_memory_that_is_left_is_asked_for_within_a_context_that_is_let_go():
    library = driver(H100)
    assert look(lambda _: library, free=True).gpus[0].free == 7 << 30
    assert (library.open, library.pushed) == (0, 0)
    busy = driver(H100, context=2)
    assert look(lambda _: busy, free=True).gpus[0].free is None
    library.cuMemGetInfo_v2 = lambda left, whole: 700
    assert look(lambda _: library, free=True).gpus[0].free is None
    assert (library.open, library.pushed) == (0, 0)


@pytest.mark.parametrize(
    ("load", "why"),
    [
        (nothing, f"{LIBRARY} was not found: install NVIDIA's driver"),
        (lambda _: driver(H100, version=12040), "the driver is for CUDA 12.4: install one for 13.0 or newer"),
        (lambda _: driver(init=803), "the driver does not answer (cuInit returned 803, it has its reasons)"),
        (lambda _: driver(init=999, words=b""), "the driver does not answer (cuInit returned 999)"),
        (lambda _: driver(init=100), "the driver knows no GPU: look at CUDA_VISIBLE_DEVICES"),
        (lambda _: driver(), "the driver knows no GPU: look at CUDA_VISIBLE_DEVICES"),
        (lambda _: driver(V100), "GPU 0 has compute capability 7.0: take one of 7.5 or newer"),
        (lambda _: SimpleNamespace(cuDriverGetVersion=lambda _: 0), "the driver is for CUDA 0.0"),
    ],
)
def test_where_no_gpu_can_be_used_each_thing_that_was_looked_for_is_named(load, why):
    found = look(load)
    assert found.refusal.startswith(why)
    for name in (
        "numba-cuda (0.30.4)",
        "nvidia-nvvm (not installed)",
        LIBRARY,
        "a driver for CUDA 13.0",
        "7.5 or newer (",
    ):
        assert name in found.refusal
    assert "\n" not in found.refusal
    with pytest.raises(DeviceError) as caught:
        choose("cuda", found)
    assert str(caught.value) == f"device is 'cuda', but {found.refusal}"
    assert caught.value.code == "device_error"
    assert choose("auto", found) == ("cpu", found.refusal)
    assert choose("cpu", found) == ("cpu", None)


def test_a_driver_without_numba_s_target_does_not_do(monkeypatch):
    monkeypatch.setattr(gpus, "_installed", lambda package: None)
    found = look(lambda _: driver(H100))
    assert found.refusal.startswith(
        "numba-cuda is not installed: pip install 'streamrnn[cuda]'; looked for numba-cuda ("
    )
    assert "NVIDIA H100 80GB HBM3: 9.0" in found.refusal


def test_the_simulator_is_for_those_who_ask_for_it(monkeypatch):
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    found = look(nothing)
    assert choose("cuda", found) == ("cuda", None)
    device, why = choose("auto", found)
    assert device == "cpu"
    assert "a simulator is no GPU" in why


@pytest.mark.parametrize("device", ["gpu", "", "CUDA", "cuda:1"])
def test_another_name_is_refused(device):
    with pytest.raises(ConfigError, match="device is .*; it must be one of 'cpu', 'cuda', 'auto'"):
        choose(device)


def test_the_question_imports_no_compiler_and_the_answer_is_of_this_machine():
    code = (
        "import sys; from streamrnn.gpus import look; found = look(free=True)\n"
        "assert not any(name.split('.')[0] in ('numba', 'numpy') for name in sys.modules)\n"
        "assert found.refusal is None or 'looked for' in found.refusal\n"
        "assert found.library or not found.gpus"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
