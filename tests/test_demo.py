"""The demo: how it judges flags, what it plays, what it draws; and a whole run against a real daemon."""

from __future__ import annotations

import fcntl
import io
import json
import math
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from streamrnn.cli.board import Board, fits, number
from streamrnn.cli.lanes import Track
from streamrnn.cli.pace import Pace, Rate
from streamrnn.cli.scenes import recorded, simulated
from streamrnn.cli.sparkline import sparkline
from streamrnn.cli.story import Story
from streamrnn.cli.tally import GRACE_NS, Tally, percentiles_us
from streamrnn.cli.tether import OwnDaemon
from streamrnn.client import Control
from streamrnn.errors import ConfigError, StreamRNNError, Timeout
from streamrnn.feeds import Layout
from streamrnn.simulate import Fault

SECOND = 1_000_000_000


def fault(kind: str = "drift", stream: str = "bed1", start: int = 100, end: int = 200) -> Fault:
    return Fault(kind, stream, start * SECOND, end * SECOND, ("abp",))


class TestTally:
    def test_a_flag_in_the_window_finds_the_fault_once(self):
        tally = Tally([fault()])
        first = tally.raised("bed1", 150 * SECOND, "abp:level")
        again = tally.raised("bed1", 160 * SECOND, "abp:level")
        assert first.first
        assert not again.first
        assert again.fault == fault()
        assert (tally.flags, tally.false_flags, len(tally.found)) == (2, 0, 1)

    @pytest.mark.parametrize(
        ("t", "finds"),
        [
            (100 * SECOND - 1, False),
            (100 * SECOND, True),
            (200 * SECOND + GRACE_NS, True),
            (200 * SECOND + GRACE_NS + 1, False),
        ],
    )
    def test_the_window_ends_a_little_after_the_fault(self, t, finds):
        tally = Tally([fault()])
        assert (tally.raised("bed1", t, None).fault is not None) == finds
        assert tally.false_flags == (not finds)

    def test_another_streams_fault_is_no_excuse(self):
        tally = Tally([fault(stream="bed1")])
        tally.raised("bed10", 150 * SECOND, None)
        tally.raised("bed10", 160 * SECOND, "hr:level")
        assert tally.false_flags == 2
        assert tally.summary()["false_by_channel"] == {"unknown": 1, "hr": 1}
        assert not tally.found

    def test_only_faults_that_have_begun_count(self):
        tally = Tally([fault("drift", "bed1", 100, 200), fault("lead-off", "bed2", 300, 400)])
        tally.sample(299 * SECOND, 0, 1, 1)
        assert tally.summary()["injected"] == 1
        tally.sample(300 * SECOND, 2, 1, 1)
        tally.raised("bed2", 310 * SECOND, None)
        summary = tally.summary()
        assert summary["injected"] == 2
        assert summary["samples"] == 2
        assert summary["missing"] == 2
        assert summary["by_kind"] == {
            "drift": {"injected": 1, "found": 0},
            "lead-off": {"injected": 1, "found": 1},
        }

    def test_on_a_recording_no_flag_is_false(self):
        tally = Tally(None)
        tally.raised("bed1", 1, None)
        assert (tally.flags, tally.false_flags) == (1, 0)

    def test_percentiles_are_of_the_times_that_were(self):
        assert percentiles_us([1000 * k for k in range(100, 0, -1)]) == {"p50": 51.0, "p99": 100.0}
        assert percentiles_us([]) == {"p50": 0.0, "p99": 0.0}


