"""`ctl stream` for people: a table of the last samples, and times as dates."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from streamrnn.cli.ctl import _lines
from streamrnn.cli.portrait import portrait, shortest


def shown(facts: dict[str, object]) -> list[str]:
    out = io.StringIO()
    Console(width=80, file=out).print(portrait(facts))
    return [line.rstrip() for line in out.getvalue().splitlines()]


FACTS = {
    "id": "bed1",
    "features": ["hr", "spo2"],
    "n": 1234,
    "epoch": 7,
    "last_t": 1_700_000_000_123_456_789,
    "last_recv": 1_700_000_001_000_000_000,
    "x": [[80.0, None], [81.0, 97.0]],
    "y": [[80.5, 97.0], [81.25, 97.0]],
    "score": [0.5, 12.345],
}


def test_a_line_a_sample():
    lines = shown(FACTS)
    assert "last time     2023-11-14 22:13:20.123 UTC" in lines
    table = [line.split() for line in lines[-3:]]
    assert table[0] == ["n", "hr", "spo2", "y_hr", "y_spo2", "score"]
    assert table[1] == ["1233", "80", "--", "80.5", "97", "0.50"]
    assert table[2] == ["1234", "81", "97", "81.25", "97", "12.35"]


def test_prices_show_their_ticks_and_wide_tables_keep_their_names():
    names = ["bid", "bid_quantity", "ask", "ask_quantity", "mid_price", "imbalance"]
    prices = [61826.0, 1.25, 61826.5, 0.5, 61826.25, -0.42857]
    facts = {**FACTS, "features": names, "x": [prices] * 2, "y": [prices] * 2}
    lines = shown(facts)
    heads = [line.split() for line in lines if line.split()[:1] == ["n"]]
    assert len(heads) > 1
    assert [name for head in heads for name in head if name != "n"] == [*names, *(f"y_{n}" for n in names), "score"]
    assert all(len(line) <= 80 for line in lines)
    row = next(line for line in lines if line.split()[:1] == ["1233"])
    assert row.split()[1:4] == ["61826", "1.25", "61826.5"]


@pytest.mark.parametrize("value", [3.4028234663852886e38, 1e-45, -123456.78125, 16777215.0, 0.0, -0.5])
def test_seven_digits_are_float32s(value):
    assert float(shortest(value)) == pytest.approx(value, rel=1e-6, abs=1e-45)


def test_outputs_of_another_width_and_nothing_kept():
    assert "y0" in shown({**FACTS, "y": [[1.0], [2.0]]})[-3]
    assert shown({**FACTS, "x": [], "y": [], "score": []})[-1] == "no samples are kept"


def test_times_of_other_replies_are_dates_too():
    assert _lines({"now": 1_700_000_000_123_456_789}) == ["now              2023-11-14 22:13:20.123 UTC"]
