"""Logs: JSON for programs, text for people, and nothing below the level."""

import io
import json

import pytest

from streamrnn.daemon.logs import make_log


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_json_is_one_object_a_line():
    out = io.StringIO()
    log = make_log("auto", "info", out)
    log.info("ready", endpoints=["a", "b"])
    log.warning("exposed", hint="no\nlines")
    first, second = map(json.loads, out.getvalue().splitlines())
    assert (first["event"], first["level"], first["endpoints"]) == ("ready", "info", ["a", "b"])
    assert first["timestamp"].endswith("Z")
    assert second["hint"] == "no\nlines"


@pytest.mark.parametrize(("form", "file"), [("auto", Terminal), ("human", io.StringIO)])
def test_people_get_text(form, file):
    out = file()
    make_log(form, "info", out).info("ready", n=7)
    assert "ready" in out.getvalue()
    assert "{" not in out.getvalue()


def test_lines_below_the_level_are_left_out():
    out = io.StringIO()
    log = make_log("json", "warning", out)
    log.info("quiet")
    log.error("loud")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["loud"]


def test_a_traceback_stays_on_its_line():
    out = io.StringIO()
    log = make_log("json", "info", out)
    try:
        raise KeyError("x")
    except KeyError:
        log.exception("failed")
    (line,) = out.getvalue().splitlines()
    assert "KeyError" in json.loads(line)["exception"]
