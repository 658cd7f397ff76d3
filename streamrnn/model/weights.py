"""The numbers of a network: checked, read-only float32 arrays under PyTorch's names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from streamrnn.errors import ModelError

from .checks import integer, real
from .layers import GATES, LayerSpec
from .spec import ModelSpec, array_shapes

__all__ = ["MAX_WEIGHT", "Array", "Uniform", "adaptive_weights", "check_arrays", "random_weights"]

Array = npt.NDArray[np.float32]

MAX_WEIGHT = 1e12
"""No weight may be larger: with inputs clamped at the same limit, no sum in a network can overflow float32."""

SLOWEST = 1e6
"""Samples of the longest time constant: the leak of a slower unit would round to nothing."""


def check_arrays(spec: ModelSpec, arrays: Mapping[str, npt.ArrayLike]) -> Mapping[str, Array]:
    """The arrays that `spec` asks for, as read-only contiguous float32; anything else is a ModelError by name."""
    shapes = array_shapes(spec)
    unknown = sorted(map(str, set(arrays) - set(shapes)))
    if unknown:
        raise ModelError(f"unknown tensor {unknown[0]!r}; this model has {', '.join(shapes)}")
    checked: dict[str, Array] = {}
    for name, shape in shapes.items():
        if name not in arrays:
            raise ModelError(f"tensor {name!r} is missing; its shape must be {shape}")
        try:
            given = np.asarray(arrays[name])
        except (TypeError, ValueError) as error:
            raise ModelError(f"tensor {name!r} is no array: {error}; its shape must be {shape}") from None
        if given.dtype.kind != "f":
            raise ModelError(f"tensor {name!r} has dtype {given.dtype}; it must be float32 of shape {shape}")
        if given.shape != shape:
            raise ModelError(f"tensor {name!r} has shape {given.shape}; it must be {shape}")
        wrong = ~(np.abs(given) <= MAX_WEIGHT)
        if wrong.any():
            where = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise ModelError(
                f"tensor {name!r} of shape {shape} holds {given[where]} at {list(where)}; "
                f"every value must be finite and at most {MAX_WEIGHT:g} in size"
            )
        # A copy, so that no one else holds a writable view.
        array = np.array(given, dtype=np.float32, order="C")
        array.flags.writeable = False
        checked[name] = array
    for name in ("normaliser.scale", *(f"leak_l{i}" for i in range(len(spec.layers)))):
        if name in checked and not (checked[name] > 0).all():
            raise ModelError(
                f"tensor {name!r} must be positive everywhere; its smallest value is {checked[name].min()}"
            )
    for i in range(len(spec.layers)):
        leak = checked.get(f"leak_l{i}")
        if leak is not None and (leak > 1).any():
            raise ModelError(f"tensor 'leak_l{i}' must be at most 1 everywhere; its largest value is {leak.max()}")
    return MappingProxyType(checked)


class Uniform:
    """Random numbers whose bits do not depend on NumPy's version: the raw words of PCG64, whose stream is fixed."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(integer("seed", seed, 0))

    def __call__(self, shape: tuple[int, ...], bound: float = 1.0) -> Array:
        """float32 array of `shape`, uniform in [-bound, bound)."""
        words = np.asarray(self._bits.random_raw(math.prod(shape)), np.uint64)
        unit = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return ((2.0 * unit - 1.0) * bound).reshape(shape).astype(np.float32)


def random_weights(spec: ModelSpec, seed: int) -> dict[str, Array]:
    """Uniform in ±1/sqrt(hidden), PyTorch's default, with 1 added to forget gates' biases (Jozefowicz et al. 2015)."""
    uniform = Uniform(seed)
    out: dict[str, Array] = {}
    for i, layer in enumerate(spec.layers):
        bound = 1.0 / math.sqrt(layer.hidden if isinstance(layer, LayerSpec) else layer.n_in)
        for name, shape in layer.shapes(i).items():
            if name != f"leak_l{i}":
                out[name] = uniform(shape, bound)
            else:
                out[name] = np.ones(shape, np.float32)
        if isinstance(layer, LayerSpec) and layer.cell == "lstm":
            out[f"bias_ih_l{i}"][layer.hidden : 2 * layer.hidden] += np.float32(1.0)
        if layer.kind == "layer_norm":
            out[f"weight_l{i}"] += np.float32(1.0)
    shapes = array_shapes(spec)
    bound = 1.0 / math.sqrt(spec.layers[-1].width)
    for name in ("readout.weight", "readout.bias"):
        if name in shapes:
            out[name] = uniform(shapes[name], bound)
    if spec.normaliser == "fixed":
        out["normaliser.mean"] = np.zeros(spec.n_in, np.float32)
        out["normaliser.scale"] = np.ones(spec.n_in, np.float32)
    return out


def adaptive_weights(
    spec: ModelSpec, seed: int, radius: float, input_scale: float, fastest: float, slowest: float
) -> dict[str, Array]:
    """A reservoir: sizes of input and recurrent weights, and leaks spread evenly in octaves of time constants.

    A matrix of H by H independent entries in ±a has spectral radius near a sqrt(H / 3) (the circular law), so that
    the radius is set without an eigenvalue solver, whose last bits differ between machines. `fastest` and `slowest`
    are time constants in samples, from 1 to SLOWEST. Raises ModelError.
    """
    radius = real("radius", radius, 0.0, MAX_WEIGHT)
    input_scale = real("input_scale", input_scale, 0.0, MAX_WEIGHT)
    fastest = real("fastest", fastest, 1.0, SLOWEST)
    slowest = real("slowest", slowest, fastest, SLOWEST)
    uniform = Uniform(seed)
    (layer,) = spec.layers
    assert isinstance(layer, LayerSpec)
    H = layer.hidden
    octaves = H - 1 if H > 1 else 1
    tau = [fastest * (slowest / fastest) ** (j / octaves) for j in range(H)]
    return {
        "weight_ih_l0": uniform((GATES[layer.cell] * H, layer.n_in), input_scale),
        "weight_hh_l0": uniform((H, H), radius / math.sqrt(H / 3.0)),
        "bias_ih_l0": uniform((H,), 0.5),
        "bias_hh_l0": np.zeros(H, np.float32),
        # Rounded to 20 bits: pow() may differ in its last bit between mathematics libraries.
        "leak_l0": np.array([round(min(1.0, 1.0 / t) * 2**20) / 2**20 for t in tau], np.float32),
    }
