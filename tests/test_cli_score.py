"""`streamrnn score` over a file gives the bits that a daemon gives for the same file through its sockets."""

from __future__ import annotations

import csv
import gzip
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from recorded import DATA, needs

from streamrnn import Engine, Model
from streamrnn.cli.tether import OwnDaemon
from streamrnn.client import Output, Subscriber
from streamrnn.simulate import Feed, ward


def streamrnn(*arguments: object) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, "-m", "streamrnn", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result


def save(feed: Feed, path: Path) -> Path:
    """The feed as a CSV file with a column for the stream."""
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["bed", "time_ns", *feed.channels])
        for t, stream, x in feed.rows():
            out.writerow([stream, t, *("" if np.isnan(value) else value for value in x)])
    return path


def scored(*arguments: object) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(streamrnn("score", *arguments).stdout)))


RATE = "4000/s"
"""Slow enough that the daemon's queue never fills: over a Unix socket ZeroMQ drops what is still in the kernel's
buffer when a publisher that was held up closes (over TCP it does not)."""


def live(files: list[Path], reading: list[str], serving: list[str], n: int) -> list[Output]:
    """What a daemon publishes for `files`, in order: `n` outputs."""
    with OwnDaemon(serving) as daemon:
        daemon.wait_ready(240)
        with Subscriber(daemon.outputs, "out/", hwm=0) as subscriber:
            subscriber.wait()
            streamrnn("publish", *files, *reading, "--rate", RATE, "--endpoint", daemon.ingest)
            return [subscriber.recv(60) for _ in range(n)]


def bits(values: object) -> bytes:
    return np.asarray(values, np.float32).tobytes()


def assert_the_same(rows: list[dict[str, str]], outputs: list[Output], *, stream: str | None = None) -> None:
    assert len(rows) == len(outputs) > 0
    columns = [name for name in rows[0] if name.startswith("y")]
    for row, output in zip(rows, outputs, strict=True):
        assert output.stream == row.get("stream", stream)
        assert bits([float(row[name]) for name in columns]) == bits(output.y)
        assert bits(float(row["score"])) == bits(output.score)
        assert row["flag"] == str(int(output.flag))
        assert row["cause"] == (output.cause or "")
        if "t" in row:
            assert int(row["t"]) == output.t


def test_a_ward_live_and_offline(tmp_path):
    feed = ward(beds=3, seconds=900, seed=2, calm=100)
    path = save(feed, tmp_path / "ward.csv")
    reading = ["--stream-column", "bed"]
    rows = scored(path, *reading)
    assert any(row["flag"] == "1" for row in rows)
    assert any(row["hr"] == "" for row in rows)
    assert_the_same(rows, live([path], reading, ["--features", ",".join(feed.channels)], len(rows)))


def test_without_names_the_daemon_differs_in_the_words_of_causes_alone(tmp_path):
    """As the README and the help of `score` say."""
    path = tmp_path / "bed.csv"
    path.write_text("hr,spo2\n" + "72,98\n" * 99 + "72,80\n" * 5)
    rows = scored(path)
    assert {row["cause"] for row in rows} == {"", "spo2:envelope"}
    outputs = live([path], [], [], len(rows))
    assert {output.cause for output in outputs} == {None, "x1:envelope"}
    for row in rows:
        row["cause"] = row["cause"].replace("spo2", "x1")
    assert_the_same(rows, outputs, stream="bed")
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    for text in (readme, streamrnn("score", "--help").stdout):
        assert "x0" in text
        assert "--features" in text


def test_several_files_and_a_model_file(tmp_path):
    feed = ward(beds=2, seconds=300, seed=4)
    model = tmp_path / "vitals.safetensors"
    Model.random(cell="gru", n_in=2, hidden=9, layers=2, n_out=3, seed=5, features=["spo2", "hr"]).save(model)
    files = []
    for i, name in enumerate(("left", "right")):
        mine = feed.stream == i
        part = Feed(feed.channels, feed.units, feed.streams, feed.t[mine], feed.stream[mine], feed.x[mine])
        files.append(save(part, tmp_path / f"{name}.csv"))
    rows = scored(*files, "--model", model, "--columns", "spo2,hr")
    assert {row["stream"] for row in rows} == {"left", "right"}
    assert_the_same(rows, live(files, ["--columns", "spo2,hr"], [str(model)], len(rows)))


