"""Traffic for the ingest socket: sound messages in every encoding that msgpack has for them, and damaged ones."""

from __future__ import annotations

import random

import msgpack
import numpy as np
from hypothesis import strategies as st

__all__ = ["token_traffic", "traffic"]


class Encoder:
    """Msgpack in any of the forms that a value may take, chosen at random."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def integer(self, v):
        forms = []
        if 0 <= v < 128 or -32 <= v < 0:
            forms.append(bytes([v & 0xFF]))
        for code, n in ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8)):
            if 0 <= v < 1 << 8 * n:
                forms.append(bytes([code]) + v.to_bytes(n, "big"))
        for code, n in ((0xD0, 1), (0xD1, 2), (0xD2, 4), (0xD3, 8)):
            if -(1 << 8 * n - 1) <= v < 1 << 8 * n - 1:
                forms.append(bytes([code]) + v.to_bytes(n, "big", signed=True))
        return self.random.choice(forms)

    def sized(self, n, forms):
        return self.random.choice([head for most, head in forms if n <= most])

    def string(self, s):
        raw = s.encode() if isinstance(s, str) else s
        n = len(raw)
        forms = [(31, bytes([0xA0 | n & 31])), (255, bytes([0xD9, n & 255])), (65535, b"\xda" + n.to_bytes(2, "big"))]
        return self.sized(n, [*forms, (1 << 32, b"\xdb" + n.to_bytes(4, "big"))]) + raw

    def binary(self, raw):
        n = len(raw)
        forms = [(255, bytes([0xC4, n & 255])), (65535, b"\xc5" + (n & 65535).to_bytes(2, "big"))]
        return self.sized(n, [*forms, (1 << 32, b"\xc6" + n.to_bytes(4, "big"))]) + raw

    def array(self, items):
        n = len(items)
        forms = [(15, bytes([0x90 | n & 15])), (65535, b"\xdc" + n.to_bytes(2, "big"))]
        return self.sized(n, [*forms, (1 << 32, b"\xdd" + n.to_bytes(4, "big"))]) + b"".join(items)

    def map(self, pairs):
        n = len(pairs)
        self.random.shuffle(pairs)
        forms = [(15, bytes([0x80 | n & 15])), (65535, b"\xde" + n.to_bytes(2, "big"))]
        head = self.sized(n, [*forms, (1 << 32, b"\xdf" + n.to_bytes(4, "big"))])
        return head + b"".join(key + value for key, value in pairs)

    def value(self, v):
        if v is None or isinstance(v, bool):
            return msgpack.packb(v)
        if isinstance(v, int):
            return self.integer(v)
        if isinstance(v, float):
            fits = not np.isfinite(v) or abs(v) < 3e38
            return msgpack.packb(v, use_single_float=fits and self.random.random() < 0.5)
        if isinstance(v, str):
            return self.string(v)
        if isinstance(v, bytes):
            return self.binary(v)
        if isinstance(v, msgpack.ExtType):
            return msgpack.packb(v)
        if isinstance(v, list):
            return self.array([self.value(item) for item in v])
        return self.map([(self.value(key), self.value(item)) for key, item in v.items()])


streams = st.sampled_from(["a", "b", "ward/ä", "c" * 40, "d" * 200, "e", "f"])
number = st.one_of(
    st.floats(-1e3, 1e3, width=32),
    st.integers(-300, 300),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=True, allow_infinity=True),
    st.none(),
)
width = st.sampled_from([2, 2, 2, 2, 1, 3])
vectors = width.flatmap(lambda n: st.lists(number, min_size=n, max_size=n))
packed = width.flatmap(
    lambda n: st.lists(st.floats(-9, 9, width=32) | st.just(float("nan")), min_size=n, max_size=n)
).map(lambda values: np.array(values, "<f4").tobytes())
leaf = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=5), st.binary(max_size=5)
)
anything = st.recursive(
    leaf | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=20)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(leaf, inner, max_size=3),
    max_leaves=8,
)
times = st.integers(0, 50) | st.integers(0, 9) | st.sampled_from([-(2**63), -5, 2**62, 2**63, 1.5, None, True, "now"])
counts = st.integers(0, 12) | st.sampled_from([2**63, 2**64 - 1, -1, None, 1.0, "x"])
sessions = st.sampled_from(["s", b"s", "t", "ä" * 32, b"x" * 65, b"\xff", None, 5])
resets = st.sampled_from([True, True, True, False, None, 1])
wrong_topics = [
    b"",
    b"in/",
    b"in//",
    b"in/a",
    b"in/\xff/",
    b"in/\x07/",
    b"out/a/",
    b"blocks/",
    b"in/" + b"x" * 201 + b"/",
]
extras = st.dictionaries(st.sampled_from(["z", "xx", "sessions"]) | st.integers(0, 3) | st.none(), anything, max_size=2)


@st.composite
def samples(draw):
    fields = {"x": draw(vectors | packed)}
    for key, values, share in (
        ("t", times, 0.4),
        ("seq", counts, 0.5),
        ("session", sessions, 0.3),
        ("reset", resets, 0.3),
    ):
        if draw(st.floats(0, 1)) < share:
            fields[key] = draw(values)
    if draw(st.booleans()):
        fields |= draw(extras)
    return b"in/" + draw(streams).encode() + b"/", fields


@st.composite
def blocks(draw):
    n, n_in = draw(st.integers(1, 20)), draw(st.sampled_from([2, 2, 2, 1, 3]))
    rows = np.array(draw(st.lists(st.floats(-9, 9, width=32), min_size=n * n_in, max_size=n * n_in)), "<f4")
    ids = draw(st.lists(streams, min_size=n, max_size=n) | streams)
    fields = {"ids": ids, "x": rows.tobytes()}
    if draw(st.booleans()):
        fields["t"] = np.array(draw(st.lists(st.integers(0, 60), min_size=n, max_size=n)), "<i8").tobytes()
    if draw(st.booleans()):
        fields["seq"] = np.array(draw(st.lists(st.integers(0, 12), min_size=n, max_size=n)), "<u8").tobytes()
    if draw(st.booleans()):
        fields["n"] = draw(st.sampled_from([n, n, n, n + 1, None, -1, True]))
    if draw(st.booleans()):
        fields["session"] = draw(sessions)
    return b"block/", fields | draw(extras)


fine = st.integers(0, 36)
token = st.one_of(*[fine] * 6, st.sampled_from([37, -1, 2**63, 2**64 - 1, 1.0, None, True, "a", b"\x07"]))


@st.composite
def token_samples(draw):
    topic, fields = draw(samples())
    if draw(st.integers(0, 9)) != 5:  # else it is of another kind
        fields["x"] = draw(token)
    return topic, fields


@st.composite
def token_blocks(draw):
    topic, fields = draw(blocks())
    n = len(fields["ids"]) if isinstance(fields["ids"], list) else draw(st.integers(1, 20))
    if draw(st.integers(0, 9)) != 5:
        fields["x"] = draw(st.lists(fine, min_size=n, max_size=n))
    if draw(st.integers(0, 9)) == 5 and isinstance(fields["x"], list):
        fields["x"][draw(st.integers(0, n - 1))] = draw(token)
    return topic, fields


@st.composite
def traffic(draw, kinds=None):
    """Messages as frames: most are sound, in all encodings; others are damaged, or nonsense."""
    encoder = Encoder(draw(st.integers(0, 2**32)))
    messages = []
    for topic, fields in draw(
        st.lists(samples() | samples() | blocks() if kinds is None else kinds, min_size=1, max_size=40)
    ):
        frames = [topic, encoder.value(fields)]
        damage = draw(st.integers(0, 30))
        if damage == 0:
            frames[1] = frames[1][: draw(st.integers(0, len(frames[1])))]
        elif damage == 1:
            body = bytearray(frames[1])
            body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
            frames[1] = bytes(body)
        elif damage == 2:
            frames[1] += draw(st.binary(min_size=1, max_size=3))
        elif damage == 3:
            frames[0] = draw(
                st.sampled_from([b"", b"in/", b"in//", b"in/a", b"in/\xff/", b"in/\x07/", b"out/a/", b"blocks/"])
            )
        elif damage == 4:
            frames = draw(st.sampled_from([frames[:1], [*frames, b""], [*frames, b"x", b"y"], [b""]]))
        elif damage == 5:
            frames[1] = draw(st.binary(max_size=30))
        elif damage == 6:
            frames[1] = frames[1][:1] + frames[1][1:] * 2  # keys that are there twice
        messages.append(frames)
    return messages


def token_traffic():
    """The same for a model of 37 tokens."""
    return traffic(token_samples() | token_samples() | token_blocks())
