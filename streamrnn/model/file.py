"""One safetensors file a model: arrays, and the specification as JSON in the file's metadata. Nothing is unpickled."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load, save

from streamrnn.errors import ModelError

from .spec import ModelSpec, array_shapes
from .weights import Array

__all__ = ["KEY", "MAX_FILE", "MAX_HEADER", "read", "write"]

MAX_FILE = 2**31
"""Bytes of the largest model file that is opened."""

MAX_HEADER = 2**24
"""Bytes of the largest safetensors header that is parsed."""

KEY = "streamrnn"
"""Of the metadata, where the specification stands."""

_LENGTH = 8
"""Bytes that hold the header's length, in front of it."""


def write(path: str | os.PathLike[str], spec: ModelSpec, arrays: dict[str, Array]) -> None:
    """Write atomically: a reader sees the old file or the new one, never half of it."""
    path = Path(path)
    data = save(dict(sorted(arrays.items())), metadata={KEY: spec.to_json()})
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read(path: str | os.PathLike[str]) -> tuple[ModelSpec, dict[str, Array]]:
    """The specification and the raw arrays; a file that is not a whole streamrnn model is a ModelError."""
    path = Path(path)
    data = _bytes(path)
    header, body = _header(path, data)
    text = header.get("__metadata__", {}).get(KEY)
    if not isinstance(text, str):
        raise ModelError(f"{path} is a safetensors file without streamrnn metadata; it is not a streamrnn model")
    try:
        spec = ModelSpec.from_json(text)
        _check_header(spec, header)
        _check_places(spec, header, body, len(data))
        return spec, load(data)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{path} is damaged: {error}") from None


def _bytes(path: Path) -> bytes:
    """What a regular file holds, which may be MAX_FILE bytes."""
    try:
        with open(path, "rb", opener=_open_regular) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE:
                raise ModelError(f"{path} has {size} bytes; a model file may have {MAX_FILE}")
            data = file.read(size + 1)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > size:
        raise ModelError(f"{path} grew beyond its {size} bytes while it was read; write it whole and then rename it")
    return data


def _open_regular(path: str, flags: int) -> int:
    """A file descriptor; a pipe or a device, which may have no end, is a ModelError."""
    # Opening a pipe waits for its writer unless told not to.
    fd = os.open(path, flags | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ModelError(f"{path} is not a regular file; a model is one, as Model.save writes it")
    return fd


def _header(path: Path, data: bytes) -> tuple[dict[str, dict[str, object]], int]:
    """The header, and where the tensors' bytes begin."""
    if len(data) < _LENGTH:
        raise ModelError(f"{path} is not a safetensors file: it has {len(data)} bytes, fewer than any")
    length = int.from_bytes(data[:_LENGTH], "little")
    body = _LENGTH + length
    if body > len(data) and length > MAX_HEADER:
        raise ModelError(f"{path} is not a safetensors file: it begins as text or another format does")
    if body > len(data):
        raise ModelError(
            f"{path} is truncated, or not a safetensors file: its header needs bytes {_LENGTH} to {body}; "
            f"the file ends at {len(data)}"
        )
    if length > MAX_HEADER:
        raise ModelError(f"{path} has a header of {length} bytes; a model file's may have {MAX_HEADER}")
    try:
        header = json.loads(data[_LENGTH:body])
    except (ValueError, RecursionError):
        raise ModelError(f"{path} is not a safetensors file: its header is not JSON") from None
    if not isinstance(header, dict) or not all(isinstance(v, dict) for v in header.values()):
        raise ModelError(f"{path} is not a safetensors file: its header is not a map of tensors")
    return header, body


def _check_header(spec: ModelSpec, header: dict[str, dict[str, object]]) -> None:
    """Shapes and dtypes before any array is made, so that an error can name the tensor."""
    shapes = array_shapes(spec)
    for name in header:
        if name != "__metadata__" and name not in shapes:
            raise ModelError(f"unknown tensor {name!r}; this model has {', '.join(shapes)}")
    for name, shape in shapes.items():
        entry = header.get(name)
        if entry is None:
            raise ModelError(f"tensor {name!r} is missing; its shape must be {shape}")
        if entry.get("dtype") != "F32" or entry.get("shape") != list(shape):
            raise ModelError(
                f"tensor {name!r} is {entry.get('dtype')} of shape {entry.get('shape')}; "
                f"it must be F32 of shape {list(shape)}"
            )


def _check_places(spec: ModelSpec, header: dict[str, dict[str, object]], body: int, size: int) -> None:
    """The tensors' bytes, from byte `body` on, follow each other without a hole up to the file's last byte."""
    places = []
    for name, shape in array_shapes(spec).items():
        offsets = header[name].get("data_offsets")
        if (
            not isinstance(offsets, list)
            or [type(v) for v in offsets] != [int, int]
            or not 0 <= offsets[0] <= offsets[1]
        ):
            raise ModelError(f"tensor {name!r} has data_offsets {offsets!r:.60}; they must be [begin, end] in bytes")
        begin, end = offsets
        need = 4 * math.prod(shape)
        if end - begin != need:
            raise ModelError(f"tensor {name!r} spans {end - begin} bytes; its shape {shape} needs {need}")
        places.append((begin, end, name, shape))
    at = 0
    for begin, end, name, shape in sorted(places):
        if begin != at:
            raise ModelError(f"tensor {name!r} begins at {body + begin} where what is before it ends at {body + at}")
        if body + end > size:
            raise ModelError(
                f"tensor {name!r} needs bytes {body + begin} to {body + end} for shape {shape}; the file ends at "
                f"{size}: it is truncated; copy it again"
            )
        at = end
    if body + at < size:
        raise ModelError(
            f"the file has {size - body - at} bytes after its last tensor {name!r}, which ends at {body + at}"
        )
