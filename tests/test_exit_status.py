"""One rule for the exit status of every command: 2 for what can be mended in what was asked, 1 for what failed."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from streamrnn import Model
from streamrnn.cli import app, run, status_of
from streamrnn.errors import ConfigError, Malformed, ModelError, NotInstalled, StreamRNNError, Timeout, UnknownStream

NOBODY = "ipc://nobody"
OUT = ("-o", "out.safetensors")
ENDS = [f"--{role}=ipc://{role}" for role in ("ingest", "outputs", "control")]

TABLE = {
    "demo": {
        "missing file": ["--feed", "nowhere.csv"],
        "missing model": ["--model", "nowhere.safetensors"],
        "damaged model": ["--model", "damaged.safetensors"],
        "wrong argument": ["--scene", "circus"],
        "unknown option": ["--quux"],
    },
    "serve": {
        "missing file": ["--config", "nowhere.toml"],
        "missing model": ["nowhere.safetensors", *ENDS],
        "damaged model": ["damaged.safetensors", *ENDS],
        "wrong argument": ["--capacity", "0"],
        "contradiction": ["net.safetensors", "--hidden", "8"],
        "unknown option": ["--quux"],
    },
    "publish": {
        "missing file": ["nowhere.csv", "--endpoint", NOBODY],
        "wrong argument": ["bed.csv", "--rate", "fast"],
        "no such column": ["bed.csv", "--columns", "pulse", "--endpoint", NOBODY],
        "unknown option": ["bed.csv", "--quux"],
        "nobody answers": ["bed.csv", "--endpoint", NOBODY, "--timeout", "0.1"],
    },
    "watch": {
        "wrong argument": ["--endpoint", "here"],
        "unknown option": ["--quux"],
        "nobody answers": ["--endpoint", NOBODY, "--timeout", "0.1"],
    },
    "score": {
        "missing file": ["nowhere.csv"],
        "damaged file": ["bad.csv"],
        "missing model": ["bed.csv", "--model", "nowhere.safetensors"],
        "damaged model": ["bed.csv", "--model", "damaged.safetensors"],
        "wrong argument": ["bed.csv", "--columns", ","],
        "file is there": ["bed.csv", "-o", "bad.csv"],
        "unknown option": ["bed.csv", "--quux"],
    },
    "simulate": {
        "wrong argument": ["circus"],
        "file is there": ["-o", "bed.csv"],
        "unknown option": ["--quux"],
    },
    "import": {
        "missing file": ["nowhere.onnx", *OUT],
        "damaged model": ["damaged.safetensors", *OUT],
        "wrong argument": ["damaged.safetensors", "--from", "caffe", *OUT],
        "file is there": ["damaged.safetensors", "-o", "net.safetensors"],
        "missing option": ["damaged.safetensors"],
        "unknown option": ["--quux", *OUT],
    },
    "train": {
        "missing file": ["nowhere.csv", *OUT],
        "damaged file": ["bad.csv", *OUT],
        "wrong argument": ["bed.csv", "--cell", "mamba", *OUT],
        "file is there": ["bed.csv", "-o", "net.safetensors"],
        "missing option": ["bed.csv"],
        "too little": ["bed.csv", *OUT],
        "unknown option": ["bed.csv", "--quux", *OUT],
    },
    "info": {
        "missing model": ["nowhere.safetensors"],
        "damaged model": ["damaged.safetensors"],
        "wrong argument": ["net.safetensors", "--n-in", "3"],
        "unknown option": ["--quux"],
    },
    "bench": {
        "missing model": ["nowhere.safetensors"],
        "damaged model": ["damaged.safetensors"],
        "wrong argument": ["net.safetensors", "--n-in", "3"],
        "unknown option": ["--quux"],
    },
    "ctl": {
        "wrong argument": ["ping", "--control", "here"],
        "unknown option": ["ping", "--quux"],
        "unknown command": ["quux"],
        "nobody answers": ["ping", "--control", NOBODY, "--timeout", "0.1"],
    },
}

FAILS = {"nobody answers": 1}
"""What fails while running; all else is mended in what was asked."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files that are good and bad, which nothing may add to."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bed.csv").write_text(
        "time_s,hr,spo2\n" + "".join(f"{i},{80 + i % 3},{97 - i % 2}\n" for i in range(40))
    )
    (tmp_path / "bad.csv").write_text("time_s,hr\n0,80\n1,fast\n")
    Model.random(n_in=2, hidden=4).save("net.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes((tmp_path / "net.safetensors").read_bytes()[:-9])
    return tmp_path


def test_every_command_is_in_the_table() -> None:
    named = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback is not None}
    assert named | {group.name for group in app.registered_groups} == set(TABLE)


@pytest.mark.parametrize(("command", "fault"), [(c, fault) for c, faults in TABLE.items() for fault in faults])
def test_the_same_fault_gives_the_same_status(command: str, fault: str, here: Path, capsys) -> None:
    if command == "train":
        pytest.importorskip("torch", reason="PyTorch is not installed (extra train)")
    before = {path.name: path.read_bytes() for path in here.iterdir()}
    status = run([command, *TABLE[command][fault]])
    said = capsys.readouterr()
    assert status == FAILS.get(fault, 2), said.err
    assert said.out == ""
    assert said.err.startswith("streamrnn: ")
    assert said.err.count("\n") == 1
    left = {path.name: path.read_bytes() for path in here.iterdir() if path.is_file()}
    assert left == before, "what was refused has written something"


def test_the_kind_of_an_error_decides() -> None:
    for error in (ConfigError(), ModelError(), Malformed(), NotInstalled(), FileNotFoundError(), PermissionError()):
        assert status_of(error) == 2, error
    for error in (StreamRNNError(), Timeout(), UnknownStream(), OSError(errno.ENOSPC, "No space left on device")):
        assert status_of(error) == 1, error


def test_a_disk_that_is_full_is_nobody_s_mistake(here: Path, capsys, monkeypatch) -> None:
    def full(self: Model, path: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Model, "save", full)
    source = Path(__file__).parent / "data" / "torch-gru.onnx"
    assert run(["import", str(source), *OUT, "--no-check"]) == 1
    assert capsys.readouterr().err == "streamrnn: out.safetensors: No space left on device\n"


def test_n_in_is_of_use_for_the_adaptive_model(here: Path, capsys) -> None:
    assert run(["info", "adaptive", "--n-in", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_in"] == 3
    assert run(["info", "net.safetensors", "--n-in", "3"]) == 2
    assert "--n-in is for the adaptive model; net.safetensors takes 2 channels: leave it out" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["score", "simulate", "import", "train"])
def test_help_says_what_is_replaced_and_what_is_required(command: str, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Replace the file of -o if it is there." in shown
    (output,) = (line for line in shown.splitlines() if "--output " in line and " -o " in line)
    required = {"import": "[required]", "train": "Required, except with --diagnose."}
    assert required.get(command, "else CSV on stdout") in output
