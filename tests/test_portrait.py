"""`ctl stream` for people: a table of the last samples, and times as dates."""

from __future__ import annotations

import io

from rich.console import Console

from streamrnn.cli.ctl import _lines
from streamrnn.cli.portrait import portrait


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
    assert table[1] == ["1233", "80", "--", "80.50", "97", "0.50"]
    assert table[2] == ["1234", "81", "97", "81.25", "97", "12.35"]


def test_outputs_of_another_width_and_nothing_kept():
    assert "y0" in shown({**FACTS, "y": [[1.0], [2.0]]})[-3]
    assert shown({**FACTS, "x": [], "y": [], "score": []})[-1] == "no samples are kept"


def test_times_of_other_replies_are_dates_too():
    assert _lines({"now": 1_700_000_000_123_456_789}) == ["now              2023-11-14 22:13:20.123 UTC"]
