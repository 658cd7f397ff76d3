"""What NVIDIA's compiler makes of the kernels gives the CPU's bits: their PTX, run one instruction at a time."""

from __future__ import annotations

import pytest

pytest.importorskip("numba.cuda", reason="this Numba has no CUDA target; pip install 'streamrnn[cuda]'")

import around
import engines
import twins
from assembled import assembled, machine, ptxas
from instructed import gpu
from ptx import run

from streamrnn._cuda import SIMULATED
from streamrnn.kernels.cuda.product import THREADS, TILE

pytestmark = pytest.mark.skipif(
    ptxas() is None or SIMULATED, reason="no wheels that compile for a GPU; pip install 'streamrnn[cuda]'"
)

CAPABILITY = (9, 0)


@pytest.fixture(scope="module")
def step():
    """A step around a network."""
    return assembled(around.around, around.AROUND, CAPABILITY).ptx


def differing(kind, ptx):
    """Which arrays are not the CPU's, by number."""
    answers, slab = around.by_instructions(kind, ptx, 1 + list(around.KINDS).index(kind) % 3)
    expected = around.expected(kind)
    return [i for i, (a, b) in enumerate(zip([*answers, *slab], expected, strict=True)) if a.tobytes() != b.tobytes()]


@pytest.mark.parametrize("kind", around.KINDS)
def test_around_a_network(step, kind):
    assert differing(kind, step) == []


@pytest.mark.parametrize(("instruction", "other"), [("sqrt.rn.f64", "abs.f64"), ("bar.sync \t0;", "")])
def test_another_instruction_is_seen(step, instruction, other):
    assert instruction in step
    assert differing("adaptive", step.replace(instruction, other))


def test_what_may_round_in_two_ways_is_not_run(step):
    with pytest.raises(KeyError, match="mul may round"):
        differing("adaptive", step.replace("mul.rn.f64", "mul.f64"))


@pytest.mark.parametrize("case", twins.CASES, ids=lambda case: "-".join(map(str, case)))
def test_a_layer(case):
    arguments = twins.arguments(case, case.blocks * TILE)
    run(machine(case.kernel, CAPABILITY).ptx, case.blocks, THREADS, arguments)
    assert twins.written(case, arguments).tobytes() == twins.on_cpu(case).tobytes()


@pytest.mark.parametrize("kind", engines.COMPILED)
def test_an_engine(kind):
    model = engines.MODELS[kind]()
    with gpu():
        said = dict(engines.steps(model, "cuda"))
    expected = dict(engines.steps(model, "cpu"))
    assert set(said) == set(expected)
    assert [name for name in expected if said[name].tobytes() != expected[name].tobytes()] == []


def test_the_life_of_streams():
    """Evicted, reset, stepped one by one, and moved from a GPU to the CPU and back."""
    model = engines.MODELS["adaptive"]()
    with gpu():
        said = dict(engines.life(model, "cuda", "cpu"))
    for name, array in dict(engines.life(model, "cpu", "cpu")).items():
        assert said[name].tobytes() == array.tobytes(), name
