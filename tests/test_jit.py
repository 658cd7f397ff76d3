"""The cache of compiled code: it must never serve what the sources no longer say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import streamrnn
from streamrnn import _jit

PACKAGE = Path(streamrnn.__file__).parent

CALL = """
import numpy as np
from streamrnn.kernels.normalise import denormalise
y = np.zeros(1, np.float32)
denormalise(np.zeros(1, np.float32), np.array([[0.0, 1.0, 0.0, 0.0]]), y)
print(y[0])
"""


def run(code, folder, **env):
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONSAFEPATH": "", **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.strip(), done.stderr


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "streamrnn", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_a_change_of_a_called_function_is_noticed(copy):
    """Numba alone would go on using the code of the caller, whose own file did not change."""
    callee = copy / "streamrnn" / "kernels" / "normalise.py"
    caller = copy / "streamrnn" / "kernels" / "caller.py"
    caller.write_text(
        "from streamrnn._jit import kernel\nfrom streamrnn.kernels.normalise import denormalise\n\n\n"
        "@kernel\ndef call(un, stats, y):\n    denormalise(un, stats, y)\n"
    )
    code = CALL.replace("normalise import denormalise", "caller import call").replace("denormalise(", "call(")
    cache = {"NUMBA_CACHE_DIR": str(copy / "cache")}
    assert run(code, copy, **cache)[0] == "1.0"
    callee.write_text(callee.read_text().replace("value = stats[j, 1] + z", "value = 2.0 * stats[j, 1] + z"))
    assert run(code, copy, **cache)[0] == "2.0"


def test_compiled_code_is_found_again(copy):
    cache = copy / "cache"
    run(CALL, copy, NUMBA_CACHE_DIR=str(cache))
    first = {p: p.stat().st_mtime_ns for p in cache.rglob("*.nbc")}
    run(CALL, copy, NUMBA_CACHE_DIR=str(cache))
    assert first
    assert {p: p.stat().st_mtime_ns for p in cache.rglob("*.nbc")} == first


def test_without_a_writable_folder_it_compiles_and_warns(copy):
    blocked = copy / "file"
    blocked.write_text("a file where a folder would have to be")
    out, err = run(CALL, copy, NUMBA_CACHE_DIR=str(blocked))
    assert out == "1.0"
    assert "NUMBA_CACHE_DIR" in err


def test_old_folders_are_pruned(tmp_path):
    for i in range(8):
        (tmp_path / f"streamrnn-{i}").mkdir()
        os.utime(tmp_path / f"streamrnn-{i}", (i, i))
    _jit._prune(tmp_path, tmp_path / "streamrnn-7")
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"streamrnn-{i}" for i in (3, 4, 5, 6, 7)]


def test_no_kernel_is_compiled_with_reordering_allowed():
    from streamrnn.kernels import gru, lstm, product, readout, rnn

    for function in (gru.gru, lstm.lstm, product.accumulate, readout.linear, rnn.tanh):
        options = function.targetoptions
        assert options["fastmath"] is False
        assert options["error_model"] == "numpy"
        assert options["nogil"] is True