class TestRate:
    @pytest.mark.parametrize("text", ["", "fast", "0x", "-1x", "10", "10/h", "1e3x", "x", "/s"])
    def test_nonsense_is_refused(self, text):
        with pytest.raises(ConfigError, match="none of 1x"):
            Rate.parse(text)

    def test_what_is_meant(self):
        assert Rate.parse(" 2.5X") == Rate(speed=2.5)
        assert Rate.parse("200/s") == Rate(per_second=200.0)
        assert Rate.parse("max") == Rate()

    def test_speed_follows_the_samples_times(self, clock):
        pace = Pace(Rate(speed=10.0))
        for t in (5, 15, 25):
            pace.wait(t * SECOND)
            clock.happened.append(clock.now)
        assert clock.happened == pytest.approx([0.0, 1.0, 2.0])

    def test_so_many_a_second(self, clock):
        pace = Pace(Rate(per_second=4.0))
        for _ in range(3):
            pace.wait(None)
            clock.happened.append(clock.now)
        assert clock.happened == pytest.approx([0.0, 0.25, 0.5])

    def test_max_never_waits_and_a_wish_to_stop_is_heard(self, clock):
        pace = Pace(Rate())
        pace.wait(0)
        pace.wait(10**18)
        assert clock.now == 0.0
        pace = Pace(Rate(speed=1.0), stopped=lambda: clock.now > 1.0)
        pace.wait(0)
        pace.wait(3600 * SECOND)
        assert clock.now < 1.2

    def test_a_speed_needs_times(self):
        with pytest.raises(ConfigError, match="--time"):
            Pace(Rate(speed=1.0)).wait(None)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.happened: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr("streamrnn.cli.pace.time.sleep", fake.sleep)
    monkeypatch.setattr("streamrnn.cli.pace.time.perf_counter", lambda: fake.now)
    return fake


class TestScenes:
    @pytest.mark.parametrize(("seconds", "speed"), [(60.0, 20.0), (10.0, 120.0), (600.0, 10.0)])
    def test_a_short_demo_plays_faster_so_that_something_happens(self, seconds, speed):
        scene = simulated("ward", 12, seconds, None, 0)
        assert scene.rate.speed == speed
        rows = list(scene.rows)
        assert len(rows) == scene.count
        lasts = (rows[-1].t - rows[0].t) / SECOND / speed
        assert lasts == pytest.approx(seconds, rel=0.05)
        assert {fault.kind for fault in scene.faults} == {"desaturation", "tachycardia", "lead-off", "drift"}

    def test_an_unknown_scene(self):
        with pytest.raises(ConfigError, match="ward or market"):
            simulated("circus", None, 60.0, None, 0)

    def test_a_recording_fits_into_the_time_given(self, tmp_path):
        path = tmp_path / "bed.csv"
        path.write_text("time_s,hr\n" + "".join(f"{i},80\n" for i in range(601)))
        scene = recorded([path], Layout(), 60.0, None)
        assert scene.rate.speed == pytest.approx(10.0)
        assert scene.faults is None
        assert recorded([path], Layout(), 60.0, 3.0).rate.speed == 3.0
        assert recorded([path], Layout(), 6000.0, None).rate.speed == 1.0
        assert recorded([path], Layout(time="none", columns=("hr",)), 60.0, None).rate.per_second > 10.0

    def test_a_recording_without_rows(self, tmp_path):
        path = tmp_path / "bed.csv"
        path.write_text("time_s,hr\n")
        with pytest.raises(ConfigError, match="no rows"):
            recorded([path], Layout(), 60.0, None)


