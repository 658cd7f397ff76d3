"""The GPU's kernels without a GPU: the CPU's bits in the simulator, no data race, and what is in their machine code."""

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
import chained
import engines
import twins
from assembled import ALL, CAPABILITIES, machine, ptxas, signature

from streamrnn._cuda import SIMULATED, assembly, inexact
from streamrnn.kernels.cuda.product import LAUNCH

compiler = pytest.mark.skipif(
    ptxas() is None or SIMULATED, reason="no wheels that compile for a GPU; pip install 'streamrnn[cuda]'"
)


def _simulated(name, folder):
    """What one of our programs writes in a process of its own, in which the simulator takes the CUDA target's place."""
    out = folder / "out.npz"
    # Coverage's tracing multiplies the simulator's time; what it would see there are kernels.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")} | {"NUMBA_ENABLE_CUDASIM": "1"}
    program = Path(__file__).with_name(name)
    subprocess.run([sys.executable, str(program), str(out)], env=environment, check=True, timeout=480)
    with np.load(out) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Every case of every kernel, and the races."""
    return _simulated("twins.py", tmp_path_factory.mktemp("twins"))


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Outputs and states of every network."""
    return _simulated("chained.py", tmp_path_factory.mktemp("chained"))


@pytest.mark.parametrize("case", twins.CASES, ids=lambda case: "-".join(map(str, case)))
def test_the_simulator_gives_the_cpus_bits(simulated, case):
    expected = twins.on_cpu(case)
    assert np.isfinite(expected).all()
    assert not np.array_equal(expected, twins.written(case, twins.arguments(case, 1)))  # something is computed
    assert simulated[str(twins.CASES.index(case))].tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", chained.NETWORKS)
def test_a_whole_network_has_the_engines_bits(networks, name):
    expected = chained.on_cpu(name)
    assert np.isfinite(expected["y"]).all()
    assert np.ptp(expected["y"], axis=1).any()  # streams differ
    for part, array in expected.items():
        assert networks[f"{name} {part}"].tobytes() == array.tobytes(), part


def test_no_two_threads_race_and_the_checker_would_find_them(simulated):
    races = json.loads(str(simulated["races"]))
    assert races.pop("racy") > 0
    assert set(races) == {"mended", *twins.KERNELS}
    assert not any(races.values())


@compiler
@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("name", ALL)
def test_machine_code(name, capability):
    m = machine(name, capability)
    assert inexact(m.ptx) == []
    assert (".f64" in m.ptx) == (name in ("norm.layer_norm", "chain.network"))  # as on the CPU
    assert ".local" not in m.ptx  # sums are in registers
    assert ("fma.rn.f32" in m.ptx) == (name != "embed.embed")
    # All kinds of layer at once, as no engine has them, are a few addresses too many for sm_80.
    assert m.spills <= (24 if (name, capability) == ("chain.network", (8, 0)) else 0)
    assert m.registers <= 168
    assert m.shared <= 24 * 1024
    assert m.blocks >= LAUNCH[1]


@compiler
def test_products_would_be_fused_with_sums_if_nobody_asked(monkeypatch):
    from contextlib import nullcontext

    import streamrnn._cuda

    monkeypatch.setattr(streamrnn._cuda, "exact", nullcontext)
    ptx = assembly(twins.twin("lstm.lstm"), signature("lstm.lstm"), (9, 0), LAUNCH)
    assert {"add.f32", "mul.f32"} <= set(inexact(ptx))


def test_what_rounds_otherwise_is_seen():
    exact = "add.rn.f32 %f1, %f2; fma.rn.f32; div.rn.f32; rcp.rn.f32; mul.wide.s32; add.s64; max.f32; sub.rn.f64;"
    assert inexact(exact) == []
    for name in ("mul.f32", "add.ftz.f32", "div.approx.f32", "div.full.f32", "ex2.approx.f32", "fma.rz.f32", "sub.f64"):
        assert inexact(f"  {name} %f1, %f2;"), name


def test_the_table_of_the_documents_has_every_kernel_that_is_looked_at():
    """Its registers are those of one version of NVIDIA's compiler; what is in it is ours."""
    told = (Path(__file__).parents[1] / "docs" / "cuda.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in told.splitlines() if line.count("|") == 8 and "%" in line]
    found = [(name.strip(), capability.strip()) for name, capability in rows]
    names = [*ALL, *(f"sample.{name}" for name in around.PARTS), *(f"a step: {kind}" for kind in engines.COMPILED)]
    assert found == [(name, "{}{}".format(*capability)) for name in names for capability in CAPABILITIES]
