"""Rows on their way to a daemon: sent at their pace, followed until they are answered, and accounted for."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from ..client import Publisher
from ..errors import StreamRNNError, Timeout
from ..feeds import Row
from .notice import count, say, wait_for_daemon
from .pace import Pace, Rate
from .receipts import Receipts

__all__ = ["Delivery"]

LOOK_SECONDS = 0.02
"""Time between two looks at what the daemon says, at full speed."""

HEARD_SECONDS = 2.0
"""How long the daemon's outputs may take to be heard once it listens: they are up at the same time."""

QUIET_SECONDS = 3.0
"""With everything sent and nothing heard for so long, no more answers are coming."""

LINGER_SECONDS = 5.0
"""How long what waits may take to go out at the end, where nobody can say whether it arrived."""


class Delivery:
    """Plays rows at `rate` to the daemon that takes samples in at `ingest`, and listens for what it says of them.

    `outputs` is where it says it; None does not listen. `streams` are the names in the rows where they are known.
    `timeout` is how many seconds the daemon may be away, at first and in between. With `tokens` the one
    value of a row is sent as a token.
    """

    def __init__(
        self,
        ingest: str,
        outputs: str | None,
        streams: Sequence[str] | None,
        rate: Rate,
        timeout: float,
        tokens: bool = False,
    ) -> None:
        self.pace = Pace(rate, self._attend)
        self.sent = 0
        self._tokens = tokens
        self._ingest, self._timeout = ingest, timeout
        self._looked = 0.0
        self._receipts = None if outputs is None else Receipts(outputs, streams)
        linger = LINGER_SECONDS if self._receipts is None else HEARD_SECONDS
        try:
            self._publisher = Publisher(ingest, linger=linger)
        except BaseException:
            self._hush()
            raise

    def play(self, rows: Iterable[Row]) -> None:
        """Send all rows and wait for their answers.

        Raises Timeout where the daemon stays away, and whatever is wrong with a row, with the number of samples that
        were sent before; StreamRNNError where the daemon refused some.
        """
        self._await()
        try:
            for row in rows:
                self.pace.wait(row.t)
                self._attend()
                self._send(row)
        except StreamRNNError as error:
            if self.sent == 0:
                raise
            if not isinstance(error, Timeout):
                self._settle()
            raise type(error)(f"{error}; before that {self._account()}") from None
        self._settle()

    def _send(self, row: Row) -> None:
        self.sent += 1  # before it is: an interruption in between then counts a sample too many, not one too few
        if self._receipts is not None:
            self._receipts.note(row.stream)
        try:
            self._publisher.send(row.stream, int(row.x[0]) if self._tokens else row.x, t=row.t)
        except StreamRNNError:
            self.sent -= 1
            if self._receipts is not None:
                self._receipts.note(row.stream, -1)
            raise

    def report(self) -> str:
        """What became of the samples; StreamRNNError unless all that is known is good."""
        heard = self._receipts
        if heard is None:
            return f"{count(self.sent, 'sample')} sent"
        if heard.refused or heard.open:
            raise StreamRNNError(self._account())
        return f"{count(self.sent, 'sample')} sent, all of them answered"

    def _account(self) -> str:
        heard = self._receipts
        if heard is None:
            return f"{count(self.sent, 'sample')} sent"
        parts = [f"{count(self.sent, 'sample')} sent, {heard.answered:,} answered"]
        if heard.refused:
            parts.append(f"{heard.refused.total():,} refused: {heard.why()}")
        if heard.open:
            parts.append(f"{heard.open:,} without an answer, perhaps lost")
        return ", ".join(parts)

    def _await(self) -> None:
        try:
            wait_for_daemon(self._publisher.wait, self._ingest, self._timeout)
        except Timeout:
            raise Timeout(
                f"nobody listens at {self._ingest} after {self._timeout:g} s: start a daemon with streamrnn serve"
            ) from None
        if self._receipts is None:
            return
        try:
            self._receipts.wait(HEARD_SECONDS)
        except Timeout:
            self._hush()
            say("the daemon's outputs are not heard, so refusals will not be told: name their endpoint with --outputs")

    def _attend(self) -> bool:
        """Hear what the daemon says, and wait for it where it has gone; never asks to stop."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return False
        self._looked = now
        if self._receipts is not None:
            self._receipts.take()
        if not self._publisher.connected:
            self._bridge()
        return False

    def _bridge(self) -> None:
        """Wait until the daemon is back; Timeout if it stays away."""
        say(f"the daemon at {self._ingest} went away; waiting {self._timeout:g} s for it")
        began = time.monotonic()
        while not self._publisher.connected:
            if time.monotonic() - began > self._timeout:
                raise Timeout(f"the daemon at {self._ingest} went away and was not back within {self._timeout:g} s")
            time.sleep(LOOK_SECONDS)
        say("the daemon is back")
        self.pace.shift(time.monotonic() - began)

    def _settle(self) -> None:
        """Wait for the answers that are still to come, for as long as there is hope."""
        heard = self._receipts
        if heard is None:
            return
        last = time.monotonic()
        while heard.open and time.monotonic() - last < QUIET_SECONDS:
            if heard.take(0.1):
                last = time.monotonic()

    def _hush(self) -> None:
        if self._receipts is not None:
            self._receipts.__exit__()
            self._receipts = None

    def __enter__(self) -> Delivery:
        return self

    def __exit__(self, *_: object) -> None:
        self._publisher.close()
        self._hush()
