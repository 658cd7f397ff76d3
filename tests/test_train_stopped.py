"""Ctrl-C in `streamrnn train`, with real signals: what is said, what is kept, and that the printed command goes on."""

from __future__ import annotations

import csv
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from recordings import waves
from safetensors.numpy import load_file

from streamrnn import Model

OPTIONS = ("--columns", "hr,spo2", "--hidden", "4", "--threads", "1", "--chunk", "32")

SIGNALLED = """
import os, pkgutil, signal, sys
from streamrnn.cli import run

owner, _, name = sys.argv[1].rpartition(".")
owner = pkgutil.resolve_name(owner)
whole = getattr(owner, name)

def signalled(*args, **kwargs):
    setattr(owner, name, whole)  # once
    os.kill(os.getpid(), signal.SIGINT)
    return whole(*args, **kwargs)

setattr(owner, name, signalled)
sys.exit(run(sys.argv[2:]))
"""
"""The command line in a process that gets Ctrl-C when it first comes to a function."""


@pytest.fixture
def bed(tmp_path: Path) -> Path:
    pytest.importorskip("torch", reason="PyTorch is not installed (extra train)")
    path = tmp_path / "my data" / "bed.csv"
    path.parent.mkdir()
    (r,) = waves(streams=1, length=600)
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["time_s", "hr", "spo2"])
        out.writerows([i, *(f"{v:.3f}" for v in row)] for i, row in enumerate(r.x.tolist()))
    return path


def stopped_in(where: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`streamrnn train` that gets a signal when it comes to a function, named with its module."""
    return subprocess.run(
        [sys.executable, "-c", SIGNALLED, where, "train", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def goes_on(said: str) -> list[str]:
    """The words of the command that is printed last."""
    words = shlex.split(said.splitlines()[-1])
    assert words[:2] == ["streamrnn", "train"]
    assert "--resume" in words
    return words[1:]


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streamrnn", *words], capture_output=True, text=True, timeout=240, check=False
    )


def test_in_the_midst_the_best_so_far_is_written(bed: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    arguments = [str(bed), "-o", str(out), *OPTIONS, "--epochs", "1000000", "--patience", "0"]
    with subprocess.Popen(
        [sys.executable, "-m", "streamrnn", "train", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            until = time.monotonic() + 120
            while not (tmp_path / "m.train" / "curves.csv").exists() and time.monotonic() < until:
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            printed, said = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 130, said
    assert "streamrnn: stopping... " in said
    assert "is the best so far" in said
    assert "test: samples" in printed
    assert Model.load(out).spec.head == "forecast"
    assert not list(tmp_path.rglob("*.part"))
    epochs = len((tmp_path / "m.train" / "curves.csv").read_text().splitlines()) - 1
    done = run([*goes_on(said), "--epochs", str(epochs + 1)])
    assert done.returncode == 0, done.stderr
    assert f"{epochs + 1} epochs" in done.stdout


def test_curves_are_drawn_to_the_end(bed: Path, tmp_path: Path) -> None:
    """What draws them is imported after the first epoch; an import that is broken off cannot be made again."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra train)")
    out = tmp_path / "m.safetensors"
    done = stopped_in("streamrnn.train.curves.need", bed, "-o", out, *OPTIONS, "--epochs", "3")
    assert done.returncode == 130
    assert f"{out} is the best so far" in done.stderr
    assert Model.load(out).spec.head == "forecast"
    assert (tmp_path / "m.train" / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("where", ["streamrnn.train.read_recordings", "streamrnn.train.trainer.Trainer._batch"])
def test_before_the_first_epoch_has_ended_nothing_is_kept(bed: Path, tmp_path: Path, where: str) -> None:
    done = stopped_in(where, bed, "-o", tmp_path / "m.safetensors", *OPTIONS, "--epochs", "3")
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "streamrnn: stopping... no epoch had ended, so there is nothing to keep\n"
    assert [path.name for path in tmp_path.iterdir()] == ["my data"]


@pytest.mark.parametrize("where", ["calibrate", "Model.save"])
def test_while_it_is_calibrated_and_written_the_checkpoint_is_kept(bed: Path, tmp_path: Path, where: str) -> None:
    out = tmp_path / "m.safetensors"
    options = (*OPTIONS, "--epochs", "2", "--false-alarms", "40/1000")
    done = stopped_in(f"streamrnn.train.run.{where}", bed, "-o", out, *options)
    assert (done.returncode, done.stdout) == (130, ""), done.stderr
    kept = tmp_path / "m.train" / "checkpoint.safetensors"
    lines = done.stderr.splitlines()
    assert f"streamrnn: stopping... {out} was not written; the best so far is in {kept}. This goes on:" in lines
    assert not out.exists()
    assert not list(tmp_path.rglob("*.part"))
    again = run(goes_on(done.stderr))
    assert again.returncode == 0, again.stderr
    assert "threshold" in again.stdout

    best = {name.removeprefix("0.best."): a for name, a in load_file(kept).items() if name.startswith("0.best.")}
    arrays = Model.load(out).arrays
    assert set(arrays) == {*best, "normaliser.mean", "normaliser.scale"}
    for name, array in best.items():
        np.testing.assert_array_equal(arrays[name], array)


def test_a_second_one_leaves_the_checkpoint(bed: Path, tmp_path: Path) -> None:
    """The first in an epoch, the second in what then comes."""
    out = tmp_path / "m.safetensors"
    code = """
import os, signal, sys
from streamrnn.cli import run
from streamrnn.train import run as running, trainer

batch, compare, epochs = trainer.Trainer._batch, running.compare, []

def first(self, *args):
    if self.epoch == 1:
        os.kill(os.getpid(), signal.SIGINT)
    return batch(self, *args)

def second(*args):
    os.kill(os.getpid(), signal.SIGINT)
    return compare(*args)

trainer.Trainer._batch, running.compare = first, second
sys.exit(run(sys.argv[1:]))
"""
    arguments = [str(bed), "-o", str(out), *OPTIONS, "--epochs", "3"]
    done = subprocess.run(
        [sys.executable, "-c", code, "train", *arguments], capture_output=True, text=True, timeout=240, check=False
    )
    assert (done.returncode, done.stdout) == (130, ""), done.stderr
    told = [line for line in done.stderr.splitlines() if "stopping..." in line]
    assert "Ctrl-C again leaves it in the checkpoint" in told[0]
    assert f"{out} was not written" in told[1]
    assert not out.exists()
    again = run(goes_on(done.stderr))
    assert again.returncode == 0, again.stderr
    assert "3 epochs" in again.stdout


def test_a_run_that_goes_on_is_stopped_before_it_does(bed: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    arguments = [str(bed), "-o", str(out), *OPTIONS, "--epochs", "2"]
    assert run(["train", *arguments]).returncode == 0
    before = out.read_bytes()
    done = stopped_in("streamrnn.train.read_recordings", *arguments, "--resume")
    assert done.returncode == 130
    assert "the checkpoint is as it was. This goes on:" in done.stderr
    assert goes_on(done.stderr) == ["train", *arguments, "--resume"]
    assert out.read_bytes() == before
