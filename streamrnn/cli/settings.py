"""The options of `streamrnn serve`: settings of the daemon (docs/operations.md), each a flag."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "BurstOption",
    "CapacityOption",
    "ConfigOption",
    "ControlOption",
    "DataPathOption",
    "DeviceOption",
    "DrainTimeoutOption",
    "EventBurstOption",
    "EventRateOption",
    "FeaturesOption",
    "HiddenOption",
    "IdleTtlOption",
    "IngestOption",
    "LatencyBudgetOption",
    "LogFormatOption",
    "LogLevelOption",
    "MaxAheadOption",
    "MaxBlockOption",
    "MaxMessageOption",
    "MaxWidthOption",
    "MaxWidthsOption",
    "ModelArgument",
    "NInOption",
    "OutputsOption",
    "ReceiveQueueOption",
    "RingOption",
    "SeedOption",
    "SendQueueOption",
    "StaleAfterOption",
    "StatsIntervalOption",
    "ThreadsOption",
]

_WHERE = "Endpoints"
_ADAPTIVE = "Adaptive model"
_STREAMS = "Streams"
_LIMITS = "Limits"
_LOGS = "Logs and stopping"

ModelArgument = Annotated[
    str | None, typer.Argument(metavar="MODEL", help="A model file, 'vitals', 'text', or 'adaptive' (the default).")
]
ConfigOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Settings in TOML; the environment and flags win over it.")
]
IngestOption = Annotated[
    str | None,
    typer.Option(
        show_default="tcp://127.0.0.1:5590",
        metavar="ENDPOINT",
        help="Where samples come in.",
        rich_help_panel=_WHERE,
    ),
]
OutputsOption = Annotated[
    str | None,
    typer.Option(
        show_default="tcp://127.0.0.1:5591",
        metavar="ENDPOINT",
        help="Where answers, flags and events go out.",
        rich_help_panel=_WHERE,
    ),
]
ControlOption = Annotated[
    str | None,
    typer.Option(
        show_default="tcp://127.0.0.1:5592",
        metavar="ENDPOINT",
        help="Where requests are answered.",
        rich_help_panel=_WHERE,
    ),
]
FeaturesOption = Annotated[
    str | None,
    typer.Option(
        "--features", "--columns", metavar="A,B,...", help="Names of the channels.", rich_help_panel=_ADAPTIVE
    ),
]
NInOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Channels of every stream. Default: learned from each stream's first sample.",
        rich_help_panel=_ADAPTIVE,
    ),
]
HiddenOption = Annotated[
    int | None, typer.Option(show_default="64", metavar="N", help="Units.", rich_help_panel=_ADAPTIVE)
]
SeedOption = Annotated[int | None, typer.Option(show_default="0", metavar="N", help="Seed.", rich_help_panel=_ADAPTIVE)]
MaxWidthOption = Annotated[
    int | None,
    typer.Option(show_default="64", metavar="N", help="Most channels of a learned width.", rich_help_panel=_ADAPTIVE),
]
MaxWidthsOption = Annotated[
    int | None,
    typer.Option(show_default="8", metavar="N", help="Most learned widths at once.", rich_help_panel=_ADAPTIVE),
]
CapacityOption = Annotated[
    int | None,
    typer.Option(
        show_default="10000",
        metavar="N",
        help="Most streams; one more evicts the least recently used.",
        rich_help_panel=_STREAMS,
    ),
]
IdleTtlOption = Annotated[
    float | None,
    typer.Option(
        show_default="never",
        metavar="SECONDS",
        help="Forget a stream silent for so long.",
        rich_help_panel=_STREAMS,
    ),
]
StaleAfterOption = Annotated[
    float | None,
    typer.Option(
        show_default="never",
        metavar="SECONDS",
        help="Publish an event for a stream silent for so long.",
        rich_help_panel=_STREAMS,
    ),
]
RingOption = Annotated[
    int | None,
    typer.Option(show_default="16", metavar="N", help="Last samples kept for each stream.", rich_help_panel=_STREAMS),
]
MaxMessageOption = Annotated[
    int | None,
    typer.Option(show_default="1048576", metavar="BYTES", help="Largest message taken.", rich_help_panel=_LIMITS),
]
MaxBlockOption = Annotated[
    int | None,
    typer.Option(show_default="65536", metavar="ROWS", help="Most rows in a block.", rich_help_panel=_LIMITS),
]
MaxAheadOption = Annotated[
    float | None,
    typer.Option(
        show_default="86400",
        metavar="SECONDS",
        help="How far a time may be ahead of the clock.",
        rich_help_panel=_LIMITS,
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        show_default="cpu",
        metavar="DEVICE",
        help="Where samples are stepped: cpu, cuda (a GPU), or auto: a GPU if one is found.",
        rich_help_panel=_LIMITS,
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        show_default="1",
        metavar="N",
        help="Threads that step large bursts; at most as many as processors are free.",
        rich_help_panel=_LIMITS,
    ),
]
DataPathOption = Annotated[
    str | None,
    typer.Option(
        show_default="auto",
        metavar="PATH",
        help="auto, compiled, or pyzmq, which is slower.",
        rich_help_panel=_LIMITS,
    ),
]
BurstOption = Annotated[
    int | None,
    typer.Option(
        show_default="256", metavar="N", help="Most messages stepped at once, for each thread.", rich_help_panel=_LIMITS
    ),
]
LatencyBudgetOption = Annotated[
    str | None,
    typer.Option(
        show_default="0",
        metavar="TIME",
        help="How long a burst that is not full waits for more, such as 500us.",
        rich_help_panel=_LIMITS,
    ),
]
ReceiveQueueOption = Annotated[
    int | None,
    typer.Option(
        show_default="2000",
        metavar="N",
        help="Messages that may wait from each publisher.",
        rich_help_panel=_LIMITS,
    ),
]
SendQueueOption = Annotated[
    int | None,
    typer.Option(
        show_default="100000",
        metavar="N",
        help="Messages that may wait for each subscriber.",
        rich_help_panel=_LIMITS,
    ),
]
EventRateOption = Annotated[
    float | None,
    typer.Option(show_default="100", metavar="N", help="Events a second of each kind.", rich_help_panel=_LIMITS),
]
EventBurstOption = Annotated[
    int | None,
    typer.Option(show_default="1000", metavar="N", help="Events of a kind at once.", rich_help_panel=_LIMITS),
]
DrainTimeoutOption = Annotated[
    float | None,
    typer.Option(show_default="4", metavar="SECONDS", help="The longest that stopping takes.", rich_help_panel=_LOGS),
]
StatsIntervalOption = Annotated[
    float | None,
    typer.Option(show_default="60", metavar="SECONDS", help="Time between two lines of totals.", rich_help_panel=_LOGS),
]
LogFormatOption = Annotated[
    str | None,
    typer.Option(show_default="auto", metavar="FORMAT", help="auto, human or json.", rich_help_panel=_LOGS),
]
LogLevelOption = Annotated[
    str | None,
    typer.Option(show_default="info", metavar="LEVEL", help="debug, info, warning or error.", rich_help_panel=_LOGS),
]
