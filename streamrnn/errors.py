"""Every error that streamrnn raises on purpose, each with the stable code it carries on the wire.

    StreamRNNError
    ├── InputError            a sample was refused; no state was touched
    │   ├── BadTopic          bad_topic
    │   ├── BadId             bad_id
    │   ├── Malformed         malformed
    │   ├── TooLarge          too_large
    │   ├── WrongWidth        wrong_width
    │   ├── NotFinite         not_finite
    │   ├── BadTime           bad_time
    │   └── BadToken          bad_token
    ├── ModelError            bad_model        a model file or specification is wrong
    │   └── SourceError       bad_source       a network of another library cannot be brought over
    ├── StateError            bad_state        a saved stream state does not fit
    ├── UnknownStream         unknown_stream   no such stream is alive (also a KeyError)
    ├── StaleHandle           stale_handle     the handle's stream was evicted
    ├── ConfigError           bad_config       an option is wrong or contradicts another
    ├── BadRequest            bad_request      a control request is wrong
    ├── NotInstalled          not_installed    a requirement is missing (also an ImportError)
    ├── DeviceError           device_error     a GPU cannot be had, or failed (also a RuntimeError)
    │   └── DeviceFull        device_full      it has not the memory that was asked for
    └── Timeout               timeout          nobody answered in time

A code never changes its meaning; new kinds may be added.
"""

from __future__ import annotations

__all__ = [
    "BadId",
    "BadRequest",
    "BadTime",
    "BadToken",
    "BadTopic",
    "ConfigError",
    "DeviceError",
    "DeviceFull",
    "InputError",
    "Malformed",
    "ModelError",
    "NotFinite",
    "NotInstalled",
    "SourceError",
    "StaleHandle",
    "StateError",
    "StreamRNNError",
    "Timeout",
    "TooLarge",
    "UnknownStream",
    "WrongWidth",
]


class StreamRNNError(Exception):
    """Base of all errors here; `code` is what the wire says, the message is for people."""

    code = "error"


class InputError(StreamRNNError, ValueError):
    """A sample was refused before it could touch any state; `stream` is its id, where that much was readable."""

    stream: str | None = None


class BadTopic(InputError):
    code = "bad_topic"


class BadId(InputError):
    code = "bad_id"


class Malformed(InputError):
    code = "malformed"


class TooLarge(InputError):
    code = "too_large"


class WrongWidth(InputError):
    code = "wrong_width"


class NotFinite(InputError):
    code = "not_finite"


class BadTime(InputError):
    code = "bad_time"


class BadToken(InputError):
    code = "bad_token"


class ModelError(StreamRNNError, ValueError):
    code = "bad_model"


class SourceError(ModelError):
    code = "bad_source"


class StateError(StreamRNNError, ValueError):
    code = "bad_state"


class UnknownStream(StreamRNNError, KeyError):
    code = "unknown_stream"

    def __str__(self) -> str:
        # KeyError would print the message's repr.
        return str(self.args[0]) if self.args else ""


class StaleHandle(StreamRNNError, ValueError):
    code = "stale_handle"


class ConfigError(StreamRNNError, ValueError):
    code = "bad_config"


class BadRequest(StreamRNNError, ValueError):
    code = "bad_request"


class Timeout(StreamRNNError, TimeoutError):
    code = "timeout"


class DeviceError(StreamRNNError, RuntimeError):
    """A GPU that was asked for cannot be had, or one that was used failed: then no answer of that call may be used."""

    code = "device_error"


class DeviceFull(DeviceError):
    """A GPU that has not the memory that was asked for."""

    code = "device_full"


class NotInstalled(StreamRNNError, ImportError):
    code = "not_installed"


def not_installed(what: str, error: ModuleNotFoundError) -> NotInstalled | None:
    """That `what` needs the package that was not found, and the remedy; None where it is a module of our own.

    >>> print(not_installed("streamrnn.Engine", ModuleNotFoundError(name="numba")))
    streamrnn.Engine needs numba, which is not installed: install streamrnn with its requirements (without --no-deps)
    """
    package = (error.name or "").partition(".")[0]
    if package in ("", "streamrnn"):
        return None
    return NotInstalled(
        f"{what} needs {package}, which is not installed: install streamrnn with its requirements (without --no-deps)"
    )