def test_rows_that_go_back_in_time_are_left_out_on_both_sides(tmp_path):
    path = tmp_path / "bed.csv"
    path.write_text("time_s,x\n1,1\n2,2\n1.5,9\n3,3\n")
    result = streamrnn("score", path)
    assert "1 rows went back in time" in result.stderr
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["x"] for row in rows] == ["1", "2", "3"]
    assert_the_same(rows, live([path], [], ["--features", "x"], len(rows)), stream="bed")


@needs("vitals")
def test_recorded_vital_signs_live_and_offline():
    files = sorted((DATA / "vitals").glob("bidmc_0[1-5].csv"))
    rows = scored(*files)
    assert_the_same(rows, live(files, [], ["--features", "hr,pulse,resp,spo2"], len(rows)))


@needs("ticks")
def test_recorded_ticks_without_times_live_and_offline():
    path = DATA / "ticks" / "cm_ethusd_perp_20240808.csv.gz"
    reading = ["--where", "kind=quote", "--stream-column", "symbol", "--columns", "bid,bid_qty,ask,ask_qty"]
    reading += ["--time", "none"]
    rows = scored(path, *reading)
    assert "t" not in rows[0]
    assert_the_same(rows, live([path], reading, ["--features", "bid,bid_qty,ask,ask_qty"], len(rows)))


def test_what_is_written_reads_back_to_the_same_bits(tmp_path):
    feed = ward(beds=1, seconds=200, seed=6)
    path = save(feed, tmp_path / "bed1.csv")
    rows = scored(path, "--columns", "hr,spo2,resp,abp")
    out = Engine(Model.adaptive(4)).step_many(["bed1"] * len(feed), feed.x, feed.t)
    assert bits([[float(row[f"y_{name}"]) for name in feed.channels] for row in rows]) == out.y.tobytes()
    given = [[float(row[name] or "nan") for name in feed.channels] for row in rows]
    np.testing.assert_array_equal(np.array(given, np.float32), feed.x)


