"""Ask a daemon, and tell it what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import zmq

from ..errors import Timeout
from ..wire.control import decode_reply, encode_request
from ..wire.endpoints import CONTROL
from .sockets import Client, Deadline

__all__ = ["Control"]


class Control(Client):
    """Sends one request at a time and waits for its reply, for `timeout` seconds.

    A question that nobody answers is asked again over a new connection, `retries` times. A command (`reset`,
    `evict`, `stop`) is sent once, because a second one would act twice. Then Timeout is raised. An error in a
    reply is raised as the class that has its code, such as UnknownStream.

    >>> with Control(timeout=1.0) as control:
    ...     control.closed
    False
    """

    def __init__(
        self,
        endpoint: str = CONTROL,
        *,
        timeout: float = 5.0,
        retries: int = 2,
        context: zmq.Context[Any] | None = None,
    ) -> None:
        super().__init__(zmq.REQ, endpoint, context)
        self.timeout = timeout
        self.retries = retries
        self._attach()

    def ping(self) -> dict[str, Any]:
        """Whether the daemon is there: its reply, with its clock `now` in ns."""
        return self.ask("ping")

    def info(self) -> dict[str, Any]:
        """The daemon's model, settings and counters."""
        return self.ask("info")

    def streams(self, prefix: str = "", limit: int = 1000, after: str = "") -> list[dict[str, Any]]:
        """At most `limit` streams whose ids begin with `prefix`, in the order of their ids, after the id
        `after`.
        """
        found: list[dict[str, Any]] = self.ask("streams", prefix=prefix, limit=limit, after=after)["streams"]
        return found

    def all_streams(self, prefix: str = "", page: int = 1000) -> Iterator[dict[str, Any]]:
        """Every stream whose id begins with `prefix`, fetched `page` at a time."""
        after = ""
        while found := self.streams(prefix, page, after):
            yield from found
            after = found[-1]["id"]

    def stream(self, stream: str) -> dict[str, Any]:
        """What is known of one stream, with its last samples; UnknownStream if it is not alive."""
        return self.ask("stream", stream=stream)

    def reset(self, stream: str) -> dict[str, Any]:
        """Let the stream's state begin anew; UnknownStream if it is not alive."""
        return self.command("reset", stream=stream)

    def evict(self, stream: str) -> dict[str, Any]:
        """Forget the stream; UnknownStream if it is not alive."""
        return self.command("evict", stream=stream)

    def stop(self) -> dict[str, Any]:
        """Let the daemon publish all that it has received, and end."""
        return self.command("stop")

    def ask(self, op: str, **args: object) -> dict[str, Any]:
        """The reply to any question, which may be asked again."""
        return self._request(op, args, self.retries, "")

    def command(self, op: str, **args: object) -> dict[str, Any]:
        """The reply to any command, which is sent once."""
        return self._request(op, args, 0, "; whether it was carried out is not known")

    def _request(self, op: str, args: dict[str, object], retries: int, doubt: str) -> dict[str, Any]:
        body = encode_request(op, **args)
        for _ in range(retries + 1):
            self._socket.send(body)
            deadline = Deadline(self.timeout)
            if self._socket.poll(deadline.left_ms()):
                return decode_reply(self._socket.recv())
            self._renew()
        waited = self.timeout * (retries + 1)
        raise Timeout(
            f"nobody answered {op} at {self.endpoint.address} within {waited:g} s{doubt}; "
            "see whether the daemon runs and this is its control endpoint"
        )

    def _renew(self) -> None:
        """A REQ socket that waits in vain cannot ask again: take a new one."""
        self._socket.close(linger=0)
        self._socket = self._new_socket()
        self._attach()