class TestDrawing:
    def test_a_sparkline_shows_the_newest_on_the_right(self):
        marks = [(float(i), i == 3) for i in range(4)]
        line = sparkline(marks, 3, "green")
        assert line.plain == "▁▅█"
        assert [(span.start, span.end) for span in line.spans if span.style == "bold red"] == [(2, 3)]
        assert sparkline([], 3, "green").plain == "   "
        assert sparkline([(math.nan, False)] * 2, 3, "green").plain == " ··"

    def test_small_steps_do_not_look_like_cliffs(self):
        marks = [(97.0 + (i == 7), False) for i in range(10)]
        assert set(sparkline(marks, 10, "green").plain) == {"▁", "█"}
        assert set(sparkline(marks, 10, "green", least=4.0).plain) == {"▄", "▆"}

    def test_a_track_joins_samples_and_forgets_the_oldest(self):
        track = Track(2)
        for value in (1.0, 3.0, math.nan, 5.0, 7.0):
            track.add(value, value == 5.0)
        assert track.marks() == [(2.0, False), (5.0, True), (7.0, False)]
        assert track.value == 7.0
        assert track.quantum == 2.0

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (97.0, "97"),
            (-0.5, "-0.500"),
            (61804.7, "61805"),
            (99999.6, "100000"),
            (123456.0, "1.2e5"),
            (1e-9, "1.0e-9"),
        ],
    )
    def test_numbers_are_short(self, value, text):
        assert number(value) == text
        assert len(text) <= 6

    @pytest.mark.parametrize("width", [60, 80, 100, 132, 200])
    @pytest.mark.parametrize("height", [12, 24, 50])
    def test_a_board_fits_its_terminal(self, width, height):
        board = Board(("hr", "spo2", "resp", "abp"), ("/min", "%", "/min", "mmHg"))
        for i in range(300):
            stream = f"ward/bed{i % 20:02d}"
            board.add(stream, [80.0 + i, math.nan, 16.0, 12345.6], i / 50.0, i % 20 == 7, "hr:level", i * SECOND)
        board.heading = "heading"
        console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, color_system=None)
        lines = console.render_lines(board, console.options.update(height=height), pad=False)
        texts = ["".join(segment.text for segment in line).rstrip() for line in lines]
        assert len(texts) <= height
        assert max(map(len, texts)) <= width
        assert any("bed07" in text and "▲ hr:level" in text for text in texts)
        assert all("ward/" not in text for text in texts[1:] if "bed" in text)

    def test_a_board_says_which_channels_it_leaves_out(self):
        board = Board(("hr", "spo2", "resp", "abp"))
        board.add("bed1", [80.0, 97.0, 16.0, 90.0], 0.0, False, None, 0)
        console = Console(width=60, height=20, file=io.StringIO())
        console.print(board)
        assert "not shown: resp, abp" in console.file.getvalue()

    @pytest.mark.parametrize("width", [45, 60, 80])
    def test_a_narrow_heading_shows_what_was_found_in_two_lines(self, width):
        story = Story(simulated("ward", 12, 60.0, None, 0), 60.0)
        story.tally.samples = 14_400
        story.tally.found = dict.fromkeys(story.tally.faults)
        story.tally.played_to = story.tally.faults[-1].end_ns
        console = Console(width=width, file=io.StringIO())
        console.print(story.heading(30.0))
        lines = console.file.getvalue().splitlines()
        assert len(lines) == 2
        assert f"faults found {len(story.tally.faults)} of" in lines[1]

    def test_streams_of_different_widths_share_a_board(self):
        board = Board(())
        board.add("a", [1.0], 0.0, False, None, 0)
        board.add("b", [2.0, 3.0], 0.0, False, None, 0)
        assert board.channels == ["y0", "y1"]
        Console(width=80, file=io.StringIO()).print(board)

    def test_a_board_needs_a_terminal_of_some_size(self):
        assert fits(Console(width=80, height=24, force_terminal=True, file=io.StringIO()))
        assert not fits(Console(width=50, height=24, force_terminal=True, file=io.StringIO()))
        assert not fits(Console(width=80, height=24, force_terminal=False, file=io.StringIO()))


