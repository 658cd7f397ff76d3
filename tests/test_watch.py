"""`streamrnn watch`: what is shown is alive, refusals do not flood it, and what it shows says what it is."""

from __future__ import annotations

import io
import json
import math
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator

import pytest
from daemon_process import eventually
from fake_daemon import FakeDaemon
from rich.console import Console
from terminal import Terminal

from streamrnn.cli.board import Board
from streamrnn.cli.published import Folded
from streamrnn.cli.watch import _model
from streamrnn.client import Event
from streamrnn.wire.messages import encode_event, encode_output, encode_reply, output_topic

MODEL = {"model": {"name": "adaptive", "head": "forecast", "features": ["hr", "spo2"]}}


def refusal(stream: str = "bed1", code: str = "bad_time") -> Event:
    return Event("rejected", stream, 10**9, {"code": code, "reason": "t goes back"})


def test_repeated_refusals_become_one_line():
    folded = Folded(window=2.0)
    assert [line.plain for line in folded.lines(refusal(), 0.0)] == [
        "00:00:01 bed1 rejected code=bad_time reason=t goes back"
    ]
    assert not [line for i in range(479) for line in folded.lines(refusal(), 0.5 + i / 1000)]
    assert len(folded.lines(refusal(code="wrong_width"), 1.0)) == 1
    assert len(folded.lines(refusal("bed2"), 1.0)) == 1
    assert not folded.due(1.9)
    (more,) = folded.due(2.0)
    assert "bed1 rejected code=bad_time 479 more" in more.plain
    assert not folded.due(4.0)
    assert len(folded.lines(refusal(), 5.0)) == 1


def test_other_events_are_never_folded_and_the_rest_is_told_at_the_end():
    folded = Folded()
    for _ in range(3):
        assert len(folded.lines(Event("created", "bed1", 1), 0.0)) == 1
    for _ in range(3):
        folded.lines(refusal(), 0.0)
    assert [line.plain.split(" more")[0][-1] for line in folded.rest()] == ["2"]


def drawn(board: Board) -> str:
    out = io.StringIO()
    Console(width=100, height=20, file=out).print(board)
    return out.getvalue()


def test_a_missing_channel_is_marked():
    board = Board(["hr", "spo2"])
    board.caption = "what this is"
    board.add("bed1", [80.0, 97.0], 0.0, False, None, 1, [1])
    assert "97?" in drawn(board)
    assert "80?" not in drawn(board)
    assert "what this is" in drawn(board)
    board.add("bed1", [80.0, 97.0], 0.0, False, None, 2)
    assert "97?" not in drawn(board)
    board.add("bed1", [math.nan, 97.0], 0.0, False, None, 2, [0])
    assert "--" in drawn(board)


def test_a_price_shows_its_ticks():
    board = Board(["bid", "ask"])
    for bid in (61826.0, 61826.5, 61826.0):
        board.add("BTC", [bid, bid + 0.5], 0.0, False, None, 1)
    assert "61826.0" in drawn(board)
    assert "61826.5" in drawn(board)


def test_a_board_of_many_streams_stays_small():
    tracemalloc.start()
    try:
        board = Board(["hr", "spo2", "resp", "abp"])
        for i in range(150):
            for k in range(100):
                board.add(f"bed{k}", [80.0 + i, 97.0 + i / 3, 16.0, 85.5 * i], 0.1 * i, False, None, i)
        assert tracemalloc.get_traced_memory()[0] < 100 * 6_000
    finally:
        tracemalloc.stop()


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    with FakeDaemon() as fake:
        yield fake


def watch(daemon: FakeDaemon, *arguments: str) -> list[str]:
    where = ["--endpoint", daemon.outputs, "--control", daemon.control]
    return [sys.executable, "-m", "streamrnn", "watch", *where, *arguments]


def answer(daemon: FakeDaemon) -> None:
    """Tell the model to whoever asks."""
    assert daemon.router.poll(30_000)
    *envelope, _ = daemon.router.recv_multipart()
    daemon.router.send_multipart([*envelope, encode_reply(**MODEL)])


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"head": "forecast", "features": ["hr"]}, (("hr",), True)),
        ({"head": "forecast", "features": ["hr"], "outputs": ["hr", "hr_sd"]}, (("hr", "hr_sd"), True)),
        ({"head": "classify", "features": ["hr"], "outputs": ["y0", "y1"]}, ((), False)),
        ({"head": "forecast", "features": ["token"], "outputs": [], "tokens": 32}, ((), False)),
        ({"name": "adaptive"}, ((), True)),
    ],
)
def test_values_have_the_names_of_the_model_s_outputs(monkeypatch, model, expected):
    class Asked:
        def __init__(self, *arguments, **options):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def info(self):
            return {"model": model}

    monkeypatch.setattr("streamrnn.client.Control", Asked)
    assert _model("nowhere") == expected


def test_a_stream_that_was_evicted_leaves_and_a_lost_connection_is_said(daemon):
    with Terminal(watch(daemon)) as terminal:
        assert daemon.pub.poll(30_000)
        answer(daemon)
        terminal.until("waiting for samples")
        for stream in ("bed1", "bed2"):
            daemon.publish(output_topic(stream), encode_output(1, 1, [80.0, 97.0], 0.0, False, None, 1, 1, 1, 1, [1]))
        terminal.until("2 streams")
        terminal.until("97?")
        terminal.until("as forecast")
        daemon.publish(*encode_event("evicted", "bed1", 1, reason="idle", n=1))
        terminal.until("1 streams")
        daemon.close()
        terminal.until("connection lost")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.status() == 130


def test_ctrl_c_while_it_waits_and_what_it_waits_for():
    with FakeDaemon() as gone:
        command = watch(gone)
        address = gone.outputs
    with Terminal(command) as terminal:
        terminal.until(f"waiting for a daemon at {address}")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.status() == 130


def test_programs_get_the_names_of_the_values(daemon):
    with subprocess.Popen(watch(daemon, "--json", "-n", "1"), stdout=subprocess.PIPE, text=True) as process:
        answer(daemon)
        daemon.pub.poll(10_000)
        eventually(lambda: (daemon.publish(output_topic("bed1"), BODY), process.poll() is not None)[1])
        out, _ = process.communicate(timeout=30)
    assert json.loads(out)["features"] == ["hr", "spo2"]


BODY = encode_output(1, 1, [80.0, 97.0], 0.0, False, None, 1, 1, 1, 1, None)


def test_lines_say_that_the_connection_was_lost(daemon, tmp_path):
    told = tmp_path / "stderr"
    with told.open("w") as file, subprocess.Popen(watch(daemon, "--flags"), stderr=file) as process:
        try:
            assert daemon.pub.poll(30_000)
            daemon.pub.recv()
            daemon.close()
            eventually(lambda: f"connection to {daemon.outputs} lost" in told.read_text(), what="the notice")
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
        finally:
            process.kill()
