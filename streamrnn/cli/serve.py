"""`streamrnn serve`: the daemon."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer

from .notice import COMPILING, patience

__all__ = ["serve"]

_WHERE = "Endpoints"
_ADAPTIVE = "Adaptive model"
_STREAMS = "Streams"
_LIMITS = "Limits"
_LOGS = "Logs and stopping"


def serve(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A model file, or 'adaptive' (the default): no training.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings in TOML; the environment and flags win over it.")
    ] = None,
    ingest: Annotated[
        str | None,
        typer.Option(
            show_default="tcp://127.0.0.1:5590",
            metavar="ENDPOINT",
            help="Where samples come in.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    outputs: Annotated[
        str | None,
        typer.Option(
            show_default="tcp://127.0.0.1:5591",
            metavar="ENDPOINT",
            help="Where answers, flags and events go out.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(
            show_default="tcp://127.0.0.1:5592",
            metavar="ENDPOINT",
            help="Where requests are answered.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            "--features", "--columns", metavar="A,B,...", help="Names of the channels.", rich_help_panel=_ADAPTIVE
        ),
    ] = None,
    n_in: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Channels of every stream. Default: learned from each stream's first sample.",
            rich_help_panel=_ADAPTIVE,
        ),
    ] = None,
    hidden: Annotated[
        int | None, typer.Option(show_default="64", metavar="N", help="Units.", rich_help_panel=_ADAPTIVE)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(show_default="0", metavar="N", help="Seed.", rich_help_panel=_ADAPTIVE)
    ] = None,
    max_width: Annotated[
        int | None,
        typer.Option(
            show_default="64", metavar="N", help="Most channels of a learned width.", rich_help_panel=_ADAPTIVE
        ),
    ] = None,
    max_widths: Annotated[
        int | None,
        typer.Option(show_default="8", metavar="N", help="Most learned widths at once.", rich_help_panel=_ADAPTIVE),
    ] = None,
    capacity: Annotated[
        int | None,
        typer.Option(
            show_default="10000",
            metavar="N",
            help="Most streams; one more evicts the least recently used.",
            rich_help_panel=_STREAMS,
        ),
    ] = None,
    idle_ttl: Annotated[
        float | None,
        typer.Option(
            show_default="never",
            metavar="SECONDS",
            help="Forget a stream silent for so long.",
            rich_help_panel=_STREAMS,
        ),
    ] = None,
    stale_after: Annotated[
        float | None,
        typer.Option(
            show_default="never",
            metavar="SECONDS",
            help="Publish an event for a stream silent for so long.",
            rich_help_panel=_STREAMS,
        ),
    ] = None,
    ring: Annotated[
        int | None,
        typer.Option(
            show_default="16", metavar="N", help="Last samples kept for each stream.", rich_help_panel=_STREAMS
        ),
    ] = None,
    max_message: Annotated[
        int | None,
        typer.Option(show_default="1048576", metavar="BYTES", help="Largest message taken.", rich_help_panel=_LIMITS),
    ] = None,
    max_block: Annotated[
        int | None,
        typer.Option(show_default="65536", metavar="ROWS", help="Most rows in a block.", rich_help_panel=_LIMITS),
    ] = None,
    max_ahead: Annotated[
        float | None,
        typer.Option(
            show_default="86400",
            metavar="SECONDS",
            help="How far a time may be ahead of the clock.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(show_default="1", metavar="N", help="Threads that step large bursts.", rich_help_panel=_LIMITS),
    ] = None,
    data_path: Annotated[
        str | None,
        typer.Option(
            show_default="auto",
            metavar="PATH",
            help="auto, compiled, or pyzmq, which is slower.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    burst: Annotated[
        int | None,
        typer.Option(show_default="256", metavar="N", help="Most messages stepped at once.", rich_help_panel=_LIMITS),
    ] = None,
    receive_queue: Annotated[
        int | None,
        typer.Option(
            show_default="2000",
            metavar="N",
            help="Messages that may wait from each publisher.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    send_queue: Annotated[
        int | None,
        typer.Option(
            show_default="100000",
            metavar="N",
            help="Messages that may wait for each subscriber.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    event_rate: Annotated[
        float | None,
        typer.Option(show_default="100", metavar="N", help="Events a second of each kind.", rich_help_panel=_LIMITS),
    ] = None,
    event_burst: Annotated[
        int | None,
        typer.Option(show_default="1000", metavar="N", help="Events of a kind at once.", rich_help_panel=_LIMITS),
    ] = None,
    drain_timeout: Annotated[
        float | None,
        typer.Option(
            show_default="4", metavar="SECONDS", help="The longest that stopping takes.", rich_help_panel=_LOGS
        ),
    ] = None,
    stats_interval: Annotated[
        float | None,
        typer.Option(
            show_default="60", metavar="SECONDS", help="Time between two lines of totals.", rich_help_panel=_LOGS
        ),
    ] = None,
    log_format: Annotated[
        str | None,
        typer.Option(show_default="auto", metavar="FORMAT", help="auto, human or json.", rich_help_panel=_LOGS),
    ] = None,
    log_level: Annotated[
        str | None,
        typer.Option(
            show_default="info", metavar="LEVEL", help="debug, info, warning or error.", rich_help_panel=_LOGS
        ),
    ] = None,
) -> int:
    """Run the daemon: samples in, outputs and anomaly flags out, one recurrent state per stream.

    Options can also be set in a TOML file (--config) and in the environment, as in
    STREAMRNN_CAPACITY=500; flags win. Endpoints are on the loopback interface unless
    said otherwise; @ before one binds it, > connects it, commas separate several.
    SIGTERM and Ctrl-C stop the daemon once all that came in is answered.

    Example: streamrnn serve --features hr,spo2,resp --idle-ttl 3600
    """
    flags = {name: value for name, value in locals().items() if name != "config"}
    with warnings.catch_warnings():
        # The server's log says this, with its remedy, in one line.
        warnings.filterwarnings("ignore", "no folder for compiled code", RuntimeWarning)
        with patience(COMPILING) as done:
            from ..daemon import load_settings, run

            return run(load_settings(config, **flags), ready=done)
