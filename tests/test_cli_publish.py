"""`streamrnn publish` against a daemon that refuses, that goes, and that comes back: what was lost is said."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_process import DaemonProcess, eventually

from streamrnn.cli.receipts import Receipts
from streamrnn.client import Publisher


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "streamrnn", "publish", *map(str, arguments)]


def to(daemon: DaemonProcess) -> list[str]:
    return ["--endpoint", daemon.ingest, "--outputs", daemon.outputs]


def publish(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120, check=False)


def write(path: Path, rows: int) -> Path:
    path.write_text("time_s,hr,spo2\n" + "".join(f"{i},{80 + i % 3},{97 - i % 2}\n" for i in range(rows)))
    return path


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonProcess]:
    with DaemonProcess() as process:
        yield process


def test_all_answered(daemon, tmp_path):
    done = publish(write(tmp_path / "well.csv", 40), "--rate", "max", *to(daemon))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "streamrnn: 40 samples sent, all of them answered\n"


def test_the_same_again_is_refused_and_that_is_no_success(daemon, tmp_path):
    path = write(tmp_path / "twice.csv", 40)
    assert publish(path, "--rate", "max", *to(daemon)).returncode == 0
    done = publish(path, "--rate", "max", *to(daemon))
    assert done.returncode == 1
    assert "40 samples sent, 1 answered, 39 refused: bad_time 39 (" in done.stderr
    assert done.stderr.count("\n") == 1


def test_another_width_is_refused_with_its_reason(daemon, tmp_path):
    path = write(tmp_path / "width.csv", 10)
    publish(path, "--columns", "hr", "--rate", "max", *to(daemon))
    done = publish(path, "--rate", "max", *to(daemon))
    assert done.returncode == 1
    assert "0 answered, 10 refused: wrong_width 10 (" in done.stderr


def test_streams_named_by_a_column_are_followed_too(daemon, tmp_path):
    path = tmp_path / "ward.csv"
    path.write_text("t,bed,hr\n" + "".join(f"{i},c{i % 3},80\n" for i in range(30)))
    done = publish(path, "--stream-column", "bed", "--rate", "max", *to(daemon))
    assert (done.returncode, done.stderr) == (0, "streamrnn: 30 samples sent, all of them answered\n")


def test_standard_input_is_a_feed_too(daemon):
    arguments = command("-", "--stream", "piped", "--rate", "max", *to(daemon))
    text = "time_s,hr\n" + "".join(f"{i},80\n" for i in range(25))
    done = subprocess.run(arguments, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "streamrnn: 25 samples sent, all of them answered\n")
    assert daemon.ask("stream", stream="piped")["n"] == 25


def test_what_went_out_before_a_bad_row_is_said(daemon, tmp_path):
    path = write(tmp_path / "bad.csv", 20)
    path.write_text(path.read_text() + "20,fast,97\n")
    done = publish(path, "--rate", "max", *to(daemon))
    assert done.returncode == 2
    assert "bad.csv:22: column 'hr': 'fast' is not a number" in done.stderr
    assert "before that 20 samples sent, 20 answered" in done.stderr


def test_an_interrupted_publisher_says_how_far_it_came(daemon, tmp_path):
    path = write(tmp_path / "slow.csv", 1000)
    with subprocess.Popen(command(path, *to(daemon)), stderr=subprocess.PIPE, text=True) as process:
        eventually(lambda: any(s["id"] == "slow" for s in daemon.ask("streams")["streams"]), 60)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.startswith("streamrnn: interrupted: ")
    assert "sent" in err


def lines_of(process: subprocess.Popen[str]) -> list[str]:
    """The lines of stderr as they come."""
    lines: list[str] = []
    threading.Thread(target=lambda: lines.extend(iter(process.stderr.readline, "")), daemon=True).start()
    return lines


@pytest.mark.parametrize("tcp", [False, True])
def test_a_daemon_that_goes_is_missed(tmp_path, tcp):
    path = write(tmp_path / "gone.csv", 1000)
    with DaemonProcess(tcp=tcp) as first:
        arguments = command(path, "--rate", "100/s", "--timeout", "0.5", *to(first))
        with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
            eventually(lambda: first.counters["accepted"] > 20, 60)
            first.stop()
            accepted = first.lines("stopped")[0]["accepted"]
            _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    waits, lost = err.splitlines()
    assert "went away; waiting 0.5 s for it" in waits
    assert "was not back within 0.5 s; before that" in lost
    assert f" {accepted} answered" in lost


def test_a_daemon_that_comes_back_is_served_again(tmp_path):
    path = write(tmp_path / "back.csv", 120)
    with DaemonProcess() as first:
        arguments = command(path, "--rate", "50/s", "--timeout", "60", *to(first))
        with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
            lines = lines_of(process)
            eventually(lambda: first.counters["accepted"] > 20, 60)
            first.stop()
            eventually(lambda: lines, 20)
            same = [f"--{role}={getattr(first, role)}" for role in ("ingest", "outputs", "control")]
            with DaemonProcess(*same) as second:
                status = process.wait(60)
                accepted = second.counters["accepted"]
    assert "went away" in lines[0]
    assert "is back" in lines[1]
    assert accepted > 50
    assert status == ("all of them answered" not in lines[2])


def test_without_its_outputs_nothing_is_claimed(daemon, tmp_path):
    done = publish(write(tmp_path / "blind.csv", 10), "--rate", "max", "--endpoint", daemon.ingest)
    assert (done.returncode, done.stderr) == (0, "streamrnn: 10 samples sent\n")
    nowhere = f"ipc://{tmp_path}/nobody"
    done = publish(write(tmp_path / "deaf.csv", 10), "--rate", "max", *to(daemon)[:2], "--outputs", nowhere)
    assert done.returncode == 0
    assert "name their endpoint with --outputs" in done.stderr


def test_a_publisher_knows_whether_its_daemon_is_there(daemon):
    with Publisher(daemon.ingest) as publisher:
        publisher.wait()
        assert publisher.connected
    with DaemonProcess() as other, Publisher(other.ingest) as publisher:
        publisher.wait()
        assert publisher.connected
        other.stop()
        eventually(lambda: not publisher.connected)
        assert publisher.subscribed  # what is sent now waits for the next daemon


def test_refusals_that_the_rate_limit_held_back_are_counted():
    with (
        DaemonProcess("--event-burst=3", "--event-rate=2") as process,
        Publisher(process.ingest) as publisher,
        Receipts(process.outputs, ["bed1"]) as receipts,
    ):
        receipts.wait(10)
        publisher.wait()
        for t in [100, *range(40)]:
            receipts.note("bed1")
            publisher.send("bed1", [1.0], t=t)
        eventually(lambda: (receipts.take(0.05), receipts.open == 0)[1])
        assert (receipts.answered, dict(receipts.refused)) == (1, {"bad_time": 40})
