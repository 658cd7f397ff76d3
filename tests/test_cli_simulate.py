"""`streamrnn simulate` writes what the simulation makes, so that it reads back the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from streamrnn.feeds import Layout, Recording
from streamrnn.simulate import market, ward


@pytest.mark.parametrize(("scene", "streams"), [("ward", 1), ("ward", 3), ("market", 2)])
def test_a_file_holds_the_feed_and_the_faults_are_told(tmp_path: Path, scene: str, streams: int) -> None:
    arguments = [scene, "-o", "out.csv", "--streams", streams, "--seconds", 900, "--seed", 4]
    command = [sys.executable, "-m", "streamrnn", "simulate", *map(str, arguments)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    make = ward if scene == "ward" else market
    feed = make(streams, seconds=900, seed=4, calm=225.0)
    layout = Layout(stream_column="stream" if streams > 1 else None)
    with Recording([tmp_path / "out.csv"], layout) as recording:
        assert recording.columns == feed.channels
        rows = list(recording.rows())
    assert [row.t for row in rows] == feed.t.tolist()
    np.testing.assert_array_equal(np.array([row.x for row in rows], np.float32), feed.x)
    if streams > 1:
        assert [row.stream for row in rows] == [feed.streams[i] for i in feed.stream]
    told = [line for line in done.stderr.splitlines() if "put in: " in line]
    assert len(told) == len(feed.faults) > 0
    assert feed.faults[0].kind in told[0]
