"""A model laid out for compiled code: one flat buffer of packed weights and a table that says where things are.

The layout is data, not code: one compiled `advance` runs every model, so nothing is compiled when a model is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from streamrnn._jit import kernel
from streamrnn.kernels import normalise, rls, score, spread, surprise
from streamrnn.kernels.product import STREAMS, pack, padded, padded_bias
from streamrnn.kernels.vector import LANES
from streamrnn.model import EmbeddingSpec, LayerSpec, Model, ModelSpec

from .packing import ACTIVATION_CODES, Row, pack_layer, scratch_columns

T = TypeVar("T", bound=np.generic)

__all__ = [
    "Layout",
    "Program",
    "Sizes",
    "Slab",
    "Work",
    "build_program",
    "new_slab",
    "new_work",
    "read_sizes",
    "state_names",
]

TILE = 48
"""Streams that one wave steps together: enough to reuse each weight from the nearest cache."""


class Sizes(NamedTuple):
    """Widths, kinds and offsets of a program, as plain numbers.

    `x_held`, `seen`, `u_prev` and `y_prev` are columns of a slab's `state`; `p`, `w`, `pending` and `stats` of its
    `adapt`; `w_out`, `b_out` and `mean` places in the weights; `features` the online readout's regressors; `ring` its
    length; `scored` whether there is a detector. `y_prev` holds `kept` outputs of each of the last `horizon` samples;
    `spread` is one of kernels.spread, `tokens` how many there are where the input is one, else 0.
    """

    n_in: int
    n_net: int
    n_out: int
    head: int
    online: int
    normaliser: int
    clock: int
    ring: int
    x_held: int
    seen: int
    u_prev: int
    y_prev: int
    p: int
    w: int
    pending: int
    stats: int
    features: int
    w_out: int
    b_out: int
    mean: int
    scored: int
    horizon: int
    kept: int
    spread: int
    tokens: int


FORECAST, CLASSIFY, REGRESS = range(3)
NORMALISER_NONE, NORMALISER_FIXED, NORMALISER_CAUSAL = range(3)
_ONLINE = {"p": "P", "w": "w", "pending": "pending", "stats": "stats"}
HEAD_CODES = {"forecast": FORECAST, "classify": CLASSIFY, "regress": REGRESS}
SPREAD_CODES = {"none": spread.NONE, "gaussian": spread.GAUSSIAN, "quantile": spread.QUANTILE}
NORMALISER_CODES = {"none": NORMALISER_NONE, "fixed": NORMALISER_FIXED, "causal": NORMALISER_CAUSAL}

NO_READOUT = -1
"""In the place of the readout's weights where the last layer's output is y."""

LINE = 64
"""Bytes of a cache line."""


class Program(NamedTuple):
    """sizes int64, in the order of `Sizes`; layers int64, a `packing.Row` each; weights float32 (all,), each matrix as
    `product.pack` gives it; detector and learning float64, the values of their SETTINGS."""

    sizes: npt.NDArray[np.int64]
    layers: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    detector: npt.NDArray[np.float64]
    learning: npt.NDArray[np.float64]


@kernel
def read_sizes(program: Program) -> Sizes:
    """The program's sizes as a `Sizes` of numbers."""
    s = program.sizes
    return Sizes(
        s[0],
        s[1],
        s[2],
        s[3],
        s[4],
        s[5],
        s[6],
        s[7],
        s[8],
        s[9],
        s[10],
        s[11],
        s[12],
        s[13],
        s[14],
        s[15],
        s[16],
        s[17],
        s[18],
        s[19],
        s[20],
        s[21],
        s[22],
        s[23],
        s[24],
    )


class Slab(NamedTuple):
    """What belongs to streams, a row for each slot: `state` float32 (h and c of every layer, then the last sample seen,
    which channels were ever seen, the network's last input, the last output), `adapt` float64 (P, w and pending update
    of the online readout, normaliser), `detector` float64, `ring` float32 (capacity, length, n_in + n_out + 1)."""

    state: npt.NDArray[np.float32]
    adapt: npt.NDArray[np.float64]
    detector: npt.NDArray[np.float64]
    ring: npt.NDArray[np.float32]


