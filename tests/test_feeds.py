"""CSV files as feeds: columns, times, missing values, several files at once, and what is refused."""

from __future__ import annotations

import gzip
import itertools
import math
from pathlib import Path

import pytest
from recorded import DATA, needs

from streamrnn.errors import ConfigError, Malformed
from streamrnn.feeds import Layout, Recording, Row
from streamrnn.feeds.times import time_parser


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
        ("t,x,x\n1,2,3\n", {}, ConfigError, r"a\.csv has 2 columns named 'x'"),
        ('t,x\n1,2\n3,"4\n', {}, Malformed, r"a\.csv: unreadable after line 2"),
        ("t;x\n1;36,6\n", {}, Malformed, "'36,6' is not a number; .*--decimal-comma"),
        ("t;x\n1;1.234,5\n", {"decimal_comma": True}, Malformed, "has a point"),
        ("t,x\n03/04/2024 10:00,1\n", {}, Malformed, "--time-format"),
        ("t,x\n2024-04-03,1\n", {"time_format": "%d/%m/%Y"}, Malformed, "is not a time"),
        ("t,x,k\n1,2,3\n", {"where": (("k", "9999"),)}, ConfigError, "no row of .*a.csv has k=9999"),
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


def test_another_encoding_is_named_in_the_error_and_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("t,Sättigung\n1,97\n".encode("latin-1"))
    with pytest.raises(Malformed, match=r"a\.csv: in its first line .*--encoding latin-1"):
        read(path)
    with Recording([path], Layout(encoding="latin-1")) as recording:
        assert recording.columns == ("Sättigung",)
    path.write_bytes("t,x\n1,97\n".encode("utf-16"))
    assert read(path, encoding="utf-16") == [Row(10**9, "a", [97.0])]


def test_numbers_with_a_decimal_comma(tmp_path):
    path = write(tmp_path / "a.csv", "time_s;temp,body;hr\n0,5;36,6;80\n1;;-7,25e1\n")
    with Recording([path], Layout(decimal_comma=True)) as recording:
        assert recording.columns == ("temp,body", "hr")
        first, second = recording.rows()
    assert first == Row(500_000_000, "a", [36.6, 80.0])
    assert second.x[1] == -72.5
    assert math.isnan(second.x[0])


@pytest.mark.parametrize(
    ("form", "cell", "ns"),
    [
        ("%d/%m/%Y %H:%M", "03/04/2024 10:00", 1_712_138_400 * 10**9),
        ("%m/%d/%Y %H:%M", "04/03/2024 10:00", 1_712_138_400 * 10**9),
        ("%d.%m.%Y %H:%M:%S.%f %z", "03.04.2024 12:00:00.000001 +0200", 1_712_138_400_000_001_000),
    ],
)
def test_dates_written_another_way(tmp_path, form, cell, ns):
    assert read(write(tmp_path / "a.csv", f"when,x\n{cell},1\n"), time="when", time_format=form)[0].t == ns


def test_bad_rows_can_be_left_out_and_are_counted(tmp_path):
    path = write(tmp_path / "a.csv", "t,x\n1,2\n2\n3,fast\nsoon,4\n5,1e39\n6,7\n")
    with Recording([path], Layout(skip_bad_rows=True)) as recording:
        assert [row.x for row in recording.rows()] == [[2.0], [7.0]]
        assert recording.skipped == 4
        assert "a.csv:3: 1 cells" in str(recording.first_skipped)


def test_a_condition_that_some_file_meets_is_met(tmp_path):
    a = write(tmp_path / "a.csv", "t,x,k\n1,2,u\n")
    b = write(tmp_path / "b.csv", "t,x,k\n1,3,v\n")
    assert [row.x for row in read(a, b, where=(("k", "v"),))] == [[3.0]]


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


@needs("ticks")
def test_recorded_ticks_of_four_markets_in_order_of_time():
    paths = sorted((DATA / "ticks").glob("*.csv.gz"))
    rows = read(
        *paths,
        stream_column="symbol",
        where=(("kind", "quote"),),
        columns=("bid", "bid_qty", "ask", "ask_qty"),
    )
    assert len({row.stream for row in rows}) == len(paths) == 4
    assert all(a.t <= b.t for a, b in itertools.pairwise(rows))
    assert not any(math.isnan(value) for row in rows for value in row.x)
