"""Recordings whose bytes were changed on the way: one line that names the file, and no traceback."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from streamrnn.errors import Malformed
from streamrnn.feeds.csvfile import Layout, Recording
from streamrnn.train.columns import read_columns, texts


def damaged(path, rng):
    """Eight bytes of the file changed behind its first sixty-four."""
    whole = bytearray(path.read_bytes())
    at = int(rng.integers(64, len(whole) - 16))
    whole[at : at + 8] = rng.bytes(8)
    path.write_bytes(whole)


def test_a_damaged_gzip_names_the_file(tmp_path):
    path, rng, refused = tmp_path / "bed.csv.gz", np.random.default_rng(1), 0
    rows = "".join(f"{k},{x:.6f}\n" for k, x in enumerate(rng.standard_normal(2000)))
    for _ in range(30):
        path.write_bytes(gzip.compress(b"t,x\n" + rows.encode(), mtime=0))
        damaged(path, rng)
        try:
            with Recording([path], Layout()) as recording:
                list(recording.rows())
        except Malformed as error:
            refused += 1
            assert "bed.csv.gz" in str(error)
    assert refused > 20


def test_a_damaged_npz_names_the_file(tmp_path):
    path, rng = tmp_path / "bed.npz", np.random.default_rng(2)
    for _ in range(10):
        np.savez_compressed(path, x=rng.standard_normal((500, 2)).astype(np.float32))
        damaged(path, rng)
        with pytest.raises(Malformed, match=r"bed\.npz"):
            read_columns(path)


def test_an_array_alone_is_no_npz(tmp_path):
    path = tmp_path / "bed.npz"
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(Malformed, match=r"bed\.npz"):
        read_columns(path)


def test_ids_that_are_kept_as_floats_keep_their_digits():
    column = np.array([1234567.0, 1234568.0, np.nan, 0.25, np.inf])
    assert texts({"id": column}, "id") == ["1234567", "1234568", "", "0.25", "inf"]
