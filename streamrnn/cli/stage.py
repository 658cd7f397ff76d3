"""The demo itself: a daemon, a session with it and the view, from the first sample to the summary."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.live import Live

from .board import fits
from .picture import Picture
from .scenes import Scene
from .session import Session
from .story import Story
from .tether import OwnDaemon

__all__ = ["Stage"]

READY_SECONDS = 180.0
"""How long the daemon may take to compile and start: the first start on a slow machine."""

FRAME_SECONDS = 0.125
"""Time between two drawings."""

INTERRUPTED = 130
"""Exit status after Ctrl-C before anything was played (128 and the signal's number, as shells have it)."""

TURN_SECONDS = 0.0002
"""How long the drawing thread may keep the interpreter while an answer waits."""


@dataclass
class Stage:
    """One run of the demo: `scene` for `seconds`, into a daemon started with `arguments`.

    `facts` are added to the JSON summary. `picture` is shown every frame.
    """

    scene: Scene
    seconds: float
    arguments: Sequence[str]
    facts: dict[str, Any]
    picture: Picture | None = None

    def run(self, live: bool, as_json: bool) -> int:
        """Play until the end, the time limit or Ctrl-C; print the summary; return the exit status."""
        console = Console(quiet=as_json, highlight=False)
        live = live and fits(console)
        story = Story(self.scene, self.seconds)
        played = 0.0
        interrupted = False
        with _terminable(), _attentive(), OwnDaemon(self.arguments) as daemon:
            try:
                with console.status("starting the daemon; a first start compiles"):
                    daemon.wait_ready(READY_SECONDS)
                with Session(self.scene.rows, self.scene.rate, daemon.ingest, daemon.outputs) as session:
                    frames = self._frames(story, session, daemon)
                    try:
                        if live:
                            _show(story, frames, console)
                        else:
                            _tell(story, frames, console)
                    finally:
                        played = session.played
            except KeyboardInterrupt:
                interrupted = True
        if interrupted and not story.tally.samples:
            return INTERRUPTED
        if self.picture is not None:
            self.picture.write()
        if as_json:
            print(json.dumps({**story.summary(played), **self.facts, "interrupted": interrupted}))
            return 0
        if live:
            console.print(story.board)
        console.print()
        console.print(story.epilogue(played))
        return 0

    def _frames(self, story: Story, session: Session, daemon: OwnDaemon) -> Iterator[float]:
        """Take in what has come, a frame at a time, until the end; yields the seconds played."""
        following = time.monotonic()
        while True:
            played = session.played
            last = session.done or played > self.seconds + FRAME_SECONDS
            daemon.check()
            for answer in session.answers():
                story.take(answer)
            story.tell()
            story.board.heading = story.heading(played)
            if self.picture is not None:
                self.picture.look(story.board, played)
            yield played
            if last:
                return
            following += FRAME_SECONDS
            time.sleep(max(0.0, following - time.monotonic()))


def _show(story: Story, frames: Iterator[float], console: Console) -> None:
    """The live view, on the terminal's other screen."""
    with Live(story.board, console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as view:
        for _ in frames:
            view.refresh()


def _tell(story: Story, frames: Iterator[float], console: Console) -> None:
    """The log, line by line."""
    console.print(story.scene.title)
    told = 0
    for _ in frames:
        for line in story.board.log[told:]:
            console.print(line, soft_wrap=True)
        told = len(story.board.log)


@contextmanager
def _attentive() -> Iterator[None]:
    """Let threads take turns quickly, so that drawing does not hold up the clock on arriving answers."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(TURN_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM, or a terminal that closes, ends the demo as Ctrl-C does: the daemon stopped, all tidied up."""
    before = [(sign, signal.signal(sign, signal.default_int_handler)) for sign in (signal.SIGTERM, signal.SIGHUP)]
    try:
        yield
    finally:
        for sign, handler in before:
            signal.signal(sign, handler)