class Work(NamedTuple):
    """Scratch of one thread: x, u, z float32 (TILE, ...), u the network's input and then what layers without state hand
    on (Layout.outputs), rows and slots int64 (TILE,), phi, gain float64 (F,),
    forecast float32 (n_out,)."""

    x: npt.NDArray[np.float32]
    u: npt.NDArray[np.float32]
    z: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]
    slots: npt.NDArray[np.int64]
    outs: npt.NDArray[np.int64]
    phi: npt.NDArray[np.float64]
    gain: npt.NDArray[np.float64]
    forecast: npt.NDArray[np.float32]


def _lines(n: int, dtype: npt.DTypeLike) -> int:
    """Elements that n of them take in whole cache lines."""
    line = LINE // np.dtype(dtype).itemsize
    return -(-n // line) * line


def zeros(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Zeros that begin with a cache line: a vector that straddles two takes twice the time to load."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.zeros(size + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + size].view(dtype).reshape(shape)


def aligned(array: npt.NDArray[T]) -> npt.NDArray[T]:
    """A copy that begins with a cache line."""
    copy = zeros(array.shape, array.dtype)
    copy[...] = array
    return copy


class Layout(NamedTuple):
    """Where each named part of a stream's row stands: name -> (array, first column, shape); and where in the scratch
    `Work.u`, behind the network's input, each layer without state puts what it hands on."""

    parts: dict[str, tuple[str, int, tuple[int, ...]]]
    outputs: dict[int, int]
    u_width: int
    state_width: int
    adapt_width: int
    detector_width: int


def _kept(spec: ModelSpec) -> int:
    """Outputs of a sample that its stream remembers: of a forecast those that the next samples are held against."""
    return spec.n_point if spec.head == "forecast" else spec.n_out


def make_layout(spec: ModelSpec) -> Layout:
    """Give every quantity of a stream a place in its rows, each float32 row a whole number of cache lines."""
    parts: dict[str, tuple[str, int, tuple[int, ...]]] = {}
    outputs: dict[int, int] = {}
    at, behind = 0, spec.n_net
    for i, layer in enumerate(spec.layers):
        if not isinstance(layer, LayerSpec):
            outputs[i] = behind
            behind += layer.width
            continue
        parts[f"h_l{i}"] = ("state", at, (layer.width,))
        if layer.cell == "lstm":
            parts[f"c_l{i}"] = ("state", at + layer.width, (layer.hidden,))
        at += layer.state_size
    for name, width in (
        ("x_held", spec.n_in),
        ("seen", spec.n_in),
        ("u_prev", spec.n_net),
    ):
        parts[name] = ("state", at, (width,))
        at += width
    kept = _kept(spec)
    parts["y_prev"] = ("state", at, (kept,) if spec.horizon == 1 else (spec.horizon, kept))
    at += spec.horizon * kept
    adapt = 0
    if spec.readout == "online":
        F = rls.whole(spec.n_features)
        shapes: dict[str, tuple[int, ...]] = {
            "P": (rls.packed(F),),
            "w": (spec.n_out, F),
            "pending": (F + 1,),
            "stats": (spec.n_in, normalise.STATS),
        }
        for name, shape in shapes.items():
            parts[name] = ("adapt", adapt, shape)
            adapt += _lines(math.prod(shape), np.float64)
    detector = surprise.SIZE if spec.tokens else score.size(spec.n_in, spec.clock)
    parts["detector"] = ("detector", 0, (detector,))
    return Layout(parts, outputs, behind, _lines(at, np.float32), adapt, detector)


def state_names(spec: ModelSpec) -> tuple[str, ...]:
    """Names of the arrays that make up a stream's state."""
    return tuple(make_layout(spec).parts)


def _row(model: Model, i: int, layout: Layout, place: Callable[[npt.NDArray[np.float32]], int]) -> tuple[int, ...]:
    """A layer's row of the table, its weights placed."""
    layer, parts = model.spec.layers[i], pack_layer(model, i)
    recurrent = isinstance(layer, LayerSpec)
    stands = layout.parts[f"h_l{i}"][1] if recurrent else layout.outputs[i]
    acts = [ACTIVATION_CODES[name] for name in parts.activations]
    return Row(
        kind=parts.kind,
        n_in=layer.n_in,
        hidden=layer.hidden if isinstance(layer, LayerSpec) else 0,
        width=layer.width,
        stored=recurrent,
        out=stands,
        w_ih=place(parts.W_ih),
        w_hh=place(parts.W_hh),
        w_2=place(parts.W_2),
        size_2=layer.n_tokens if isinstance(layer, EmbeddingSpec) else parts.W_2.size,
        bias=place(padded_bias(parts.bias)),
        other=place(parts.other),
        limit=place(np.array([parts.limit], np.float32)),
        act_gate=acts[0],
        act=acts[1],
        act_out=acts[2],
    )


def build_program(model: Model, ring: int) -> Program:
    """Pack a model's weights and write down where each part of the arithmetic finds its numbers."""
    spec, layout = model.spec, make_layout(model.spec)
    chunks: list[np.ndarray] = []
    used = 0

    def place(array: np.ndarray) -> int:
        nonlocal used
        flat = np.ascontiguousarray(array, np.float32).ravel()
        padded = np.zeros(_lines(flat.size, np.float32), np.float32)
        padded[: flat.size] = flat
        chunks.append(padded)
        start, used = used, used + padded.size
        return start

    layers = np.array([_row(model, i, layout, place) for i in range(len(spec.layers))], np.int64)
    online = spec.readout == "online"
    sizes = Sizes(
        n_in=spec.n_in,
        n_net=spec.n_net,
        n_out=spec.n_out,
        # Without a readout the last layer has made probabilities already.
        head=HEAD_CODES["regress" if spec.head == "classify" and spec.readout == "none" else spec.head],
        online=online,
        normaliser=NORMALISER_CODES[spec.normaliser],
        clock=spec.clock,
        ring=ring,
        **{name: layout.parts[name][1] for name in ("x_held", "seen", "u_prev", "y_prev")},
        **{field: layout.parts[name][1] if online else 0 for field, name in _ONLINE.items()},
        features=spec.n_features if online else 0,
        w_out=place(pack(model.arrays["readout.weight"].T)) if spec.readout == "linear" else NO_READOUT,
        b_out=place(padded_bias(model.arrays["readout.bias"])) if spec.readout == "linear" else NO_READOUT,
        # Mean, then scale, side by side.
        mean=place(np.concatenate([model.arrays["normaliser.mean"], model.arrays["normaliser.scale"]]))
        if spec.normaliser == "fixed"
        else 0,
        scored=score.looks({**score.SETTINGS, **spec.detector}),
        horizon=spec.horizon,
        kept=_kept(spec),
        spread=SPREAD_CODES[spec.spread],
        tokens=spec.tokens,
    )
    return Program(
        np.array(sizes, np.int64),
        layers,
        aligned(np.concatenate(chunks)),
        np.array([spec.detector.get(k, v) for k, v in score.SETTINGS.items()], np.float64),
        np.array([spec.learning.get(k, v) for k, v in rls.SETTINGS.items()], np.float64),
    )


def new_slab(model: Model, capacity: int, ring: int) -> Slab:
    """Zeroed rows for every slot. The operating system commits a page when it is first written, not before."""
    layout, spec = make_layout(model.spec), model.spec
    return Slab(
        zeros((capacity, layout.state_width), np.float32),
        zeros((capacity, layout.adapt_width), np.float64),
        zeros((capacity, layout.detector_width), np.float64),
        zeros((capacity, ring, spec.n_in + spec.n_out + 1), np.float32),
    )


def new_work(model: Model) -> Work:
    spec = model.spec
    widest = max(padded(spec.n_out), *(scratch_columns(layer) for layer in spec.layers))
    features = rls.whole(spec.n_features) if spec.readout == "online" else 0
    return Work(
        zeros((TILE, spec.n_in), np.float32),
        zeros((TILE, make_layout(spec).u_width), np.float32),
        zeros((STREAMS, _lines(widest + LANES, np.float32)), np.float32),
        np.arange(TILE, dtype=np.int64),
        np.zeros(TILE, np.int64),
        np.zeros(TILE, np.int64),
        zeros((features,), np.float64),
        zeros((features,), np.float64),
        zeros((spec.n_out,), np.float32),
    )
