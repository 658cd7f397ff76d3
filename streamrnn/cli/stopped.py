"""What `streamrnn train` says after Ctrl-C: what is kept, and the command that goes on."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import join
from typing import Any

from .notice import say

__all__ = ["say_how_to_go_on", "say_stopped"]


def say_stopped(stop: KeyboardInterrupt, given: Mapping[str, Any]) -> None:
    """The words where no model was written: what is kept is a checkpoint (`stop.kept`, its path), or nothing.

    `given` are the values of the command's options, and its `context`.
    """
    kept: Path | None = getattr(stop, "kept", None)
    if kept is not None:
        say(f"stopping... {given['output']} was not written; the best so far is in {kept}. This goes on:")
    elif given["resume"]:
        say("stopping... nothing was done yet, and the checkpoint is as it was. This goes on:")
    else:
        say("stopping... no epoch had ended, so there is nothing to keep")
        return
    say_how_to_go_on(given["context"].obj)


def say_how_to_go_on(words: Sequence[str]) -> None:
    """The command that was given, with --resume, on a line of its own to be copied."""
    more = [] if "--resume" in words else ["--resume"]
    print(join(["streamrnn", *words, *more]), file=sys.stderr, flush=True)
