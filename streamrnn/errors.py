"""Every error that streamrnn raises on purpose, each with the stable code it carries on the wire.

    StreamRNNError
    ├── InputError            a sample was refused; no state was touched
    │   ├── BadTopic          bad_topic
    │   ├── BadId             bad_id
    │   ├── Malformed         malformed
    │   ├── TooLarge          too_large
    │   ├── WrongWidth        wrong_width
    │   ├── NotFinite         not_finite
    │   └── BadTime           bad_time
    ├── ModelError            bad_model        a model file or specification is wrong
    ├── StateError            bad_state        a saved stream state does not fit
    ├── UnknownStream         unknown_stream   no such stream is alive (also a KeyError)
    ├── StaleHandle           stale_handle     the handle's stream was evicted
    ├── ConfigError           bad_config       an option is wrong or contradicts another
    ├── BadRequest            bad_request      a control request is wrong
    └── Timeout               timeout          nobody answered in time

A code never changes its meaning; new kinds may be added.
"""

from __future__ import annotations

__all__ = [
    "BadId",
    "BadRequest",
    "BadTime",
    "BadTopic",
    "ConfigError",
    "InputError",
    "Malformed",
    "ModelError",
    "NotFinite",
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


class ModelError(StreamRNNError, ValueError):
    code = "bad_model"


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
