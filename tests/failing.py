"""An engine whose GPU fails after so many rows, without a GPU: its rows come from compiled admission as those of an
engine on a GPU do.

    python tests/failing.py ROWS serve ...     the command line, with daemons whose engines are such ones
"""

from __future__ import annotations

import sys
from typing import Any

from streamrnn.engine import Engine
from streamrnn.engine.advance import advance_shard
from streamrnn.errors import DeviceError

__all__ = ["REASON", "Failing"]

REASON = "the GPU has fallen off the bus"


class Failing(Engine):
    """Steps `rows` rows and then raises DeviceError, as it does at each call after that."""

    rows = 10

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.share_from = 1
        self._left = self.rows

    def _share(self, start: int, stop: int) -> None:
        if stop - start > self._left:
            self._left = -1
            raise DeviceError(REASON)
        self._left -= stop - start
        mark = self._marks.mark
        mark[0] = advance_shard(self._frame, start, stop, int(mark[0]), 0, 1)

    def stream_info(self, stream: str, ring: bool = True) -> dict[str, Any]:
        if ring and stream == "cursed":
            raise DeviceError(REASON)
        return super().stream_info(stream, ring)


if __name__ == "__main__":
    from streamrnn import __main__
    from streamrnn.daemon import server

    Failing.rows = int(sys.argv.pop(1))
    server.Engine = Failing  # type: ignore[misc]
    __main__.main()
