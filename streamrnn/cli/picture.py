"""A picture of the live view for a README: the moment when most was going on."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console

from .board import Board

__all__ = ["Picture"]

SIZE = (104, 24)
"""Columns and lines of a picture."""

LATER_SECONDS = 2.0
"""Of equally busy moments the later one is taken, if it is so much later."""


class Picture:
    """Keeps the view of the moment with the most raised flags, and writes it as SVG."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._svg = ""
        self._flagged = -1
        self._at = 0.0

    def look(self, board: Board, now: float) -> None:
        """Take the view `now`, in seconds, if it shows more than the one before."""
        flagged = sum(lane.flag for lane in board.lanes.values())
        if flagged > self._flagged or (flagged == self._flagged and now > self._at + LATER_SECONDS):
            self._flagged, self._at = flagged, now
            width, height = SIZE
            console = Console(record=True, width=width, height=height, file=io.StringIO(), force_terminal=True)
            console.print(board)
            svg = console.export_svg(title="streamrnn demo")
            # Without the fonts from another site: a picture in a README shall not fetch anything.
            self._svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)

    def write(self) -> None:
        """Write the picture that was kept."""
        self._path.write_text(self._svg, encoding="utf-8")
