"""CSV files as feeds: columns, times, missing values, several files at once, and what is refused."""

from __future__ import annotations

import gzip
import itertools
import math
from pathlib import Path

import pytest

from streamrnn.cli.feeds import Layout, Recording, Row
from streamrnn.cli.times import time_parser
from streamrnn.errors import ConfigError, Malformed

TICKS = Path(__file__).parents[2] / "shared" / "data" / "ticks"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def read(*paths: Path, **layout: object) -> list[Row]:
    with Recording(paths, Layout(**layout)) as recording:
        return list(recording.rows())


def test_the_plain_case(tmp_path):
    path = write(tmp_path / "bed1.csv", "time_s,hr,spo2\n0,94,97\n1.5,,96.5\n")
    with Recording([path], Layout()) as recording:
        assert recording.columns == ("hr", "spo2")
        assert recording.timed
        assert not recording.several
        first, second = recording.rows()
        assert recording.bytes_read == recording.bytes_total
    assert first == Row(0, "bed1", [94.0, 97.0])
    assert second.t == 1_500_000_000
    assert math.isnan(second.x[0])
    assert second.x[1] == 96.5


@pytest.mark.parametrize("word", ["", " ", "NaN", "NA", "null", "none", "-"])
def test_missing_values(tmp_path, word):
    (row,) = read(write(tmp_path / "a.csv", f"t,x,y\n1,{word},2\n"))
    assert math.isnan(row.x[0])
    assert row.x[1] == 2.0


def test_gzip_is_recognised_by_its_bytes(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"x\n1\n2\n"))
    assert [row.x for row in read(path)] == [[1.0], [2.0]]
    assert read(path)[0].stream == "a"
    plain = path.rename(tmp_path / "b.csv")
    assert [row.stream for row in read(plain)] == ["b", "b"]


def test_chosen_columns_keep_their_order(tmp_path):
    path = write(tmp_path / "a.csv", "when,a,note,b\n5,1,hello,2\n")
    (row,) = read(path, time="when", unit="ms", columns=("b", "a"))
    assert row == Row(5_000_000, "a", [2.0, 1.0])


def test_a_column_names_the_stream_and_rows_are_selected(tmp_path):
    path = write(tmp_path / "t.csv", "kind,ts_ns,symbol,bid\nquote,1,BTC,5\ntrade,2,BTC,\nquote,3,ETH,7\n")
    rows = read(path, stream_column="symbol", where=(("kind", "quote"),))
    assert rows == [Row(1, "BTC", [5.0]), Row(3, "ETH", [7.0])]


def test_files_are_merged_by_time(tmp_path):
    a = write(tmp_path / "a.csv", "t,x\n1,1\n4,2\n")
    b = write(tmp_path / "b.csv", "t,x\n2,3\n3,4\n4,5\n")
    assert [(row.stream, row.x[0]) for row in read(a, b)] == [("a", 1), ("b", 3), ("b", 4), ("a", 2), ("b", 5)]
    assert [row.stream for row in read(a, b, streams=("left", "right"))][:2] == ["left", "right"]


def test_files_without_times_take_turns(tmp_path):
    a = write(tmp_path / "a.csv", "x\n1\n2\n3\n")
    b = write(tmp_path / "b.csv", "x\n4\n5\n")
    assert [row.x[0] for row in read(a, b)] == [1, 4, 2, 5, 3]
    assert all(row.t is None for row in read(a, b))


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_blank_lines_and_a_byte_order_mark(tmp_path, delimiter):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbf" + delimiter.join(["t", "x"]).encode() + f"\r\n\r\n1{delimiter}2\r\n".encode())
    assert read(path) == [Row(1_000_000_000, "a", [2.0])]


@pytest.mark.parametrize(
    ("name", "unit", "cell", "ns"),
    [
        ("time_s", None, "-0", 0),
        ("time_s", None, "1723161256.207640365", 1723161256207640365),
        ("local_ns", None, "1723161256207640365", 1723161256207640365),
        ("time_ms", None, "1.5", 1_500_000),
        ("when", "us", "7", 7000),
        ("timestamp", None, "1700000000", 1_700_000_000 * 10**9),
        ("timestamp", None, "1700000000123", 1_700_000_000_123 * 10**6),
        ("timestamp", None, "1700000000123456", 1_700_000_000_123_456 * 10**3),
        ("timestamp", None, "1700000000123456789", 1_700_000_000_123_456_789),
        ("timestamp", None, "2014-04-01 00:00:00", 1_396_310_400 * 10**9),
        ("timestamp", None, "2014-04-01T02:00:00.123456789+02:00", 1_396_310_400_123_456_789),
        ("timestamp", None, "2014-03-31T19:30:00-0430", 1_396_310_400 * 10**9),
        ("date", "iso", "2014-04-01", 1_396_310_400 * 10**9),
        ("date", "iso", "2014-04-01T00:00Z", 1_396_310_400 * 10**9),
        ("date", "iso", "1969-12-31 23:59:59.5", -500_000_000),
    ],
)
def test_times_are_exact(name, unit, cell, ns):
    assert time_parser(name, unit, cell)(cell) == ns