def test_parquet_holds_the_same(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = save(ward(beds=2, seconds=120, seed=7), tmp_path / "ward.csv")
    rows = scored(path, "--stream-column", "bed")
    streamrnn("score", path, "--stream-column", "bed", "-o", tmp_path / "out.parquet")
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.column_names == list(rows[0])
    assert table["stream"].to_pylist() == [row["stream"] for row in rows]
    assert table["t"].cast("int64").to_pylist() == [int(row["t"]) for row in rows]
    assert bits(table["y_spo2"].to_pylist()) == bits([float(row["y_spo2"]) for row in rows])
    assert table["hr"].null_count == sum(row["hr"] == "" for row in rows)


def test_a_failed_run_leaves_no_half_a_table_behind(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("x\n" + "1\n" * 5000 + "oops\n")
    out = tmp_path / "out.csv"
    out.write_text("what was there before")
    command = [sys.executable, "-m", "streamrnn", "score", str(path), "-o", str(out), "--force"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert result.returncode == 2
    assert "bad.csv:5002" in result.stderr
    assert out.read_text() == "what was there before"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bad.csv", "out.csv"]


def failed(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streamrnn", "score", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result


@pytest.mark.parametrize("name", ["out.xyz", "out", "csv"])
def test_an_output_of_no_known_kind_is_refused(tmp_path, name):
    path = tmp_path / "bed.csv"
    path.write_text("x\n1\n")
    result = failed(path, "-o", tmp_path / name)
    assert name in result.stderr
    assert "must end in .csv, .csv.gz or .parquet" in result.stderr
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("option", [["--stream-column", "s"], ["--stream", "a\x07b", "--columns", "x"]])
def test_an_id_that_is_wrong_is_said_before_anything_is_written(tmp_path, option):
    path = tmp_path / "bed.csv"
    path.write_text("s,x\ngood,1\na\x07b,2\n")
    assert "control character" in failed(path, *option).stderr


def test_columns_that_are_called_like_ours_are_renamed(tmp_path):
    path = tmp_path / "odd.csv"
    path.write_text("score,y_score,flag\n1,2,3\n")
    header = streamrnn("score", path).stdout.splitlines()[0].split(",")
    assert len(set(header)) == len(header)
    assert header[-3:] == ["score", "flag", "cause"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("self.csv", "is what is read"),
        ("link.csv", "is what is read"),
        ("there.csv", "is there already"),
        ("out.txt", "must end in .csv, .csv.gz or .parquet"),
        ("out.gz", "must end in"),
        ("no/such/out.csv", "there is no folder"),
        ("folder.csv", "is a folder"),
    ],
)
def test_an_output_that_cannot_be_meant_is_refused(tmp_path, name, says):
    text = "x\n1\n2\n"
    for there in ("self.csv", "there.csv"):
        (tmp_path / there).write_text(text)
    (tmp_path / "link.csv").symlink_to(tmp_path / "self.csv")
    (tmp_path / "folder.csv").mkdir()
    before = sorted(tmp_path.rglob("*"))
    result = score(tmp_path / "self.csv", "-o", tmp_path / name)
    assert result.returncode == 2
    assert says in result.stderr
    assert name in result.stderr
    assert ".part" not in result.stderr
    assert (result.stdout, sorted(tmp_path.rglob("*"))) == ("", before)
    assert (tmp_path / "self.csv").read_text() == (tmp_path / "there.csv").read_text() == text


def test_force_replaces_but_never_the_input(tmp_path):
    (tmp_path / "self.csv").write_text("x\n1\n2\n")
    (tmp_path / "there.csv").write_text("old")
    assert score(tmp_path / "self.csv", "-o", tmp_path / "there.csv", "--force").returncode == 0
    assert (tmp_path / "there.csv").read_text().startswith("x,y_x,")
    assert score(tmp_path / "self.csv", "-o", tmp_path / "self.csv", "--force").returncode == 2


def test_a_name_that_says_gzip_is_gzipped(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n2\n")
    assert score(tmp_path / "a.csv", "-o", tmp_path / "out.csv.gz").returncode == 0
    with gzip.open(tmp_path / "out.csv.gz", "rt") as file:
        assert file.readline() == "x,y_x,score,flag,cause\n"


@pytest.mark.parametrize("packed", [False, True])
def test_standard_input(tmp_path, packed):
    feed = ward(beds=1, seconds=60, seed=6)
    path = save(feed, tmp_path / "bed1.csv")
    expected = score(path, "--columns", "hr,spo2")
    command = [sys.executable, "-m", "streamrnn", "score", "-", "--columns", "hr,spo2"]
    given = gzip.compress(path.read_bytes()) if packed else path.read_bytes()
    result = subprocess.run(command, input=given, capture_output=True, timeout=240, check=False)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode() == expected.stdout


def test_what_was_written_is_said(tmp_path):
    path = tmp_path / "a.csv"
    still = [f"{i},{s},{97 - 60 * (s == 'b' and 100 <= i < 103)}" for i in range(150) for s in "ab"]
    path.write_text("t,bed,spo2\n" + "\n".join(still) + "\n")
    result = score(path, "--stream-column", "bed", "-o", tmp_path / "out.csv")
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == f"streamrnn: {tmp_path}/out.csv: 300 rows of 2 streams, 1 flag raised\n"


def test_rows_left_out_are_said_and_a_condition_that_nothing_meets_is_an_error(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("t,x\n1,2\n2,fast\n3,4\n")
    result = score(path, "--skip-bad-rows")
    assert result.returncode == 0
    assert len(result.stdout.splitlines()) == 3
    assert result.stderr == (
        f"streamrnn: 1 row could not be read and left out (first: {path}:3: column 'x': 'fast' is not a number; "
        "choose the columns with --columns)\n"
    )
    result = score(path, "--where", "x=9999", "--columns", "x")
    assert (result.returncode, result.stdout) == (2, "")
    assert "has x=9999" in result.stderr


def score(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streamrnn", "score", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
