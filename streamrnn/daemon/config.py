"""Settings: defaults, then a TOML file, then the environment, then flags; the later wins."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from contextvars import ContextVar
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from ..errors import ConfigError
from ..gpus import Device
from ..transport.paths import Choice
from ..wire.endpoints import CONTROL, INGEST, OUTPUTS, Endpoint, parse_endpoint
from ..wire.messages import Limits

__all__ = ["ADAPTIVE", "Settings", "load_settings", "unknown_variables"]

ADAPTIVE = "adaptive"
"""The model that needs no file: it learns each stream as it runs."""

GPU_BURST = 8_192
"""Rows of a burst on a GPU: what an H100 holds at once, by calculation (docs/cuda.md), and a third more."""

MAX_BURST = 65_536
"""Most messages in a burst, and the default for many threads."""

_PREFIX = "STREAMRNN_"

_OTHERS = ("config", "data")
"""Variables of the environment that are no settings: the settings file, and the folder of recordings for tests."""

_TIME = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*(s|ms|us|µs)?\s*")
_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}

_file: ContextVar[Path | None] = ContextVar("config file", default=None)


def _listed(value: object) -> object:
    """A list may be written as text with commas, as flags and the environment have it."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _duration(value: object) -> object:
    """Seconds of a time that is written with its unit; anything else as it is."""
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is not None:
        return float(found[1]) * _UNITS[found[2] or "s"]
    if isinstance(value, str):
        raise ValueError("it must be a time such as 500us, 2ms or 0.01s")
    return value


Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
Seconds = Annotated[float, Field(gt=0, le=1e9)]
Count = Annotated[int, Field(ge=1, le=1 << 31)]
Budget = Annotated[float, BeforeValidator(_duration), Field(ge=0, le=1)]


