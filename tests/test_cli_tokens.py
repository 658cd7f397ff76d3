"""Tokens from a file: simulated, scored offline and live to the same bits, measured; what is none is refused."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from networks import speaker
from test_cli_score import assert_the_same, live, scored

from streamrnn import Engine
from streamrnn.simulate import chat

T = 32


def streamrnn(*arguments, status=0):
    done = subprocess.run(
        [sys.executable, "-m", "streamrnn", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "chat.safetensors"
    speaker(T, seed=5, surprise_mean=4.0, surprise_scale=0.5).save(path)
    return path


def test_a_simulated_chat_live_and_offline(tmp_path, model):
    path = tmp_path / "chat.csv"
    told = streamrnn("simulate", "chat", "--streams", 3, "--seconds", 300, "--seed", 2, "-o", path)
    assert "put in: taken-over of user" in told.stderr
    feed = chat(3, seconds=300, seed=2, calm=75.0)
    rows = scored(path, "--stream-column", "stream", "--model", model)
    assert [float(row["token"]) for row in rows] == feed.x[:, 0].tolist()
    assert {"y_p0", "y_p31"} <= set(rows[0])
    assert any(float(row["score"]) > 1 for row in rows)
    reading = ["--stream-column", "stream", "--tokens"]
    assert_the_same(rows, live([path], reading, [str(model)], len(rows)))


def test_a_chat_has_habits_that_change():
    feed = chat(1, seconds=2000, seed=1, tokens=16)
    x = feed.x[:, 0].astype(int)
    pairs = np.zeros((2, 16, 16))
    other = np.zeros(len(x), bool)
    for fault in feed.faults:
        other |= (feed.t >= fault.start_ns) & (feed.t < fault.end_ns)
    assert 50 < other.sum() < len(x) / 3
    for i in range(1, len(x)):
        pairs[int(other[i]), x[i - 1], x[i]] += 1
    # What the other habit does the usual one hardly does.
    usual = pairs[0] / pairs[0].sum(1, keepdims=True).clip(1)
    assert (pairs[0] * usual).sum() / pairs[0].sum() > 3 * (pairs[1] * usual).sum() / pairs[1].sum()


@pytest.mark.parametrize("cell", ["32", "-1", "1.5", "", "nan", "a"])
def test_a_cell_that_is_no_token_is_refused(tmp_path, model, cell):
    path = tmp_path / "chat.csv"
    path.write_text(f"i,token\n1,3\n2,{cell}\n3,4\n")
    done = streamrnn("score", path, "--model", model, "--columns", "token", status=2)
    assert f"{path}:3: column 'token'" in done.stderr
    assert done.stdout == ""
    skipped = streamrnn("score", path, "--model", model, "--columns", "token", "--skip-bad-rows")
    rows = list(csv.DictReader(io.StringIO(skipped.stdout)))
    y = Engine(speaker(T, seed=5), capacity=1).step_many(["s"] * 2, [3, 4]).y
    assert [np.float32(row["y_p0"]) for row in rows] == y[:, 0].tolist()


def test_publishing_tokens_takes_one_column(tmp_path):
    path = tmp_path / "chat.csv"
    path.write_text("a,b\n1,3\n")
    done = streamrnn("publish", path, "--tokens", "--rate", "max", status=2)
    assert "--tokens is about one column, and there are a, b" in done.stderr


def test_what_is_in_a_model_of_tokens_and_what_it_costs(model):
    facts = json.loads(streamrnn("info", model, "--json", "--measure").stdout)
    assert (facts["tokens"], facts["horizon"], facts["spread"]) == (T, 1, "none")
    assert facts["step"]["measured_burst_us"] > 0
    text = streamrnn("info", model).stdout
    assert "embedding of 32 tokens -> 9" in text
    assert "probabilities, 1 sample ahead" in text
    assert "surprise_mean 4" in text
