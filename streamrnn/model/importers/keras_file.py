"""Keras' files without Keras: .keras is a zip of JSON and HDF5, .h5 is HDF5 with JSON in an attribute.

Nothing in them is run: a layer's class is a name, its weights are arrays.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streamrnn.errors import SourceError

from .keras_config import Layer, layers_of
from .needs import need, reason
from .parts import Array, each, floats

__all__ = ["read_layers"]

_DAMAGED = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    RecursionError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What zipfile, h5py and json raise of bytes that are no Keras file."""

MAX_PART = 2**31
"""Bytes of the largest part of a .keras file that is unpacked."""


def read_layers(path: Path, config: Path | None) -> list[Layer]:
    """The layers of a .keras or .h5 file; `config` is the JSON of a file that holds weights alone."""
    h5py = need("h5py", f"reading {path.name}")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                text = json.loads(_part(archive, "config.json", path))
                weights = io.BytesIO(_part(archive, "model.weights.h5", path))
            with h5py.File(weights, "r") as file:
                return _new_layout(file, layers_of(text))
        with h5py.File(path, "r") as file:
            if "model_weights" in file:
                return _old_layout(file["model_weights"], layers_of(json.loads(file.attrs["model_config"])))
            return _new_layout(file, layers_of(_config(path, config)))
    except SourceError:
        raise
    except _DAMAGED as error:
        said = f"{type(error).__name__}: {reason(error)}"
        raise SourceError(f"{path} is no Keras file, or it is damaged ({said}): save the model again") from None


def _part(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    info = archive.getinfo(name)
    if info.file_size > MAX_PART:
        raise SourceError(f"{name} in {path} unpacks to {info.file_size} bytes; {MAX_PART} are read at most")
    return archive.read(info)


def _config(path: Path, config: Path | None) -> Any:
    if config is None:
        raise SourceError(
            f"{path} holds weights alone, which do not say what the layers are: give the file with the model's "
            "to_json() as config (--config), or save the whole model as .keras"
        )
    try:
        return json.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceError(f"cannot read {config}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{config} is not the JSON of a Keras model: {reason(error)}") from None


def _snake(name: str) -> str:
    """How Keras' saving names a class: LayerNormalization is layer_normalization, SimpleRNN simple_rnn."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _new_layout(file: Any, layers: list[tuple[str, dict[str, Any]]]) -> list[Layer]:
    """Groups layers/<class>, <class>_1, ... in the order of the model, each with vars or cell/vars."""
    root = file["layers"] if "layers" in file else file["_layer_checkpoint_dependencies"]
    seen: dict[str, int] = {}
    found, used = [], set()
    for kind, config in layers:
        snake = _snake(config.get("wrapper", kind))
        count = seen[snake] = seen.get(snake, -1) + 1
        group = root.get(f"{snake}_{count}" if count else snake)
        weights: list[Array] = []
        if group is not None:
            used.add(group.name)
            group = group["layer"] if "wrapper" in config else group
            where = group["cell"] if "cell" in group and len(group["cell"].get("vars", ())) else group
            variables = where.get("vars", {})
            for key in sorted(variables, key=int):
                if variables[key].dtype.kind != "f" and kind != "Normalization":
                    continue  # the seed of a dropout
                weights.append(_array(config, key, variables[key], file))
        found.append(Layer(kind, config, weights))
    loose = [name for name in _groups_with_weights(root) if not any(name.startswith(u) for u in used)]
    if loose:
        raise SourceError(f"weights {each(loose)} belong to no layer of the configuration")
    return found


def _groups_with_weights(root: Any) -> Iterator[str]:
    for key in root:
        group = root[key]
        for where in (group, group.get("cell", {})):
            if len(where.get("vars", ())):
                yield group.name


def _old_layout(root: Any, layers: list[tuple[str, dict[str, Any]]]) -> list[Layer]:
    """A group for each layer by its name, which lists its weights' names in order."""
    found, used = [], set()
    for kind, config in layers:
        name = str(config.get("name"))
        weights = []
        if name in root:
            group = root[name]
            used.add(name)
            for weight in group.attrs.get("weight_names", []):
                key = weight.decode() if isinstance(weight, bytes) else str(weight)
                if group[key].dtype.kind == "f" or kind == "Normalization":
                    weights.append(_array(config, key, group[key], root.file))
        found.append(Layer(kind, config, weights))
    loose = [n for n in root if n not in used and len(root[n].attrs.get("weight_names", []))]
    if loose:
        raise SourceError(f"weights {each(loose)} belong to no layer of the configuration")
    return found


def _array(config: dict[str, Any], key: str, data: Any, file: Any) -> Array:
    if data.file.filename != file.filename or data.external or data.is_virtual:
        raise SourceError(f"{key} of {config.get('name')} lies in another file, which is not followed")
    value = data[()]
    return floats(f"{key} of {config.get('name')}", value if value.dtype.kind == "f" else value.astype("f"))
