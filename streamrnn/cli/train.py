"""`streamrnn train`: recordings in, a model out, with PyTorch (extra `train`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from .options import (
    ColumnsOption,
    DecimalCommaOption,
    EncodingOption,
    ForceOption,
    SkipBadRowsOption,
    StreamColumnOption,
    TimeFormatOption,
    TimeOption,
    TimeUnitOption,
    WhereOption,
    layout_of,
    settings_of,
)

if TYPE_CHECKING:
    from ..train import Names, Recording, Settings

__all__ = ["train"]

_DATA, _NET, _LOSS = "Data", "Network", "Loss and detector"
_OPT, _RUN = "Optimisation", "Run"


def train(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recordings: .csv, .csv.gz, .parquet, .npz.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="MODEL", help="The .safetensors file to write. Required, except with --diagnose."
        ),
    ] = None,
    force: ForceOption = False,
    # Data
    columns: ColumnsOption = None,
    label: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column of classes; empty: none.", rich_help_panel=_DATA)
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="The labels that count, in order. Default: all.", rich_help_panel=_DATA),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Columns that a regression gives.", rich_help_panel=_DATA)
    ] = None,
    units: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Units of the channels.", rich_help_panel=_DATA)
    ] = None,
    stream_column: StreamColumnOption = None,
    time: TimeOption = None,
    time_unit: TimeUnitOption = None,
    where: WhereOption = None,
    encoding: EncodingOption = "utf-8",
    decimal_comma: DecimalCommaOption = False,
    time_format: TimeFormatOption = None,
    skip_bad_rows: SkipBadRowsOption = False,
    validation: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Validation recordings; may be given again.", rich_help_panel=_DATA),
    ] = None,
    test: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Test recordings; may be given again.", rich_help_panel=_DATA),
    ] = None,
    split: Annotated[
        str, typer.Option(help="stream, time, or auto: by stream from ten streams on.", rich_help_panel=_DATA)
    ] = "auto",
    parts: Annotated[
        str, typer.Option(metavar="A,B,C", help="Shares of training, validation, test.", rich_help_panel=_DATA)
    ] = "0.7,0.15,0.15",
    split_gap: Annotated[
        int | None,
        typer.Option(help="Samples without a loss before a cut in time. Default: the horizon.", rich_help_panel=_DATA),
    ] = None,
    gap: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="Longer pauses start a stream anew. Default: never.", rich_help_panel=_DATA
        ),
    ] = None,
    # Network
    head: Annotated[
        str | None,
        typer.Option(
            help="forecast, classify, regress. Default: classify with --label, regress with --target.",
            rich_help_panel=_NET,
        ),
    ] = None,
    cell: Annotated[str, typer.Option(help="gru, lstm, elman or rnn_relu.", rich_help_panel=_NET)] = "gru",
    hidden: Annotated[str, typer.Option(metavar="N[,N...]", help="Units of each layer.", rich_help_panel=_NET)] = "32",
    layers: Annotated[
        int | None, typer.Option(help="Layers. Default: as many as --hidden has numbers.", rich_help_panel=_NET)
    ] = None,
    layer_norm: Annotated[
        bool, typer.Option("--layer-norm", help="Layer normalisation behind each layer.", rich_help_panel=_NET)
    ] = False,
    dropout: Annotated[float, typer.Option(help="Share of units left out in training.", rich_help_panel=_NET)] = 0.0,
    horizon: Annotated[int, typer.Option(help="Samples ahead of a forecast.", rich_help_panel=_NET)] = 1,
    tokens: Annotated[
        int, typer.Option(help="Above 0: the input is a token, a whole number below this.", rich_help_panel=_NET)
    ] = 0,
    embedding: Annotated[int, typer.Option(help="Numbers that stand for a token.", rich_help_panel=_NET)] = 32,
    init: Annotated[
        str, typer.Option(help="Recurrent matrices: orthogonal or uniform.", rich_help_panel=_NET)
    ] = "orthogonal",
    chrono: Annotated[
        int, typer.Option(help="Gates start with memories of up to so many samples.", rich_help_panel=_NET)
    ] = 0,
    clock: Annotated[
        bool, typer.Option("--clock", help="The time of day (UTC) as two more inputs.", rich_help_panel=_NET)
    ] = False,
    persist: Annotated[
        bool,
        typer.Option("--persist/--no-persist", help="Forecasts start as the last value.", rich_help_panel=_NET),
    ] = True,
    changes: Annotated[
        str | None,
        typer.Option(
            metavar="N[,N...]",
            help="See distances from running averages over so many samples, not levels: 2,5,17,65.",
            rich_help_panel=_NET,
        ),
    ] = None,
    # Loss
    loss: Annotated[
        str,
        typer.Option(
            help="forecast: gaussian, mse, huber, quantile; regress: mse, huber. Default: the first.",
            rich_help_panel=_LOSS,
        ),
    ] = "auto",
    quantiles: Annotated[
        str, typer.Option(metavar="LOW,HIGH", help="Of --loss quantile.", rich_help_panel=_LOSS)
    ] = "0.1,0.9",
    huber: Annotated[float, typer.Option(help="Where the Huber loss becomes a line.", rich_help_panel=_LOSS)] = 1.0,
    class_weights: Annotated[
        str, typer.Option(help="none, or balanced: rare classes count as much.", rich_help_panel=_LOSS)
    ] = "none",
    false_alarms: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            help="Calibrate the detector: 0.5/h a stream-hour, 2/1000 samples.",
            rich_help_panel=_LOSS,
        ),
    ] = None,
    detector: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="A setting of the detector; may be given again.", rich_help_panel=_LOSS
        ),
    ] = None,
    # Optimisation
    epochs: Annotated[int, typer.Option(help="Passes over the training data, at most.", rich_help_panel=_OPT)] = 40,
    patience: Annotated[
        int, typer.Option(help="Epochs that are no better before it stops; 0: never.", rich_help_panel=_OPT)
    ] = 8,
    rate: Annotated[float, typer.Option(help="AdamW's learning rate.", rich_help_panel=_OPT)] = 3e-3,
    weight_decay: Annotated[float, typer.Option(help="AdamW's.", rich_help_panel=_OPT)] = 1e-4,
    schedule: Annotated[str, typer.Option(help="cosine, plateau or constant.", rich_help_panel=_OPT)] = "cosine",
    warmup: Annotated[int, typer.Option(help="Steps over which the rate rises.", rich_help_panel=_OPT)] = 50,
    clip: Annotated[float, typer.Option(help="Largest norm of the gradient; 0: none.", rich_help_panel=_OPT)] = 1.0,
    spike: Annotated[
        float, typer.Option(help="Deviations by which a loss must rise to go back.", rich_help_panel=_OPT)
    ] = 20.0,
    retries: Annotated[int, typer.Option(help="Times to go back at most.", rich_help_panel=_OPT)] = 8,
    chunk: Annotated[int, typer.Option(help="Samples that the gradient reaches back.", rich_help_panel=_OPT)] = 64,
    piece: Annotated[
        int, typer.Option(help="Longer recordings are cut into pieces; 0: never.", rich_help_panel=_OPT)
    ] = 2048,
    batch: Annotated[int, typer.Option(help="Pieces side by side; 0: by the data.", rich_help_panel=_OPT)] = 0,
    burn_in: Annotated[int, typer.Option(help="Samples of a piece without a loss.", rich_help_panel=_OPT)] = 0,
    # Run
    seed: Annotated[int, typer.Option(help="The same seed gives the same model.", rich_help_panel=_RUN)] = 0,
    seeds: Annotated[int, typer.Option(help="Train from so many seeds, keep the best.", rich_help_panel=_RUN)] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.", rich_help_panel=_RUN)] = "auto",
    threads: Annotated[int, typer.Option(help="PyTorch's threads; 0: its choice.", rich_help_panel=_RUN)] = 0,
    work: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Checkpoints, curves, report. Default: MODEL.train.", rich_help_panel=_RUN),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint of the work folder.", rich_help_panel=_RUN)
    ] = False,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Largest difference between PyTorch and the engine.", rich_help_panel=_RUN)
    ] = 1e-4,
    diagnose: Annotated[
        Path | None,
        typer.Option(
            metavar="PNG", help="Plot how the gradient decays with the lag, for each cell.", rich_help_panel=_RUN
        ),
    ] = None,
    lags: Annotated[int, typer.Option(min=2, help="Lags of --diagnose.", rich_help_panel=_RUN)] = 200,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.", rich_help_panel=_RUN)] = False,
) -> int:
    """Train a network on recordings.

    Each file is a stream, or --stream-column names it. The recordings are split into training, validation and test; the
    best network on validation is written, after the engine was compared with PyTorch, sample by sample. Ctrl-C keeps
    the best so far. What cannot be learned from is said in one line; then nothing is written and the exit status is 2.
    A rate of 1/h needs 7 hours of recordings, 15 % of which are for validation.

    Example: streamrnn train bed*.csv -o model.safetensors --horizon 10 --false-alarms 1/h
    """
    given = dict(locals())
    try:
        return _train(given)
    except KeyboardInterrupt as stop:
        from .stopped import say_stopped

        say_stopped(stop, given)
        return 130


def _train(o: dict[str, Any]) -> int:
    from ..train.needs import need
    from .before import check_apart, check_folder, check_kept
    from .tables import check_output

    need("torch", "training")
    files, output = o["files"], o["output"]
    if output is None and o["diagnose"] is None:
        raise ConfigError("say where the model goes, as in -o model.safetensors")
    inputs = [*files, *(o["validation"] or []), *(o["test"] or [])]
    check_apart(inputs)
    if o["work"] is not None:
        check_folder(o["work"])
    if output is not None:
        check_output(output, inputs, o["force"] or o["resume"], (".safetensors",))
        if not (o["force"] or o["resume"]):
            check_kept(o["work"] or output.with_suffix(".train"))
    if o["diagnose"] is not None:
        need("matplotlib", "--diagnose")
        check_output(o["diagnose"], inputs, o["force"], (".png",))
        check_output(o["diagnose"].with_suffix(".csv"), inputs, o["force"], (".csv",))
    recordings, names = _read(files, o)
    settings = _settings(o, names)
    from .notice import say

    for note in names.notes:
        say(note)
    if o["diagnose"] is not None:
        _diagnose(recordings, names, settings, o)
    if output is None:
        return 0
    return _fit(recordings, settings, o, names)


def _read(files: list[Path], o: dict[str, Any], like: Names | None = None) -> tuple[list[Recording], Names]:
    """Recordings of files; `like` are the names of the first ones, which the others must have too."""
    from ..train import read_recordings

    layout = layout_of(
        **{k: o[k] for k in ("time_unit", "where", "encoding", "decimal_comma", "time_format", "skip_bad_rows")}
    )
    channels = _list("--columns", o["columns"]) if like is None else like.channels
    try:
        return read_recordings(
            files,
            channels=channels,
            stream=o["stream_column"],
            time=o["time"],
            label=o["label"],
            target=_list("--target", o["target"]),
            classes=_list("--classes", o["classes"]) if like is None else (like.classes or None),
            layout=layout,
        )
    except OSError as error:
        raise ConfigError(f"cannot read {error.filename or files[0]}: {error.strerror or error}") from None


def _list(name: str, text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    if not parts:
        raise ConfigError(f"{name} names nothing: write it like {name} a,b")
    return parts


def _numbers(name: str, text: str, kind: type) -> tuple[Any, ...]:
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        what = "whole numbers" if kind is int else "numbers"
        raise ConfigError(f"{name} is {text!r}; it must be {what} with commas between them") from None


def _settings(o: dict[str, Any], names: Names) -> Settings:
    from dataclasses import fields

    from ..train import Settings

    hidden = _numbers("--hidden", o["hidden"], int)
    usual = "classify" if o["label"] else "regress" if o["target"] else "forecast"
    if usual != "forecast" and o["head"] in {"forecast", "classify", "regress"} - {usual}:
        goal = "--label" if o["label"] else "--target"
        raise ConfigError(f"{goal} is for head {usual!r}, and --head {o['head']} was given: leave one of them out")
    made: dict[str, Any] = {
        "head": usual if o["head"] is None else o["head"],
        "hidden": hidden[0] if len(hidden) == 1 else hidden,
        "layers": len(hidden) if o["layers"] is None else o["layers"],
        "changes": _numbers("--changes", o["changes"], int) if o["changes"] else (),
        "quantiles": _numbers("--quantiles", o["quantiles"], float),
        "parts": _numbers("--parts", o["parts"], float),
        "features": names.channels,
        "units": _list("--units", o["units"]) or (),
        "classes": names.classes,
        "targets": names.targets,
        "detector": settings_of("--detector", o["detector"] or []),
    }
    values: dict[str, Any] = {f.name: made.get(f.name, o.get(f.name)) for f in fields(Settings)}
    return Settings(**values)


def _diagnose(recordings: list[Recording], names: Names, settings: Settings, o: dict[str, Any]) -> None:
    from ..train.diagnose import decays, half_life, windows, write_decays
    from .notice import say

    found = decays(windows(recordings, names.channels, o["lags"], settings.seed), settings)
    table = write_decays(o["diagnose"], found)
    if o["json"] and o["output"] is None:
        from json import dumps

        lives = {decay.cell: {"half_life": half_life(decay), "last": float(decay.norms[-1])} for decay in found}
        print(dumps({"figure": str(o["diagnose"]), "table": str(table), "decays": lives}))
    if not o["json"]:
        say(f"{o['diagnose']} and {table}: half of the gradient is left after")
        for decay in found:
            life = half_life(decay)
            more = " or more" if life == len(decay.norms) - 1 else ""
            say(f"  {decay.cell:12} {life} samples{more}; {decay.norms[-1]:.2g} of it after {len(decay.norms) - 1}")


def _fit(recordings: list[Recording], settings: Settings, o: dict[str, Any], names: Names) -> int:
    from ..train import fit
    from .notice import say
    from .stopped import say_how_to_go_on
    from .trained import tell, training_bar

    extra: dict[str, Any] = {}
    for part in ("validation", "test"):
        if o[part]:
            extra[part], others = _read(o[part], o, names)
            for note in others.notes:
                say(f"--{part}: {note}")
    with training_bar(settings) as progress:
        fitted = fit(recordings, settings, o["output"], progress, work=o["work"], resume=o["resume"], **extra)
    if o["json"]:
        from json import dumps

        print(dumps(fitted.report))
    else:
        tell(fitted)
    if fitted.interrupted:
        say(f"stopped; {o['output']} is the best so far, of epoch {fitted.report['epoch']}. This goes on:")
        say_how_to_go_on(o["context"].obj)
        return 130
    return 0
