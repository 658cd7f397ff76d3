"""What a step of a model costs: operations, bytes, and about how long."""

from __future__ import annotations

from dataclasses import dataclass

from .layers import EmbeddingSpec
from .spec import ModelSpec, array_shapes

__all__ = ["Cost", "cost_of"]

# Fitted by benchmarks on one core of an AMD Zen 5 at 3 to 4 GHz with AVX-512: within a factor of about 1.5 there.
_BURST_NS = 70.0  # a sample among hundreds, whatever the network
_LAYER_NS = 40.0  # each of its layers
_BURST_PER_NS = 40.0  # multiply-adds that one weight, read once for a dozen streams, allows
_ALONE_NS = 1600.0  # one call from Python
_ALONE_PER_NS = ((48 << 10, 40.0), (1 << 20, 20.0), (1 << 62, 4.0))  # by bytes of weights: first cache, second, beyond
_LEARN_PER_NS = 4.5  # squares of regressors that the online readout's update gets through


@dataclass(frozen=True)
class Cost:
    """Of one sample: floating-point operations of the products (a multiply-add is two), bytes of weights and of state
    that they touch, and predicted microseconds of a sample in a large burst and of one sample in a call from Python."""

    flops: int
    weight_bytes: int
    state_bytes: int
    burst_us: float
    alone_us: float


def cost_of(spec: ModelSpec, state_bytes: int) -> Cost:
    """The cost of a model's step, whose streams keep `state_bytes` each.

    >>> from streamrnn import Model
    >>> cost_of(Model.random("lstm", n_in=4, hidden=64, n_out=4).spec, 1024).flops
    35328
    """
    products = sum(layer.multiplications() for layer in spec.layers)
    learning = 0
    if spec.readout == "linear":
        products += spec.n_out * spec.layers[-1].width
    elif spec.readout == "online":
        learning = spec.n_features**2
        products += spec.n_out * spec.n_features
    weights = 4 * sum(_size(shape) for shape in array_shapes(spec).values())
    first = spec.layers[0]
    if isinstance(first, EmbeddingSpec):
        weights -= 4 * (first.n_tokens - 1) * first.width  # one row of the table
    alone = next(rate for limit, rate in _ALONE_PER_NS if weights <= limit)
    learn_ns = learning / _LEARN_PER_NS
    return Cost(
        flops=2 * (products + 2 * learning),
        weight_bytes=weights,
        state_bytes=state_bytes,
        burst_us=(_BURST_NS + len(spec.layers) * _LAYER_NS + products / _BURST_PER_NS + learn_ns) / 1000,
        alone_us=(_ALONE_NS + len(spec.layers) * _LAYER_NS + products / alone + learn_ns) / 1000,
    )


def _size(shape: tuple[int, ...]) -> int:
    n = 1
    for side in shape:
        n *= side
    return n
