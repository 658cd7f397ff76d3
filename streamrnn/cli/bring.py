"""`streamrnn import`: a network of PyTorch, ONNX or Keras as a model file, compared with the original."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigError
from .options import ForceOption

__all__ = ["bring"]

_LISTS = ("features", "units", "mean", "scale", "quantiles", "order")
_TEXTS = ("head", "spread", "nonlinearity", "output", "config")
_WHOLE = ("horizon",)
_KINDS = {"detector": dict, **dict.fromkeys(_LISTS, list), **dict.fromkeys(_TEXTS, str), **dict.fromkeys(_WHOLE, int)}
_BY_LIBRARY = {"torch": ("order", "nonlinearity"), "onnx": ("output",), "keras": ("config",)}


def bring(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A .pt, .safetensors, .onnx, .keras or .h5 file.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The model file to write.")],
    library: Annotated[
        str | None, typer.Option("--from", metavar="LIBRARY", help="torch, onnx or keras. Default: the file's name.")
    ] = None,
    meta: Annotated[
        Path | None,
        typer.Option(metavar="TOML", help="What follows here, in a file. Default: SOURCE's name with .toml, if there."),
    ] = None,
    features: Annotated[str | None, typer.Option(metavar="A,B,...", help="Names of the channels.")] = None,
    units: Annotated[str | None, typer.Option(metavar="A,B,...", help="Units of the channels.")] = None,
    head: Annotated[str | None, typer.Option(help="What y is: forecast, classify or regress.")] = None,
    horizon: Annotated[
        str | None, typer.Option(metavar="N", help="How many samples ahead a forecast is. Default: 1.")
    ] = None,
    spread: Annotated[
        str | None, typer.Option(help="What stands behind a forecast's means in y: none, gaussian or quantile.")
    ] = None,
    quantiles: Annotated[str | None, typer.Option(metavar="LOW,HIGH", help="Those of --spread quantile.")] = None,
    mean: Annotated[str | None, typer.Option(metavar="A,B,...", help="Subtracted from the channels.")] = None,
    scale: Annotated[str | None, typer.Option(metavar="A,B,...", help="What they are then divided by.")] = None,
    detector: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A setting of the detector; may be given again.")
    ] = None,
    order: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="PyTorch: the modules, and activations, one after the other.")
    ] = None,
    nonlinearity: Annotated[str | None, typer.Option(help="PyTorch: tanh or relu, of an RNN in a state dict.")] = None,
    graph_output: Annotated[str | None, typer.Option(metavar="NAME", help="ONNX: the output that is y.")] = None,
    config: Annotated[str | None, typer.Option(metavar="JSON", help="Keras: to_json() of a file of weights.")] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="Largest difference from the original to accept.")] = 1e-4,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Run 1,000 steps against the original.")] = True,
    force: ForceOption = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> int:
    """Bring a network from PyTorch, ONNX or Keras.

    Writes a model file for serve, score and Model.load, after 1,000 steps against the original where its library is
    installed. What cannot be brought over is named; then nothing is written and the exit status is 2.

    Example: streamrnn import forecaster.onnx -o model.safetensors --features hr,spo2 --head forecast
    """
    from .tables import check_output

    flags = _Settings(
        {
            "features": features,
            "units": units,
            "head": head,
            "horizon": horizon,
            "spread": spread,
            "quantiles": quantiles,
            "mean": mean,
            "scale": scale,
            "order": order,
            "nonlinearity": nonlinearity,
            "output": graph_output,
            "config": config,
        },
        detector or [],
    )
    check_output(output, [source], force, (".safetensors",))
    model = _imported(source, library, meta, flags, check, tolerance)
    model.save(output)
    if json:
        from json import dumps

        print(dumps({"model": str(output), **model.describe()}))
    else:
        _tell(output, model)
    return 0


@dataclass
class _Settings:
    """Flags as they were written."""

    values: dict[str, str | None]
    detector: list[str] = field(default_factory=list)

    def over(self, below: Mapping[str, Any]) -> dict[str, Any]:
        """Settings of a file, and the flags above them."""
        merged = dict(below)
        for name, text in self.values.items():
            if text is not None:
                merged[name] = [part.strip() for part in text.split(",")] if name in _LISTS else text
        pairs = dict(below.get("detector", {}))
        for pair in self.detector:
            name, equals, value = pair.partition("=")
            if not equals:
                raise ConfigError(f"--detector {pair!r}: write it like --detector threshold=4")
            pairs[name.strip()] = _number(f"--detector {name.strip()}", value)
        if pairs:
            merged["detector"] = pairs
        for name in ("mean", "scale", "quantiles"):
            if name in merged:
                merged[name] = [_number(name, value) for value in merged[name]]
        if isinstance(merged.get("horizon"), str):
            merged["horizon"] = _whole("horizon", merged["horizon"])
        return merged


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{name}: {value!r} is not a number") from None


def _whole(name: str, value: str) -> int:
    number = _number(name, value)
    if not number.is_integer():
        raise ConfigError(f"{name}: {value!r} is not a whole number")
    return int(number)


def _imported(
    source: Path, library: str | None, meta: Path | None, flags: _Settings, check: bool, tolerance: float
) -> Any:
    from ..model import Model

    library = library or _library(source)
    if library not in _BY_LIBRARY:
        raise ConfigError(f"--from {library!r}: use one of {', '.join(_BY_LIBRARY)}")
    beside = source.with_suffix(".toml")
    chosen = meta or (beside if beside.is_file() else None)
    settings = flags.over({} if chosen is None else _read_meta(chosen))
    own = {name for names in _BY_LIBRARY.values() for name in names}
    for name in sorted(own & set(settings) - set(_BY_LIBRARY[library])):
        option = "graph-output" if name == "output" else name
        raise ConfigError(f"{name} says nothing about a network from {library}; leave it out (--{option})")
    readers: dict[str, Any] = {"torch": Model.from_torch, "onnx": Model.from_onnx, "keras": Model.from_keras}
    return readers[library](source, check=check, tolerance=tolerance, **settings)


def _library(source: Path) -> str:
    from ..model.importers import keras, onnx, torch

    for name, module in (("torch", torch), ("onnx", onnx), ("keras", keras)):
        if source.suffix.lower() in module.SUFFIXES:
            return name
    known = ", ".join([*torch.SUFFIXES, *onnx.SUFFIXES, *keras.SUFFIXES])
    raise ConfigError(f"{source} has none of the endings {known}: say what it is with --from torch, onnx or keras")


def _read_meta(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    for name, value in data.items():
        kind = _KINDS.get(name)
        if kind is None:
            raise ConfigError(f"{path} has an unknown key {name!r}; known are {', '.join(_KINDS)}")
        if not isinstance(value, kind):
            what = {dict: "table", list: "list", str: "text in quotes", int: "whole number"}[kind]
            raise ConfigError(f"{name} in {path} is {value!r:.60}; it must be a {what}")
    return data


def _tell(output: Path, model: Any) -> None:
    from .info import parity_words

    provenance = model.spec.provenance
    print(f"{output}: {model.spec.head}, {model.spec.n_in} in, {model.spec.n_out} out, {model.parameters:,} parameters")
    for layer in model.spec.layers:
        print(f"  {layer}")
    if model.spec.readout == "linear":
        print(f"  readout {model.spec.layers[-1].width} -> {model.spec.n_out}")
    print(parity_words(provenance["parity"]))
    for note in provenance.get("notes", []):
        print(f"note: {note}")