def demo(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "streamrnn", "demo", *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(demo(*arguments), capture_output=True, text=True, timeout=240, check=False)
    assert result.returncode == 0, result.stderr
    return result


def in_a_terminal(command: list[str], environment: dict[str, str]) -> str:
    """All that `command` writes to a terminal of 100 columns and 30 lines."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    plain = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS", "LINES"}}
    settings = {**plain, "TERM": "xterm-256color", **environment}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=settings) as process:
        os.close(theirs)
        pieces = []
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux: the other side has closed
                break
            if not piece:
                break
            pieces.append(piece)
        assert process.wait(60) == 0
    os.close(ours)
    return b"".join(pieces).decode()


class TestWholeRun:
    def test_the_summary_as_json(self):
        summary = json.loads(run("--seconds", 6, "--seed", 1, "--json").stdout)
        feed = simulated("ward", None, 6.0, None, 1)
        assert summary["samples"] == feed.count
        assert summary["injected"] == len(feed.faults) >= 8
        assert summary["found"] >= summary["injected"] // 2
        assert summary["flags"] >= summary["found"]
        assert summary["false_flags"] <= summary["flags"] - summary["found"]
        assert summary["missing"] == int(np.isnan([row.x for row in feed.rows]).sum())
        assert 0.0 < summary["latency_us"]["p50"] <= summary["latency_us"]["p99"]
        assert summary["daemon_us"]["p50"] < summary["latency_us"]["p50"]
        assert not summary["interrupted"]

    def test_without_a_terminal_it_tells_line_by_line(self):
        out = run("--seconds", 4, "--seed", 1).stdout
        assert "\x1b" not in out
        assert "12 simulated beds" in out
        assert "injected" in out
        assert "▲" in out
        assert "found:" in out

    @pytest.mark.parametrize("no_color", [False, True])
    def test_in_a_terminal_it_draws_and_leaves_the_screen_as_it_was(self, no_color):
        shown = in_a_terminal(demo("--seconds", 3, "--seed", 1), {"NO_COLOR": "1"} if no_color else {})
        assert shown.count("\x1b[?1049h") == shown.count("\x1b[?1049l") == 1
        assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")
        live, _, after = shown.partition("\x1b[?1049l")
        assert "bed12" in live
        assert "found" in after
        assert ("\x1b[32m" in live) != no_color

    def test_recordings(self, tmp_path):
        for name in ("left", "right"):
            rows = "".join(f"{i},{80 + i % 5},{97 if i < 400 else 60}\n" for i in range(600))
            (tmp_path / f"{name}.csv").write_text("time_s,hr,spo2\n" + rows)
        feeds = ("--feed", tmp_path / "left.csv", "--feed", tmp_path / "right.csv")
        summary = json.loads(run(*feeds, "--seconds", 3, "--json").stdout)
        assert summary["samples"] == 1200
        assert summary["streams"] == 2
        assert summary["flags"] >= 2
        assert (summary["injected"], summary["false_flags"], summary["seed"]) == (0, 0, None)

    def test_a_picture(self, tmp_path):
        run("--seconds", 2, "--headless", "--svg", tmp_path / "demo.svg")
        svg = (tmp_path / "demo.svg").read_text()
        assert "bed12" in svg
        assert "http" not in svg.replace("http://www.w3.org", "").replace("https://www.textualize.io", "")

    @pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
    def test_ended_early_it_still_sums_up(self, sign):
        with subprocess.Popen(
            demo("--seconds", 300, "--speed", 100, "--headless"), stdout=subprocess.PIPE, text=True
        ) as process:
            assert "simulated beds" in process.stdout.readline()
            assert process.stdout.readline()  # something has happened on the ward
            process.send_signal(sign)
            out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "samples" in out
        assert "latency" in out


def test_a_daemon_of_ones_own_does_not_outlive_its_parent():
    code = (
        "import sys; from streamrnn.cli.tether import OwnDaemon\n"
        "with OwnDaemon() as daemon:\n"
        "    daemon.wait_ready(240)\n"
        "    print(daemon.control, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        control = parent.stdout.readline().decode().strip()
        with Control(control, timeout=10.0) as asking:
            asking.ping()
        parent.kill()
    # Its folder is the last thing that it tidies up.
    folder = Path(control.removeprefix("ipc://")).parent
    deadline = time.monotonic() + 30.0
    while folder.exists():
        assert time.monotonic() < deadline, "the daemon outlived its parent"
        time.sleep(0.05)
    with Control(control, timeout=0.2, retries=0) as asking, pytest.raises(Timeout):
        asking.ping()


def test_a_daemon_that_cannot_start_says_why():
    with OwnDaemon(["--frob"]) as daemon, pytest.raises(StreamRNNError, match="--frob"):
        daemon.wait_ready(60)