@pytest.mark.parametrize(
    ("text", "layout", "error", "says"),
    [
        ("", {}, Malformed, "empty"),
        ("1,2\n3,4\n", {}, Malformed, "must name the columns"),
        ("t,x\n1,abc\n", {}, Malformed, r"a\.csv:2: column 'x': 'abc' is not a number"),
        ("t,x\n1,2\n\n2,1e39\n", {}, Malformed, r"a\.csv:4: column 'x': '1e39' is beyond float32"),
        ("t,x\n1,-inf\n", {}, Malformed, "beyond float32"),
        ("t,x,y\n1,2,3\n1,2\n", {}, Malformed, r"a\.csv:3: 2 cells where the first line names 3 columns"),
        ("t,x\n0,1\n0,1,5\n", {}, Malformed, r"a\.csv:3: 3 cells where the first line names 2 columns; .*'5'"),
        ("t,x\n0,1,,5\n", {}, Malformed, r"a\.csv:2: 4 cells where the first line names 2 columns"),
        ("t,x,y\n0,1,2,3\n", {"columns": ("x",)}, Malformed, "4 cells"),
        ("t,x\n0,1_000\n", {}, Malformed, r"a\.csv:2: column 'x': '1_000' is not a number"),
        ("t,x\n0,1\n1_0,1\n", {}, Malformed, r"a\.csv:3: column 't': '1_0' is not a time"),
        ("t,x\n1_0,1\n", {}, Malformed, r"a\.csv:2: column 't': '1_0' is neither"),
        ("s,x\nbed1,1\n,2\n", {"stream_column": "s"}, Malformed, r"a\.csv:3: column 's': stream id of 0 bytes"),
        ("s,x\na\x07b,1\n", {"stream_column": "s"}, Malformed, r"a\.csv:2: column 's': .*control character"),
        ("t,x\n1,2\n", {"streams": ("a" * 201,)}, ConfigError, "201 bytes.*--stream"),
        ("t,x\n1,2\n", {"streams": ("",)}, ConfigError, "0 bytes.*--stream"),
        ("t,x\n1,2\nsoon,3\n", {}, Malformed, r"a\.csv:3: column 't': 'soon' is not a time"),
        ("t,x\nsoon,3\n", {}, Malformed, "neither a number nor a date"),
        ("t,x\n,3\n", {"unit": "s"}, Malformed, "is not a time"),
        ("t,x\n1e30,3\n", {"unit": "s"}, Malformed, "is not a time"),
        ("t,x\n2014-13-01,3\n", {"unit": "iso"}, Malformed, "is not a time"),
        ("t,x\n1,2\n", {"columns": ("x", "z")}, ConfigError, "no column 'z': it has t, x"),
        ("t,x,x\n1,2,3\n", {"columns": ("x",)}, ConfigError, "2 columns named 'x'"),
        ("t,x\n1,2\n", {"time": "when"}, ConfigError, "no column 'when'"),
        ("t\n1\n", {}, ConfigError, "no column of values"),
        ("t,x\n1,2\n", {"stream_column": "s"}, ConfigError, "no column 's'"),
        ("t,x\n1,2\n", {"streams": ("a", "b")}, ConfigError, "2 times for 1 files"),
        ("t,x\n1,2\n", {"streams": ("a",), "stream_column": "x"}, ConfigError, "give one of them"),
    ],
)
def test_what_is_refused_is_named(tmp_path, text, layout, error, says):
    with pytest.raises(error, match=says):
        read(write(tmp_path / "a.csv", text), **layout)


def test_empty_cells_after_the_last_column_hold_nothing(tmp_path):
    assert read(write(tmp_path / "a.csv", "t,x\n1,2,\n2,3,, \n"))[1] == Row(2_000_000_000, "a", [3.0])


def test_underscores_that_are_no_numbers_are_welcome(tmp_path):
    rows = read(write(tmp_path / "a.csv", "s,x_1,2_3\nbed_1,1,2\nbed_2,,3\n"), stream_column="s")
    assert [row.stream for row in rows] == ["bed_1", "bed_2"]
    assert rows[0].x == [1.0, 2.0]


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"t,x\n1,\xff\n")
    with pytest.raises(Malformed, match=r"(?i)utf-8"):
        read(path)
    path.write_bytes(gzip.compress(b"t,x\n" + b"1,2\n" * 50_000)[:-200])
    with pytest.raises(Malformed, match=r"unreadable|not a CSV"):
        read(path)


def test_files_must_agree(tmp_path):
    a = write(tmp_path / "a.csv", "t,x\n1,2\n")
    with pytest.raises(ConfigError, match="choose those that both have"):
        read(a, write(tmp_path / "b.csv", "t,y\n1,2\n"))
    with pytest.raises(ConfigError, match="only one has times"):
        read(a, write(tmp_path / "c.csv", "x\n2\n"))
    (tmp_path / "deep").mkdir()
    with pytest.raises(ConfigError, match="both be the stream 'a'"):
        read(a, write(tmp_path / "deep" / "a.csv", "t,x\n1,2\n"))
    with pytest.raises(FileNotFoundError):
        read(a, tmp_path / "nowhere.csv")


@pytest.mark.skipif(not TICKS.is_dir(), reason="the recorded market ticks are not here")
def test_recorded_ticks_of_four_markets_in_order_of_time():
    paths = sorted(TICKS.glob("*.csv.gz"))
    rows = read(
        *paths,
        stream_column="symbol",
        where=(("kind", "quote"),),
        columns=("bid", "bid_qty", "ask", "ask_qty"),
    )
    assert len({row.stream for row in rows}) == len(paths) == 4
    assert all(a.t <= b.t for a, b in itertools.pairwise(rows))
    assert not any(math.isnan(value) for row in rows for value in row.x)