class Settings(BaseSettings):
    """Everything that can be set. Durations are seconds, sizes bytes; docs/operations.md explains each."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    ingest: Texts = Field((INGEST,), description="Where samples come in.")
    outputs: Texts = Field((OUTPUTS,), description="Where answers, flags and events go out.")
    control: Texts = Field((CONTROL,), description="Where requests are answered.")

    model: str = Field(ADAPTIVE, min_length=1, description="A model file, a built-in model, or 'adaptive'.")
    features: Texts = Field((), description="The adaptive model's channel names.")
    n_in: int | None = Field(None, ge=1, le=4096, description="The adaptive model's channels; else learned.")
    hidden: int = Field(64, ge=1, le=4096, description="Units of the adaptive model.")
    seed: int = Field(0, ge=0, le=(1 << 63) - 1, description="Seed of the adaptive model.")
    max_width: int = Field(64, ge=1, le=4096, description="Most channels of a learned width.")
    max_widths: int = Field(8, ge=1, le=256, description="Most learned widths at once.")

    capacity: Count = Field(10_000, description="Most streams alive; for learned widths, of each width.")
    idle_ttl: Seconds | None = Field(None, description="Forget a stream that is silent for so long.")
    stale_after: Seconds | None = Field(None, description="Publish an event for a stream silent for so long.")
    ring: int = Field(16, ge=0, le=1_000_000, description="Last samples kept for each stream.")

    max_message: int = Field(1 << 20, ge=1 << 10, le=1 << 28, description="Largest message taken.")
    max_block: int = Field(65_536, ge=1, le=1 << 24, description="Most rows in a block.")
    max_ahead: Seconds = Field(86_400.0, description="How far a sample's time may be ahead of the clock.")
    device: Device = Field("cpu", description="Where samples are stepped: cpu, cuda, or auto: a GPU if there is one.")
    threads: int = Field(1, ge=1, le=1024, description="Threads that step large bursts.")
    data_path: Choice = Field("auto", description="How messages are carried: compiled, or by pyzmq; auto: as can be.")
    burst: int = Field(
        256, ge=1, le=MAX_BURST, description="Most messages in a burst, for each thread; where set, in all."
    )
    latency_budget: Budget = Field(0.0, description="How long a burst that is not full may wait for more samples.")
    receive_queue: Count = Field(2_000, description="Messages that may wait from each publisher.")
    send_queue: Count = Field(100_000, description="Messages that may wait for each subscriber.")
    event_rate: float = Field(100.0, gt=0, le=1e6, description="Events a second of each kind.")
    event_burst: int = Field(1_000, ge=1, le=1 << 20, description="Events of a kind published at once.")

    drain_timeout: float = Field(4.0, ge=0.1, le=3600, description="The longest that stopping takes.")
    log_format: Literal["auto", "human", "json"] = Field("auto", description="How log lines look.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Which lines there are.")
    stats_interval: Seconds = Field(60.0, description="Time between two lines of totals.")

    @property
    def rows_at_once(self) -> int:
        """Rows of a burst on the CPU; see `rows_on`."""
        return self.rows_on("cpu")

    def rows_on(self, device: str) -> int:
        """Rows of a burst on "cpu" or "cuda": what `burst` says, or where that says nothing enough for each thread to
        have its share, or for a GPU to be filled."""
        if "burst" in self.model_fields_set:
            return self.burst
        return GPU_BURST if device == "cuda" else min(self.burst * self.threads, MAX_BURST)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - a signature of pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        path = _file.get()
        if path is None:
            return init_settings, env_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, path)

    @field_validator("ingest", "outputs", "control")
    @classmethod
    def _endpoints(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("names no endpoint; give one, such as tcp://127.0.0.1:5590")
        for text in value:
            parse_endpoint(text, bind=True)
        return value

    @field_validator("features")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        repeated = [name for name in value if value.count(name) > 1]
        if repeated:
            raise ValueError(f"names {repeated[0]!r} twice; each channel needs its own name")
        return value

    @model_validator(mode="after")
    def _together(self) -> Settings:
        if self.features and self.n_in is not None and len(self.features) != self.n_in:
            raise ConfigError(
                f"features names {len(self.features)} channels and n_in is {self.n_in}; give one, or make them agree"
            )
        if self.model != ADAPTIVE:
            for name in ("features", "n_in", "hidden", "seed"):
                if name in self.model_fields_set and getattr(self, name) not in ((), None):
                    raise ConfigError(
                        f"{name} is for the adaptive model; the file {self.model!r} has its own: leave it out"
                    )
        if self.device == "cuda" and self.threads > 1:
            raise ConfigError(f"threads is {self.threads}, and a GPU has its own: leave threads out, or device")
        self._apart()
        return self

    def _apart(self) -> None:
        """Raise ConfigError where one address is to be bound twice: the system would blame another process."""
        bound: dict[str, str] = {}
        for role in ("ingest", "outputs", "control"):
            for endpoint in self.endpoints(role):
                if not endpoint.bind or endpoint.address.endswith(":*"):  # which takes a free port
                    continue
                other = bound.setdefault(endpoint.address, role)
                if other != role:
                    raise ConfigError(
                        f"{other} and {role} are both {endpoint.address}; choose another endpoint with --{role}"
                    )

    @property
    def width(self) -> int | None:
        """Channels of the adaptive model where they are settled in advance."""
        return len(self.features) or self.n_in

    @property
    def limits(self) -> Limits:
        """What the wire accepts."""
        return Limits(max_message=self.max_message, max_block=self.max_block, max_ahead_ns=round(self.max_ahead * 1e9))

    def endpoints(self, role: str) -> list[Endpoint]:
        """The endpoints of `ingest`, `outputs` or `control`; without a sign they are bound."""
        return [parse_endpoint(text, bind=True) for text in getattr(self, role)]

    def exposed(self) -> list[str]:
        """Bound endpoints that other machines can reach."""
        return [
            endpoint.address
            for role in ("ingest", "outputs", "control")
            for endpoint in self.endpoints(role)
            if endpoint.bind and not _local(endpoint.address)
        ]


def _local(address: str) -> bool:
    if not address.startswith("tcp://"):
        return True
    host = address.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    if host in ("localhost", "lo"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load_settings(config: str | os.PathLike[str] | None = None, **flags: object) -> Settings:
    """The settings from a TOML file (or the one that STREAMRNN_CONFIG names), the environment and flags.

    Flags that are None were not given. Raises ConfigError: one line that names the option, its value, the limit,
    and where the value comes from.

    >>> load_settings(capacity=0)
    Traceback (most recent call last):
    streamrnn.errors.ConfigError: capacity is 0; it must be greater than or equal to 1
    """
    given = {name: value for name, value in flags.items() if value is not None}
    path = config or os.environ.get(f"{_PREFIX}CONFIG")
    token = _file.set(_readable(Path(path)) if path else None)
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigError(_explain(error, given, _file.get())) from None
    except (ValueError, UnicodeDecodeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: {error}") from None
    finally:
        _file.reset(token)


def unknown_variables(environ: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Variables of the environment that begin as ours do and set nothing, each with the name that was meant perhaps.

    >>> unknown_variables({"STREAMRNN_CAPCITY": "500", "STREAMRNN_RING": "8"})
    {'STREAMRNN_CAPCITY': 'STREAMRNN_CAPACITY'}
    """
    known = [*Settings.model_fields, *_OTHERS]
    found = [name for name in (os.environ if environ is None else environ) if name.upper().startswith(_PREFIX)]
    meant = {name: name[len(_PREFIX) :].lower() for name in sorted(found)}
    nearest = {name: _nearest(option, known) for name, option in meant.items() if option not in known}
    return {name: None if near is None else f"{_PREFIX}{near.upper()}" for name, near in nearest.items()}


def _readable(path: Path) -> Path:
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise ConfigError(f"cannot read the settings file {str(path)!r}: {error.strerror}") from None


def _explain(error: ValidationError, flags: Mapping[str, object], path: Path | None) -> str:
    """The first thing that is wrong, in one line."""
    first = error.errors()[0]
    name = ".".join(map(str, first["loc"])) or "settings"
    top = str(first["loc"][0]) if first["loc"] else ""
    known = Settings.model_fields
    if first["type"] == "extra_forbidden":
        near = _nearest(top, list(known))
        hint = f"; did you mean {near!r}?" if near else "; docs/operations.md lists all options"
        return f"unknown option {name!r}{_source(top, flags, path)}{hint}"
    message = first["msg"].removeprefix("Value error, ")
    message = re.sub(r"^Input should be", "it must be", message)
    if not top:
        return message
    return f"{name} is {_shown(first['input'])}{_source(top, flags, path)}; {message}"


def _shown(value: Any) -> str:
    return f"{value!r:.80}"


def _source(name: str, flags: Mapping[str, object], path: Path | None) -> str:
    if name in flags:
        return ""
    if f"{_PREFIX}{name}".upper() in {key.upper() for key in os.environ}:
        return f" ({_PREFIX}{name.upper()})"
    return f" ({path})" if path is not None else ""


def _nearest(name: str, known: list[str]) -> str | None:
    return next(iter(get_close_matches(name, known, n=1)), None)
