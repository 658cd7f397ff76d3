"""Where the real recordings are that some tests play, and why those tests are skipped where there are none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

__all__ = ["DATA", "needs"]

DATA = Path(os.environ.get("STREAMRNN_DATA") or Path(__file__).parents[2] / "shared" / "data")


def needs(name: str) -> pytest.MarkDecorator:
    """Skips a test where the folder `name` of the recordings is not there, and says where it was looked for."""
    return pytest.mark.skipif(
        not (DATA / name).is_dir(),
        reason=f"no recordings in {DATA / name}; set STREAMRNN_DATA to the folder that holds {name}/",
    )
