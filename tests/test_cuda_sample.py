"""What surrounds the network, on a GPU without one: the CPU's bits in the simulator, no data race, and machine code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba.cuda", reason="this Numba has no CUDA target; pip install 'streamrnn[cuda]'")

import around
from assembled import CAPABILITIES, assembled, ptxas

from streamrnn._cuda import SIMULATED, inexact
from streamrnn.kernels.cuda.product import LAUNCH

compiler = pytest.mark.skipif(
    ptxas() is None or SIMULATED, reason="no wheels that compile for a GPU; pip install 'streamrnn[cuda]'"
)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Every kind of model and the races, from a process of its own: the simulator takes the CUDA target's place."""
    for kind in around.KINDS:
        around.on_cpu(kind)  # so that what both processes compile is in the cache
    out = tmp_path_factory.mktemp("cuda") / "out.npz"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")} | {"NUMBA_ENABLE_CUDASIM": "1"}
    program = Path(__file__).with_name("around.py")
    subprocess.run([sys.executable, str(program), str(out)], env=environment, check=True, timeout=480)
    with np.load(out) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.mark.parametrize("kind", around.KINDS)
def test_the_simulator_gives_the_cpus_bits(simulated, kind):
    arrays = around.expected(kind)
    assert len(arrays) == sum(name.startswith(f"{kind}.") for name in simulated)
    names = [f"step {k}, {name}" for k in range(len(around.on_cpu(kind).steps)) for name in ("u", *around.Up._fields)]
    for i, name in enumerate([*names, *around.Slab._fields]):
        assert simulated[f"{kind}.{i}"].tobytes() == arrays[i].tobytes(), name


def test_the_samples_hold_all_that_can_happen():
    """Flags that rise and fall, by every component, gaps and streams that start anew: else the above says little."""
    ups = [step.up for kind in around.KINDS for step in around.on_cpu(kind).steps]
    downs = [step.down for kind in around.KINDS for step in around.on_cpu(kind).steps]
    edges = np.concatenate([up.edge for up in ups])
    causes = np.concatenate([up.cause for up in ups])
    assert {-1, 0, 1} == set(edges.tolist())
    assert set(range(6)) <= set((causes[causes >= 0] % 8).tolist())
    assert any(up.missing.all(axis=1).any() for up in ups)
    assert any((down.has & around.HAS_RESET).any() for down in downs)
    learned = around.on_cpu("adaptive")
    assert not np.array_equal(learned.begin.adapt, learned.end.adapt)


def test_no_two_threads_race(simulated):
    races = json.loads(str(simulated["races"]))
    assert set(races) == set(around.KINDS) - {"large"}
    assert all(len(found) == around.STEPS and not any(found) for found in races.values())


@compiler
@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("name", around.PARTS)
def test_machine_code(name, capability):
    m = assembled(*around.PARTS[name], capability)
    assert inexact(m.ptx) == []
    assert (".f64" in m.ptx) == (name in ("before", "online"))  # as on the CPU
    assert ".local" not in m.ptx
    assert m.spills == 0
    assert m.registers <= 168
    assert m.shared <= 24 * 1024
    assert m.blocks >= LAUNCH[1]
