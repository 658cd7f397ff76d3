"""`streamrnn serve`: the daemon."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from .notice import COMPILING, patience
from .settings import (
    BurstOption,
    CapacityOption,
    ConfigOption,
    ControlOption,
    DataPathOption,
    DeviceOption,
    DrainTimeoutOption,
    EventBurstOption,
    EventRateOption,
    FeaturesOption,
    HiddenOption,
    IdleTtlOption,
    IngestOption,
    LatencyBudgetOption,
    LogFormatOption,
    LogLevelOption,
    MaxAheadOption,
    MaxBlockOption,
    MaxMessageOption,
    MaxWidthOption,
    MaxWidthsOption,
    ModelArgument,
    NInOption,
    OutputsOption,
    ReceiveQueueOption,
    RingOption,
    SeedOption,
    SendQueueOption,
    StaleAfterOption,
    StatsIntervalOption,
    ThreadsOption,
)

__all__ = ["serve"]


def serve(
    model: ModelArgument = None,
    config: ConfigOption = None,
    ingest: IngestOption = None,
    outputs: OutputsOption = None,
    control: ControlOption = None,
    features: FeaturesOption = None,
    n_in: NInOption = None,
    hidden: HiddenOption = None,
    seed: SeedOption = None,
    max_width: MaxWidthOption = None,
    max_widths: MaxWidthsOption = None,
    capacity: CapacityOption = None,
    idle_ttl: IdleTtlOption = None,
    stale_after: StaleAfterOption = None,
    ring: RingOption = None,
    max_message: MaxMessageOption = None,
    max_block: MaxBlockOption = None,
    max_ahead: MaxAheadOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    data_path: DataPathOption = None,
    burst: BurstOption = None,
    latency_budget: LatencyBudgetOption = None,
    receive_queue: ReceiveQueueOption = None,
    send_queue: SendQueueOption = None,
    event_rate: EventRateOption = None,
    event_burst: EventBurstOption = None,
    drain_timeout: DrainTimeoutOption = None,
    stats_interval: StatsIntervalOption = None,
    log_format: LogFormatOption = None,
    log_level: LogLevelOption = None,
) -> int:
    """Run the daemon: samples in, outputs and anomaly flags out, one recurrent state per stream.

    Options can also be set in a TOML file (--config) and in the environment, as in
    STREAMRNN_CAPACITY=500; flags win. Endpoints are on the loopback interface unless
    said otherwise; @ before one binds it, > connects it, commas separate several.
    SIGTERM and Ctrl-C stop the daemon once all that came in is answered.

    Example: streamrnn serve --features hr,spo2,resp --idle-ttl 3600
    """
    flags = {name: value for name, value in locals().items() if name != "config"}
    with _ended_by_a_signal(), warnings.catch_warnings():
        # The server's log says this, with its remedy, in one line.
        warnings.filterwarnings("ignore", "no folder for compiled code", RuntimeWarning)
        with patience(COMPILING) as done:
            from ..daemon import load_settings, run

            return run(load_settings(config, **flags), ready=done)


@contextmanager
def _ended_by_a_signal() -> Iterator[None]:
    """Until the server takes over, SIGTERM and Ctrl-C end the process with status 0: there is nothing to answer yet.

    Imports take half a second, and code that waits in one would be told by an exception in the midst of it.
    """
    before = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: object) -> None:  # noqa: ARG001
    os._exit(0)
